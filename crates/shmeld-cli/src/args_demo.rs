//! The options of `shmeld demo`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use shmeld::os::ObjectName;

use crate::values::{Wait, parse_wait};

const SAMPLES: &str = "samples";
const OBJECT: &str = "/shm-demo";
const WAIT: &str = "30s";

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Which demonstration
    #[arg(default_value = "transfer", value_parser = ["transfer", "meld", "board", "image"])]
    pub which: String,
    /// transfer: the directory with the sample files and filelist.txt
    #[arg(long, value_name = "DIR", default_value = SAMPLES, value_hint = ValueHint::DirPath)]
    pub samples: PathBuf,
    /// meld and board (a, b), image (requester, provider): only one of the two processes, for two terminals; either may be started first
    #[arg(long, value_enum)]
    pub role: Option<DemoRole>,
    /// meld: the shared memory object in which both meet
    #[arg(long, value_name = "/NAME", default_value = OBJECT)]
    pub object: ObjectName,
    /// meld, and board and image with --role: how long each process waits for the other: 500ms, 10s, 2m or forever
    #[arg(long, alias = "timeout", value_name = "DUR", default_value = WAIT, value_parser = parse_wait)]
    pub wait: Wait,
    /// For `demo meld` without a role: end when standard input is closed
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// A process of a demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoRole {
    /// Makes the memory, or posts the message
    A,
    /// Finds what A has made
    B,
    /// Asks for images
    Requester,
    /// Answers with images
    Provider,
}

impl DemoArgs {
    /// The first option that changes nothing in this demonstration, and those in which it would.
    #[must_use]
    pub fn stray(&self) -> Option<(&'static str, &'static str)> {
        let which = self.which.as_str();
        let (is_meld, is_image, is_transfer) = (which == "meld", which == "image", which == "transfer");
        let waits = is_meld || (!is_transfer && self.role.is_some());
        let is_letter = matches!(self.role, Some(DemoRole::A | DemoRole::B));
        let is_given = [
            (
                !is_transfer && self.samples != Path::new(SAMPLES),
                "--samples",
                "transfer",
            ),
            (is_letter && (is_transfer || is_image), "--role", "meld and board"),
            (
                self.role.is_some() && !is_letter && !is_image,
                "--role requester or provider",
                "image",
            ),
            (!is_meld && !self.is_usual_object(), "--object", "meld"),
            (
                !waits && Ok(self.wait) != parse_wait(WAIT),
                "--wait",
                "meld, and for board and image with --role",
            ),
        ];
        let stray = is_given.into_iter().find(|(is_stray, ..)| *is_stray);
        stray.map(|(_, option, whose)| (option, whose))
    }

    /// Whether it is the object that both sides take if nobody names one.
    #[must_use]
    pub fn is_usual_object(&self) -> bool {
        self.object.to_string() == OBJECT
    }

    /// What to type for this process of the mind meld.
    #[must_use]
    pub fn meld_command(&self, role: &str) -> String {
        let command = format!("shmeld demo meld --role {role}");
        if self.is_usual_object() {
            return command;
        }
        format!("{command} --object {}", self.object)
    }
}
