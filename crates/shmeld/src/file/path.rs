//! Names that come from the other side, checked before they touch anything. Pure.
//!
//! ```
//! use shmeld::file::path::{NameError, check_relative, link_stays_inside};
//!
//! assert_eq!(check_relative(b"a/b.txt"), Ok(()));
//! assert_eq!(check_relative(b"/etc/passwd"), Err(NameError::Absolute));
//! assert_eq!(check_relative(b"a/../../b"), Err(NameError::Dots));
//! assert!(link_stays_inside(b"a/link", b"../b.txt"));
//! assert!(!link_stays_inside(b"link", b"../b.txt"));
//! ```

use super::record::NAME_BYTES_MAX;

/// The longest component of a path on Linux.
const COMPONENT_BYTES_MAX: usize = 255;

/// Why a name is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or nothing between two slashes.
    #[error("an empty name or component")]
    Empty,
    /// Begins with `/`.
    #[error("an absolute name")]
    Absolute,
    /// A component `.` or `..`.
    #[error("a component . or ..")]
    Dots,
    /// A NUL.
    #[error("a NUL")]
    Nul,
    /// A component or the whole is too long.
    #[error("a name that is too long")]
    TooLong,
}

/// Checks that a name can be created beneath a directory: relative, no empty component, no `.`, no `..`, no NUL, not too long.
///
/// # Errors
/// [`NameError`]: the first thing found wrong.
pub fn check_relative(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name[0] == b'/' {
        return Err(NameError::Absolute);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" => return Err(NameError::Empty),
            b"." | b".." => return Err(NameError::Dots),
            _ if component.contains(&0) => return Err(NameError::Nul),
            _ if component.len() > COMPONENT_BYTES_MAX => return Err(NameError::TooLong),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a symbolic link `link` (a checked relative name) with this target stays inside the tree that `link` is relative to, whatever
/// else lies in that tree.
///
/// The target must be relative; `..` may stand only at its beginning, and not more often than the link is deep. Leading `..`s start from
/// the link's own directory, which is a real one, so they cannot leave the tree; after them come only steps down, or through other links
/// that obey the same rule. A `..` behind a name could climb from wherever a link led to, so it is refused even where it looks harmless.
#[must_use]
pub fn link_stays_inside(link: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    let depth = link.iter().filter(|byte| **byte == b'/').count();
    let mut climbs = 0;
    let mut descended = false;
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if descended => return false,
            b".." => climbs += 1,
            _ => descended = true,
        }
    }
    climbs <= depth
}

/// Whether a path can be a pattern.
#[must_use]
pub fn has_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// The last component.
#[must_use]
pub fn base_name(path: &[u8]) -> &[u8] {
    let trimmed = path
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(&path[..0], |last| &path[..=last]);
    trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_would_leave_a_directory_are_refused() {
        let long = [b'x'; 256];
        for (name, error) in [
            (&b""[..], NameError::Empty),
            (b"a//b", NameError::Empty),
            (b"a/", NameError::Empty),
            (b"/etc/passwd", NameError::Absolute),
            (b".", NameError::Dots),
            (b"a/../../b", NameError::Dots),
            (b"a\0b", NameError::Nul),
            (&long, NameError::TooLong),
        ] {
            assert_eq!(check_relative(name), Err(error), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn dotfiles_dashes_newlines_and_other_bytes_are_names() {
        for name in [&b".hidden"[..], b"-rf", b"a\nb", b"\xff\xfe", b"...", b"a/.../b"] {
            assert_eq!(check_relative(name), Ok(()), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn links_that_stay_inside() {
        for (link, target) in [
            ("l", "a"),
            ("l", "a/b"),
            ("d/l", "../a"),
            ("d/e/l", "../../a/b"),
            ("l", "./a"),
            ("l", "."),
        ] {
            assert!(
                link_stays_inside(link.as_bytes(), target.as_bytes()),
                "{link} -> {target}"
            );
        }
    }

    #[test]
    fn links_that_leave_or_might_leave() {
        for (link, target) in [
            ("l", "/etc"),
            ("l", ".."),
            ("d/l", "../../a"),
            ("l", "a/.."),
            ("d/l", "x/../.."),
            ("l", ""),
        ] {
            assert!(
                !link_stays_inside(link.as_bytes(), target.as_bytes()),
                "{link} -> {target}"
            );
        }
    }

    /// Resolves `path` from the directory `at` through `links`, as a kernel would; `None` if it climbs above the root.
    fn resolve(
        at: &[String],
        path: &str,
        links: &[(String, String)],
        budget: &mut u32,
    ) -> Option<Vec<String>> {
        let mut here = at.to_vec();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                here.pop()?;
                continue;
            }
            let mut name = here.clone();
            name.push(part.to_owned());
            match links.iter().find(|(link, _)| *link == name.join("/")) {
                Some((_, target)) if *budget > 0 => {
                    *budget -= 1;
                    here = resolve(&here, target, links, budget)?;
                }
                Some(_) => return Some(here),
                None => here = name,
            }
        }
        Some(here)
    }

    proptest! {
        /// However many accepted links a tree holds, following any of them never climbs above the tree.
        #[test]
        fn no_chain_of_accepted_links_leaves_the_tree(
            links in proptest::collection::vec(("[ab](/[ab]){0,2}", "(\\.\\./|\\./|[ab]/){0,4}(\\.\\.|[ab])"), 1..8),
        ) {
            let accepted: Vec<(String, String)> =
                links.into_iter().filter(|(link, target)| link_stays_inside(link.as_bytes(), target.as_bytes())).collect();
            // The client creates a link in a real directory, never below another link.
            let real: Vec<(String, String)> = accepted.iter()
                .filter(|(link, _)| !accepted.iter().any(|(other, _)| link.starts_with(&format!("{other}/"))))
                .cloned().collect();
            for (link, _) in &real {
                let mut budget = 40;
                prop_assert!(resolve(&[], link, &real, &mut budget).is_some(), "{real:?} at {link}");
            }
        }

        #[test]
        fn a_checked_name_never_climbs(name in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), any::<u8>()], 0..12)) {
            if check_relative(&name).is_ok() {
                prop_assert!(!name.starts_with(b"/") && name.split(|b| *b == b'/').all(|part| part != b".." && !part.is_empty()));
            }
        }
    }
}
