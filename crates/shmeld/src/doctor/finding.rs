//! What the doctor says of one thing.

/// How bad it is, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing; nothing fails.
    Note,
    /// Something fails sooner than elsewhere, or for others.
    Warning,
    /// Something of shmeld fails, for this user, now.
    Failure,
}

impl Severity {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What makes it better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cure {
    /// A command for the shell that shmeld is then started from.
    pub command: String,
    /// Only root can give it.
    pub needs_root: bool,
    /// What keeps it so after a restart, in words.
    pub lasting: Option<&'static str>,
}

impl Cure {
    pub(super) fn of_root(command: impl Into<String>, lasting: &'static str) -> Self {
        Self {
            command: command.into(),
            needs_root: true,
            lasting: Some(lasting),
        }
    }

    pub(super) fn of_anybody(command: impl Into<String>, lasting: &'static str) -> Self {
        Self {
            needs_root: false,
            ..Self::of_root(command, lasting)
        }
    }

    /// `sysctl -w NAME=VALUE`.
    pub(super) fn sysctl(name: &str, value: &str) -> Self {
        // A value of several numbers is one word for the shell.
        let setting = if value.contains(' ') {
            format!("{name}=\"{value}\"")
        } else {
            format!("{name}={value}")
        };
        Self::of_root(
            format!("sysctl -w {setting}"),
            "the same setting in a file of /etc/sysctl.d; in a container --sysctl",
        )
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: the name of a limit, a file or a call.
    pub subject: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so, with its value, and what follows.
    pub text: String,
    /// The commands that cure it, the best first.
    pub cures: Vec<Cure>,
}

impl Finding {
    pub(super) fn new(subject: &'static str, severity: Severity, text: impl Into<String>) -> Self {
        Self {
            subject,
            severity,
            text: text.into(),
            cures: Vec::new(),
        }
    }

    pub(super) fn fine(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(subject, Severity::Fine, text)
    }

    pub(super) fn with(mut self, cure: Cure) -> Self {
        self.cures.push(cure);
        self
    }
}
