//! Objects that are known only because somebody has them: memfds, what was unlinked, and queues where none can be listed.

use shmeld_os::listing::{Devices, Use};

use super::holders::Holders;
use super::keeping;
use super::object::Object;
use super::posix::{Gates, gate_of, kind_and_name, set_stat};
use super::snapshot::View;
use super::{Belonging, Kind, Place};

/// What the kernel puts behind a name that is gone.
const GONE: &[u8] = b" (deleted)";
const MEMFD: &[u8] = b"/memfd:";

/// What and where an object is, and under what name it was.
#[derive(Debug, PartialEq, Eq)]
struct Identified {
    place: Place,
    former_name: Option<Vec<u8>>,
}

/// From one of its uses; `None` if it is nothing of ours after all.
fn identify(one: &Use, devices: &Devices) -> Option<Identified> {
    let (path, is_gone) = match one.path.strip_suffix(GONE) {
        Some(path) => (path, true),
        None => (one.path.as_slice(), false),
    };
    let unnamed = |kind, name: &[u8]| {
        Some(Identified {
            place: Place::Unnamed(kind, one.ino),
            former_name: Some(name.to_vec()),
        })
    };
    if devices.internal == Some(one.dev) {
        return unnamed(Kind::Memfd, path.strip_prefix(MEMFD)?);
    }
    let (kind, name) = if devices.queues.contains(&one.dev) {
        (Kind::Queue, path.strip_prefix(b"/").unwrap_or(path))
    } else {
        // In another mount namespace the directory can have another name.
        match path.strip_prefix(b"/dev/shm/") {
            Some(name) => kind_and_name(name),
            None => return unnamed(Kind::Segment, path),
        }
    };
    if is_gone || name.contains(&b'/') || name.is_empty() {
        return unnamed(kind, name);
    }
    Some(Identified {
        place: Place::Named(kind, name.to_vec()),
        former_name: None,
    })
}

/// All that is left of the uses once those of named objects are taken.
pub(super) fn objects(holders: &mut Holders, devices: &Devices, gates: &Gates, view: &View) -> Vec<Object> {
    let rest = holders.take_rest();
    let describe = |uses: Vec<Use>| {
        let identified = uses.first().and_then(|one| identify(one, devices))?;
        Some(describe(&uses, identified, holders, gates, view))
    };
    rest.into_iter().filter_map(describe).collect()
}

fn describe(
    uses: &[Use],
    identified: Identified,
    holders: &mut Holders,
    gates: &Gates,
    view: &View,
) -> Object {
    let Identified { place, former_name } = identified;
    let (kind, dev) = (place.kind(), uses[0].dev);
    let namespace = match kind {
        Kind::Memfd => "none: it is its holders'".to_owned(),
        Kind::Queue => view.queues(Some(dev)),
        _ => view.mount(dev),
    };
    let mut object = Object::new(place, namespace);
    object.holders = holders.gathered(uses);
    match uses.iter().find_map(|one| one.stat) {
        Some(stat) => {
            set_stat(&mut object, &stat);
            if kind != Kind::Queue {
                object.bytes = Some(stat.bytes);
                object.used_bytes = Some(stat.blocks_512 * 512);
            }
        }
        None => {
            // It is at least as large as what somebody has of it.
            object.bytes = uses.iter().map(|one| one.bytes).max();
            object.identity = Some((dev, uses[0].ino));
            object.hidden.extend(["owner", "mode", "size", "used"]);
        }
    }
    match kind {
        Kind::Queue => object.hidden.extend(["messages", "used"]),
        Kind::Semaphore => {
            object.semaphores = Some(1);
            object.hidden.push("values");
        }
        _ => {}
    }
    let name = match (&object.place, &former_name) {
        (Place::Named(_, name), _) | (_, Some(name)) => name.clone(),
        _ => Vec::new(),
    };
    object.belongs = Belonging::of_name(kind, &name, object.bytes.unwrap_or_default())
        .filter(|belongs| matches!(belongs, Belonging::Region(_) | Belonging::Image(_)));
    if kind == Kind::Queue
        && let Some(gate) = gate_of(gates, &name, object.owner)
    {
        object.belongs = Some(Belonging::ServerQueue(gate.server.clone()));
    }
    object.former_name = former_name;
    // It is here because somebody has it.
    object.verdict = keeping::of_use(&view.evidence(&object.holders));
    object
}

#[cfg(test)]
mod tests {
    use shmeld_os::listing::How;

    use super::*;

    fn identified(dev: u64, path: &str) -> Option<(String, Option<String>)> {
        let devices = Devices {
            shared_memory: Some(1),
            internal: Some(2),
            queues: vec![3],
        };
        let one = Use {
            pid: 7,
            how: How::Open,
            dev,
            ino: 42,
            path: path.as_bytes().to_vec(),
            bytes: 0,
            stat: None,
        };
        let found = identify(&one, &devices)?;
        let former = found
            .former_name
            .map(|name| String::from_utf8_lossy(&name).into_owned());
        Some((found.place.to_string(), former))
    }

    #[test]
    fn what_has_no_name_is_called_by_its_number() {
        for (dev, path, place, former) in [
            (2, "/memfd:frames (deleted)", "memfd:#42", Some("frames")),
            (2, "/memfd: (deleted)", "memfd:#42", Some("")),
            (1, "/dev/shm/x (deleted)", "unlinked-posix:#42", Some("x")),
            (1, "/dev/shm/sem.x (deleted)", "unlinked-sem:#42", Some("x")),
            (1, "/dev/shm/new", "posix:/new", None),
            (
                1,
                "/elsewhere/shm/x",
                "unlinked-posix:#42",
                Some("/elsewhere/shm/x"),
            ),
            (3, "/frames (deleted)", "unlinked-mq:#42", Some("frames")),
            (3, "/frames", "mq:/frames", None),
        ] {
            let expected = Some((place.to_owned(), former.map(str::to_owned)));
            assert_eq!(identified(dev, path), expected, "{path}");
        }
        assert_eq!(identified(2, "/SYSV00000000 (deleted)"), None);
        assert_eq!(identified(2, "/dev/zero (deleted)"), None);
    }
}
