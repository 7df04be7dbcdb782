//! How the demonstration talks: numbered steps for 80 columns, and claims that are checked before they are made.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use crate::program::{Program, exit};

/// What a line of a step has room for.
pub const COLUMNS: usize = 74;

/// What is told, and what was found out.
#[derive(Debug)]
pub struct Story {
    bold: bool,
    steps: u32,
    held: u32,
    failed: Vec<String>,
}

impl Story {
    /// Bold on a terminal, unless the user asked for no colours (<https://no-color.org>).
    #[must_use]
    pub fn new() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            bold: std::io::stdout().is_terminal() && !no_color && !dumb,
            steps: 0,
            held: 0,
            failed: Vec::new(),
        }
    }

    pub fn title(&self, text: &str) {
        self.write(&self.emphasis(text));
    }

    /// Begins the next step.
    pub fn step(&mut self, text: &str) {
        self.steps += 1;
        let text = format!("{}. {text}", self.steps);
        self.write("");
        self.write(&self.emphasis(&text));
    }

    /// A line of the step.
    pub fn tell(&self, text: &str) {
        let indent = if text.is_empty() { "" } else { "   " };
        self.write(&format!("{indent}{text}"));
    }

    /// A call that a process told of, and below it why.
    pub fn tell_call(&self, call: &str, why: &str) {
        const INDENT: usize = 8;
        self.tell(call);
        for line in wrapped(why, COLUMNS - INDENT) {
            self.tell(&format!("{:INDENT$}{line}", ""));
        }
    }

    pub fn conclude(&self, text: &str) {
        self.write("");
        self.write(&self.emphasis(text));
    }

    /// The end of a demonstration that two terminals can play too: what was found out, and the two commands. The exit code.
    #[must_use]
    pub fn end(&self, program: &Program, start: Instant, demonstration: &str, roles: [&str; 2]) -> u8 {
        if !self.failed.is_empty() {
            self.conclude(&format!("{} failed:", counted(self.failed.len() as u64, "check")));
            for claim in &self.failed {
                program.complain(&format!("demo: {claim}"), None);
            }
            return exit::NOT_DELIVERED;
        }
        let (held, seconds) = (self.held, start.elapsed().as_secs_f64());
        self.conclude(&format!(
            "{held} checks held in {seconds:.2} s: nothing left behind."
        ));
        let shmeld = command_for("shmeld").unwrap_or_else(|| "shmeld".to_owned());
        self.conclude("Now you, in two terminals, in either order:");
        for role in roles {
            self.tell(&format!("{shmeld} demo {demonstration} --role {role}"));
        }
        exit::DONE
    }

    /// Notes whether `claim` is true; what is not true is told at once, with the reason.
    pub fn check(&mut self, holds: bool, claim: &str, found: &str) {
        if !self.note(holds, claim, found) {
            self.tell(&format!("FAILED: {claim}: {found}"));
        }
    }

    fn note(&mut self, holds: bool, claim: &str, found: &str) -> bool {
        if holds {
            self.held += 1;
        } else {
            self.failed.push(format!("{claim}: {found}"));
        }
        holds
    }

    /// How many checks held, and those that did not.
    #[must_use]
    pub fn verdict(&self) -> (u32, &[String]) {
        (self.held, &self.failed)
    }

    fn emphasis(&self, text: &str) -> String {
        if self.bold {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn write(&self, line: &str) {
        // Whoever stopped reading wants no more, but what was begun is still cleaned up.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

/// A number with a comma after each three digits: `5,000,000`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        _ if number == 1 => noun.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    };
    format!("{} {plural}", grouped(number))
}

/// Text of several words in lines of at most `columns` columns.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// How the reader would call `program` from here: by its bare name if the shell finds that very file, else by path.
/// `None` if it is not beside the program that runs.
#[must_use]
pub fn command_for(program: &str) -> Option<String> {
    let directory = std::env::current_exe().ok()?.parent()?.to_owned();
    if !directory.join(program).is_file() {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).find(|entry| entry.join(program).is_file());
    if first.as_deref().and_then(|entry| entry.canonicalize().ok()) == directory.canonicalize().ok() {
        return Some(program.to_owned());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let directory = directory
        .strip_prefix(&here)
        .map_or(directory.as_path(), Path::new);
    Some(directory.join(program).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_after_each_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (5_054_582, "5,054,582")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn nouns_agree_with_their_numbers() {
        assert_eq!(counted(1, "directory"), "1 directory");
        assert_eq!(counted(1200, "directory"), "1,200 directories");
        assert_eq!(counted(0, "file"), "0 files");
    }

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable word", 4), ["unbreakable", "word"]);
    }

    #[test]
    fn a_check_that_fails_is_kept_with_its_reason() {
        let mut story = Story::new();
        assert!(story.note(true, "the sun shines", "rain"));
        assert!(!story.note(false, "the moon is cheese", "rock"));
        let (held, failed) = story.verdict();
        assert_eq!((held, failed), (1, &["the moon is cheese: rock".to_owned()][..]));
    }
}
