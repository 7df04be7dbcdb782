//! What a process has said and how it ended, with the expectations that tests have of both.

use std::io::Read;
use std::sync::{Arc, Mutex};

/// How a program ended and what it said.
pub struct Outcome {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub label: String,
    /// What everybody in the test has said, for the report of a failure.
    pub story: String,
}

impl Outcome {
    /// Insists on the exit code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.label, self.story);
        self
    }

    /// Insists on this text in standard error.
    #[track_caller]
    pub fn expect_said(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{} did not say {text:?}\n{}",
            self.label,
            self.story
        );
        self
    }

    /// Insists on a whole line of standard error.
    #[track_caller]
    pub fn expect_line(self, line: &str) -> Self {
        let found = self.stderr.lines().any(|said| said == line);
        assert!(found, "{} did not say {line:?}\n{}", self.label, self.story);
        self
    }

    /// Insists that it said nothing on standard error.
    #[track_caller]
    pub fn expect_silence(self) -> Self {
        assert_eq!(self.stderr, "", "{}", self.label);
        self
    }

    /// Each line of standard output as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout_text().lines().map(parse).collect()
    }

    /// The names in the events of one kind of `--json`.
    #[track_caller]
    pub fn names_of(&self, event: &str) -> Vec<String> {
        let lines = self.json_lines();
        let events = lines.iter().filter(|line| line["event"] == event);
        events
            .map(|line| line["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// What comes out of a pipe, read by a thread as it comes.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Text>>);

#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    is_complete: bool,
}

impl Kept {
    pub fn from(pipe: Option<impl Read + Send + 'static>) -> Self {
        let kept = Kept::default();
        let Some(mut pipe) = pipe else {
            kept.0.lock().unwrap().is_complete = true;
            return kept;
        };
        let shared = kept.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => shared.0.lock().unwrap().bytes.extend_from_slice(&buffer[..bytes]),
                }
            }
            shared.0.lock().unwrap().is_complete = true;
        });
        kept
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    pub fn is_complete(&self) -> bool {
        self.0.lock().unwrap().is_complete
    }
}
