//! What /proc/sysvipc shows to everybody, of one object: `SHM_STAT_ANY` and its sisters, for modes that let nobody read, not even the owner.

use rustix::io::Errno;

use crate::Result;

/// A number is a place in the kernel's table, and a count of what had this place before. These calls want the place, which has 15 bits, or 24
/// with the boot option ipcmni_extend. Another object, or none, is found by the wrong ones.
const PLACES: [libc::c_int; 2] = [0x7fff, 0x00ff_ffff];

/// What IPC_STAT said, unless that was EACCES; then what `stat_any` says of the place, if the object there has this number.
pub(super) fn unless_allowed<T>(
    allowed: Result<T>,
    id: libc::c_int,
    stat_any: impl Fn(libc::c_int) -> Result<(libc::c_int, T), Errno>,
) -> Result<T> {
    let refusal = match allowed {
        Err(error) if error.errno() == Errno::ACCESS => error,
        outcome => return outcome,
    };
    let has_this_number = |(found, raw)| (found == id).then_some(raw);
    PLACES
        .into_iter()
        .find_map(|place| stat_any(id & place).ok().and_then(has_this_number))
        .ok_or(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn only_the_object_of_this_number_is_told_and_only_where_reading_is_refused() {
        let refused = |errno| Err(Error::new("shmctl(IPC_STAT)", "#1", errno));
        let errno = |outcome: Result<u8>| outcome.expect_err("refused").errno();
        let id = 5 << 24 | 3 << 15 | 1;
        let at = |place| {
            move |asked| {
                if asked == place {
                    Ok((id, 7))
                } else {
                    Err(Errno::INVAL)
                }
            }
        };
        assert_eq!(unless_allowed(Ok(9), id, at(1)), Ok(9));
        assert_eq!(unless_allowed(refused(Errno::ACCESS), id, at(1)), Ok(7));
        assert_eq!(unless_allowed(refused(Errno::ACCESS), id, at(3 << 15 | 1)), Ok(7));
        assert_eq!(
            errno(unless_allowed(refused(Errno::ACCESS), id, at(2))),
            Errno::ACCESS
        );
        assert_eq!(
            errno(unless_allowed(refused(Errno::INVAL), id, at(1))),
            Errno::INVAL
        );
        let another = |_| Ok((id + 1, 7));
        assert_eq!(
            errno(unless_allowed(refused(Errno::ACCESS), id, another)),
            Errno::ACCESS
        );
    }
}
