//! Which images are asked for: names from a list, in order or by chance.

use std::io::BufRead;

use shmeld_os::process;

/// The longest name of an image.
pub const NAME_BYTES_MAX: usize = 200;
/// The most names of a list.
pub const NAMES_MAX: usize = 1 << 24;

/// Why a list of names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// Reading it failed.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// A line is longer than any name.
    #[error("line {line} is longer than {NAME_BYTES_MAX} bytes, which no name of an image is")]
    TooLong {
        /// Counted from 1.
        line: u64,
    },
    /// More lines than we would keep.
    #[error("it has more than {NAMES_MAX} names")]
    TooMany,
}

/// Reads names, one a line. Empty lines do not count, and a carriage return before the end of a line is not part of the name.
///
/// # Errors
/// The reader's; a line that is no name; too many.
pub fn read_names(reader: impl BufRead) -> Result<Vec<Vec<u8>>, NamesError> {
    let mut reader = reader;
    let mut names = Vec::new();
    // One more than a name, a carriage return and a newline: enough to see that a line is too long.
    let line_bytes_max = NAME_BYTES_MAX as u64 + 3;
    for line in 1.. {
        let mut name = Vec::new();
        let limited = &mut std::io::Read::take(&mut reader, line_bytes_max);
        if limited.read_until(b'\n', &mut name)? == 0 {
            break;
        }
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        if name.len() > NAME_BYTES_MAX {
            return Err(NamesError::TooLong { line });
        }
        if name.is_empty() {
            continue;
        }
        if names.len() == NAMES_MAX {
            return Err(NamesError::TooMany);
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

/// The names of `count` requests: the given ones in order, again and again; or chosen by chance, each time from all of them alike.
/// Without `count`, as many as there are names.
#[derive(Debug)]
pub struct Choice<'n> {
    names: &'n [Vec<u8>],
    left: u64,
    next: usize,
    random: bool,
}

impl<'n> Choice<'n> {
    /// See [`Choice`]. Nothing comes out of no names.
    #[must_use]
    pub fn new(names: &'n [Vec<u8>], count: Option<u64>, random: bool) -> Self {
        let all = names.len() as u64;
        Self {
            names,
            left: if names.is_empty() { 0 } else { count.unwrap_or(all) },
            next: 0,
            random,
        }
    }
}

impl<'n> Iterator for Choice<'n> {
    /// A name; an error only if the kernel has no random numbers for us.
    type Item = Result<&'n [u8], shmeld_os::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let index = if self.random {
            match choose(self.names.len() as u64, || {
                process::random_bytes().map(u64::from_le_bytes)
            }) {
                Ok(index) => index as usize,
                Err(error) => return Some(Err(error)),
            }
        } else {
            let index = self.next;
            self.next = (index + 1) % self.names.len();
            index
        };
        self.names.get(index).map(|name| Ok(name.as_slice()))
    }
}

/// A number below `end`, each as likely as the others, from numbers of which that is true for all 64 bits.
fn choose<E>(end: u64, mut random: impl FnMut() -> Result<u64, E>) -> Result<u64, E> {
    // The last, incomplete run of `end` numbers would make the small ones likelier.
    let whole_runs = u64::MAX - u64::MAX % end;
    loop {
        let number = random()?;
        if number < whole_runs {
            return Ok(number % end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| number.to_string().into_bytes()).collect()
    }

    fn chosen(choice: Choice<'_>) -> Vec<&[u8]> {
        choice.map(Result::unwrap).collect()
    }

    #[test]
    fn a_list_has_one_name_a_line() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        let text = format!("cat\r\n\n\u{e9} dog\n{longest}\r\nlast");
        let read = read_names(text.as_bytes()).unwrap();
        assert_eq!(
            read,
            ["cat", "\u{e9} dog", &longest, "last"].map(|name| name.as_bytes().to_vec())
        );
        assert!(read_names(&b""[..]).unwrap().is_empty());
    }

    /// A list without line ends, such as a device gives, must not fill the memory.
    #[test]
    fn a_line_that_is_no_name_is_an_error_with_its_number() {
        let text = format!("cat\n{}", "x".repeat(NAME_BYTES_MAX + 1));
        assert!(matches!(
            read_names(text.as_bytes()),
            Err(NamesError::TooLong { line: 2 })
        ));
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        assert!(matches!(
            read_names(endless),
            Err(NamesError::TooLong { line: 1 })
        ));
    }

    #[test]
    fn names_come_in_order_as_often_as_asked_for() {
        let names = names(3);
        assert_eq!(chosen(Choice::new(&names, None, false)), [b"0", b"1", b"2"]);
        assert_eq!(
            chosen(Choice::new(&names, Some(4), false)),
            [b"0", b"1", b"2", b"0"]
        );
        assert_eq!(chosen(Choice::new(&names, Some(1), false)), [b"0"]);
        assert!(chosen(Choice::new(&[], Some(9), true)).is_empty());
    }

    #[test]
    fn chance_gives_as_many_names_as_asked_for_and_in_time_all() {
        let names = names(5);
        let mut seen = chosen(Choice::new(&names, Some(1_000), true));
        assert_eq!(seen.len(), 1_000);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    /// 2^64 is no multiple of 3: with a bare remainder 0 would come a little more often.
    #[test]
    fn every_name_is_as_likely_as_the_others() {
        let mut numbers = [u64::MAX, 7].into_iter();
        let choice = choose::<()>(3, || numbers.next().ok_or(()));
        assert_eq!(choice, Ok(1), "the largest number belongs to no whole run");
        let last = choose::<()>(3, || Ok(u64::MAX - 1));
        assert_eq!(last, Ok(2));
    }
}
