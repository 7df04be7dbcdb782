//! A Rust file as the rules see it: its place in the repository, its lines, its tokens.

use super::finding::Finding;
use super::lexer::{Kind, Token, tokens};

/// A Rust file, read and cut into tokens.
pub struct Source<'a> {
    /// Relative to the workspace, with `/`.
    pub path: &'a str,
    pub text: &'a str,
    /// Without the comments.
    pub code: Vec<Token<'a>>,
    pub comments: Vec<Token<'a>>,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Self {
        let (comments, code) = tokens(text)
            .into_iter()
            .partition(|token| token.kind == Kind::Comment);
        Self {
            path,
            text,
            code,
            comments,
        }
    }

    /// Whether the file lies in the crate `name`, its tests included.
    pub fn is_in_crate(&self, name: &str) -> bool {
        self.path
            .strip_prefix("crates/")
            .and_then(|path| path.strip_prefix(name))
            .is_some_and(|path| path.starts_with('/'))
    }

    /// Where the words and symbols `pattern` follow each other: positions in `code`.
    pub fn find(&self, pattern: &[&str]) -> Vec<usize> {
        let matches = |window: &[Token<'_>]| window.iter().zip(pattern).all(|(token, text)| token.is(text));
        let windows = self.code.windows(pattern.len()).enumerate();
        windows
            .filter(|(_, window)| matches(window))
            .map(|(at, _)| at)
            .collect()
    }

    pub fn finding(&self, line: usize, what: impl Into<String>, instead: impl Into<String>) -> Finding {
        Finding::new(self.path, line, what, instead)
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn crate_is_told_by_its_whole_name() {
        let source = Source::new("crates/shmeld-core/src/ring.rs", "");
        assert!(source.is_in_crate("shmeld-core"));
        assert!(!source.is_in_crate("shmeld"));
    }

    #[test]
    fn patterns_are_found_across_lines_and_comments() {
        let source = Source::new("x.rs", "a :: /* not b */\n b; a::c; \"a::b\"");
        assert_eq!(source.find(&["a", ":", ":", "b"]), [0]);
    }
}
