//! Patterns over names, matched by the server: where to look, and what matches. Pure.
//!
//! `*` and `?` stop at `/`, `[...]` is one of a set, `**` crosses directories; a leading dot must be written out. The matching itself is
//! that of `fast_glob`, whose braces are switched off: their cost grows with the tenth power of what a client writes into them.

use super::walk::LEVELS_MAX;

/// A pattern that a client sent.
#[derive(Debug)]
pub(super) struct Pattern<'p> {
    prefix: &'p [u8],
    levels: usize,
    escaped: Vec<u8>,
    shows_hidden: bool,
}

impl<'p> Pattern<'p> {
    pub(super) fn new(pattern: &'p [u8]) -> Self {
        let first = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'['));
        let slash = pattern[..first.unwrap_or(pattern.len())]
            .iter()
            .rposition(|byte| *byte == b'/');
        let (prefix, rest) = slash.map_or((&pattern[..0], pattern), |slash| {
            (&pattern[..slash], &pattern[slash + 1..])
        });
        let is_deep = rest.windows(2).any(|pair| pair == b"**");
        let levels = if is_deep {
            LEVELS_MAX
        } else {
            rest.iter().filter(|byte| **byte == b'/').count() + 1
        };
        Self {
            prefix,
            levels,
            escaped: escape_extensions(pattern),
            shows_hidden: is_hidden(pattern),
        }
    }

    /// The directory in front of the first component that is a pattern.
    pub(super) fn prefix(&self) -> &'p [u8] {
        self.prefix
    }

    /// How many levels below the prefix can match.
    pub(super) fn levels(&self) -> usize {
        self.levels
    }

    /// Whether a name matches as in a shell.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        fast_glob::glob_match(&self.escaped, name) && (self.shows_hidden || !is_hidden(name))
    }
}

fn is_hidden(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|part| part.first() == Some(&b'.'))
}

/// Takes the special meaning from everything that the document does not name: braces, backslashes, and a `!` at the beginning.
fn escape_extensions(pattern: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(pattern.len());
    for (index, byte) in pattern.iter().enumerate() {
        if matches!(byte, b'{' | b'}' | b'\\') || (index == 0 && *byte == b'!') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        Pattern::new(pattern).matches(name)
    }

    #[test]
    fn a_pattern_walks_no_deeper_than_it_can_match() {
        for (pattern, prefix, levels) in [
            (&b"*.c"[..], &b""[..], 1),
            (b"src/*/x?.c", b"src", 2),
            (b"a/b/**/c", b"a/b", LEVELS_MAX),
            (b"plain", b"", 1),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!((pattern.prefix(), pattern.levels()), (prefix, levels));
        }
    }

    #[test]
    fn a_star_stops_at_slashes_and_does_not_show_dotfiles() {
        assert!(matches(b"*.c", b"a.c") && !matches(b"*.c", b"d/a.c"));
        assert!(!matches(b"*", b".hidden") && matches(b".h*", b".hidden"));
        assert!(matches(b"**/*.c", b"d/e/a.c") && matches(b"[ab].c", b"b.c"));
    }

    /// What docs/PROTOCOL.md section 3 says of patterns, sentence by sentence.
    #[test]
    fn patterns_match_as_the_document_says() {
        for (pattern, name, is_match) in [
            ("a*", "a", true),
            ("a?", "a", false),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("a[!x]b", "a/b", false),
            ("[", "[", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/d/c", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("a**", "ab", true),
            ("a**", "ab/c", false),
            ("a**c", "a/c", false),
            ("*/b", ".a/b", false),
            ("**", "a/.b/c", false),
            (".a/*", ".a/.b", true),
            ("[.]a", ".a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                is_match,
                "{pattern} {name}"
            );
        }
    }

    /// The library behind this expands braces, and ten of them made one request burn a CPU for ever. It also reads a leading `!` as
    /// "everything but", so that `!f*` fetched what nobody had asked for.
    #[test]
    fn braces_backslashes_and_exclamation_marks_are_ordinary_bytes() {
        assert!(matches(b"{a,b}?", b"{a,b}1") && !matches(b"{a,b}?", b"a1"));
        assert!(matches(b"!f*", b"!f1") && !matches(b"!f*", b"g"));
        assert!(matches(b"a\\*", b"a\\b") && !matches(b"a\\*", b"a*"));
        let bomb = [&b"{,,,,,,,,,,,,,,,,,,,,,}".repeat(10)[..], b"*x"].concat();
        assert!(!matches(&bomb, b"anything"));
    }

    #[test]
    fn names_are_joined_below_their_directory() {
        assert_eq!(join(b"", b"x"), b"x");
        assert_eq!(join(b"d/", b"x"), b"d/x");
    }
}
