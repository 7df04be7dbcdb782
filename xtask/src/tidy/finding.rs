//! One broken rule at one place, printed so that an editor can jump there.

use std::fmt;

/// `path:line: error: what; use instead instead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    pub what: String,
    /// Completes "use ... instead".
    pub instead: String,
}

impl Finding {
    pub fn new(path: &str, line: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
            instead: instead.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: error: {}; use {} instead",
            self.path, self.line, self.what, self.instead
        )
    }
}
