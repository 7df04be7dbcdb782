//! Every unsafe block and implementation has a `// SAFETY:` comment above it, next to what it proves.
//!
//! Clippy asks for the comment too; this rule also asks that it be near.

use super::finding::Finding;
use super::source::Source;

/// Lines of code between the comment and its block. The lines of comments in between are free, so that a
/// proof may be as long as it must be.
const DISTANCE_LINES_MAX: usize = 4;
/// In two pieces, so that these lines are not taken for such a comment by other tools.
const MARK: &str = concat!("SAFETY", ":");

pub fn check(source: &Source<'_>) -> Vec<Finding> {
    let comments = CommentLines::new(source);
    let mut findings = Vec::new();
    for (at, token) in source.code.iter().enumerate() {
        let next = source.code.get(at + 1);
        let needs_proof = token.is("unsafe") && next.is_some_and(|next| next.is("{") || next.is("impl"));
        if needs_proof && !comments.has_proof_above(token.line) {
            let what = "`unsafe` without its proof";
            let instead =
                format!("a `// {MARK}` comment (bounds, alignment, lifetime, other writers) right above");
            findings.push(source.finding(token.line, what, instead));
        }
    }
    findings
}

/// What each line of a file has to do with comments; the first line is at 1.
struct CommentLines {
    has_mark: Vec<bool>,
    only_comment: Vec<bool>,
}

impl CommentLines {
    fn new(source: &Source<'_>) -> Self {
        let lines = source.text.lines().count() + 2;
        let mut found = Self {
            has_mark: vec![false; lines],
            only_comment: vec![false; lines],
        };
        for comment in &source.comments {
            found.has_mark[comment.line] |= comment.text.contains(MARK);
            found.only_comment[comment.line..=comment.last_line()].fill(true);
        }
        for token in &source.code {
            found.only_comment[token.line..=token.last_line()].fill(false);
        }
        found
    }

    fn has_proof_above(&self, line: usize) -> bool {
        let mut distance = 0;
        for above in (1..=line).rev() {
            if self.has_mark[above] {
                return true;
            }
            if above < line && !self.only_comment[above] {
                distance += 1;
            }
            if distance >= DISTANCE_LINES_MAX {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::{MARK, check};

    fn lines(text: &str) -> Vec<usize> {
        let text = text.replace("PROOF", MARK);
        check(&Source::new("crates/shmeld-os/src/x.rs", &text))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn block_or_implementation_without_proof_is_found() {
        assert_eq!(lines("fn f() {\n    unsafe { g() }\n}\n"), [2]);
        assert_eq!(lines("unsafe impl Send for X {}\n"), [1]);
        assert_eq!(lines("let s = \"// PROOF no comment\";\nunsafe { g() }\n"), [2]);
    }

    #[test]
    fn proof_right_above_or_on_the_line_is_enough() {
        assert_eq!(lines("// PROOF it is fine.\nunsafe { g() }\n"), [0; 0]);
        assert_eq!(lines("unsafe { g() } // PROOF it is fine.\n"), [0; 0]);
        assert_eq!(
            lines("// PROOF one\n// two\n// three\n// four\n// five\n// six\nlet x =\n    unsafe { g() };\n"),
            [0; 0]
        );
    }

    #[test]
    fn proof_far_above_belongs_to_something_else() {
        assert_eq!(lines("// PROOF near\na();\nb();\nc();\nunsafe { g() }\n"), [0; 0]);
        assert_eq!(lines("// PROOF far\na();\nb();\n\nc();\nunsafe { g() }\n"), [6]);
    }

    #[test]
    fn declarations_and_lint_names_need_none() {
        assert_eq!(
            lines("#![forbid(unsafe_code)]\npub unsafe fn f() {}\nunsafe extern \"C\" {}\n// unsafe { }\n"),
            [0; 0]
        );
    }
}
