//! Patterns over names, matched by the server: where to look, and what matches. Pure.

use super::walk::LEVELS_MAX;

/// A name found below a directory, relative to what that directory is relative to.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory == b"." {
        return name.to_vec();
    }
    let mut path = directory.strip_suffix(b"/").unwrap_or(directory).to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// The directory in front of the first component that is a pattern, and how many levels below it can match.
pub(super) fn literal_prefix(pattern: &[u8]) -> (&[u8], usize) {
    let first = pattern
        .iter()
        .position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{'))
        .unwrap_or(pattern.len());
    let slash = pattern[..first].iter().rposition(|byte| *byte == b'/');
    let (prefix, rest) = slash.map_or((&pattern[..0], pattern), |slash| {
        (&pattern[..slash], &pattern[slash + 1..])
    });
    let deep = rest.windows(2).any(|pair| pair == b"**");
    let levels = if deep {
        LEVELS_MAX
    } else {
        rest.iter().filter(|byte| **byte == b'/').count() + 1
    };
    (prefix, levels)
}

/// A pattern matches a name as a shell would: `*` stops at `/`, and a leading dot must be written out.
pub(super) fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    let hidden = |path: &[u8]| {
        path.split(|byte| *byte == b'/')
            .any(|part| part.first() == Some(&b'.'))
    };
    fast_glob::glob_match(pattern, name) && (!hidden(name) || hidden(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_walks_no_deeper_than_it_can_match() {
        assert_eq!(literal_prefix(b"*.c"), (&b""[..], 1));
        assert_eq!(literal_prefix(b"src/*/x?.c"), (&b"src"[..], 2));
        assert_eq!(literal_prefix(b"a/b/**/c"), (&b"a/b"[..], LEVELS_MAX));
        assert_eq!(literal_prefix(b"plain"), (&b""[..], 1));
    }

    #[test]
    fn a_star_stops_at_slashes_and_does_not_show_dotfiles() {
        assert!(matches_pattern(b"*.c", b"a.c") && !matches_pattern(b"*.c", b"d/a.c"));
        assert!(!matches_pattern(b"*", b".hidden") && matches_pattern(b".h*", b".hidden"));
        assert!(matches_pattern(b"**/*.c", b"d/e/a.c") && matches_pattern(b"[ab].c", b"b.c"));
    }

    #[test]
    fn names_are_joined_below_their_directory() {
        assert_eq!(join(b"", b"x"), b"x");
        assert_eq!(join(b"d/", b"x"), b"d/x");
    }
}
