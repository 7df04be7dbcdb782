//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shmeld_cli::values::parse_size;

/// Compares shmeld with what else moves files on this machine
#[derive(Debug, Parser)]
#[command(name = "compare", disable_help_subcommand = true)]
pub struct Options {
    #[command(subcommand)]
    pub asked: Asked,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Asked {
    /// Measure
    Run(CompareOptions),
    /// For ourselves: be a rival, or a client that does nothing.
    #[command(subcommand, hide = true)]
    Role(Role),
}

/// What is measured and where the results go.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// The program that is measured: a release build of shmeld
    #[arg(long, value_name = "PATH")]
    pub shmeld: PathBuf,
    /// The program that measures the ring
    #[arg(long, value_name = "PATH", conflicts_with = "no_ring")]
    pub ring: Option<PathBuf>,
    /// Why there is none
    #[arg(long, value_name = "REASON")]
    pub no_ring: Option<String>,
    /// Only rows whose name contains PATTERN; several are separated by commas
    #[arg(long, value_name = "PATTERN")]
    pub rows: Option<String>,
    /// At least so many paired runs a row; three times as many while the quartiles disagree
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub pairs: u32,
    /// Size of the large file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    pub size: u64,
    /// A directory on a disk
    #[arg(long, value_name = "DIR", default_value = "target")]
    pub disk: PathBuf,
    /// Where bench.json and bench.svg go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub out: PathBuf,
    /// Name the rows and end
    #[arg(long)]
    pub list: bool,
}

impl CompareOptions {
    /// Whether a row is asked for.
    pub fn wants(&self, id: &str) -> bool {
        let Some(patterns) = &self.rows else {
            return true;
        };
        patterns.split(',').any(|pattern| id.contains(pattern.trim()))
    }
}

/// Processes that the comparison needs and starts as itself.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Copy with copy_file_range
    CopyFileRange { source: PathBuf, output: PathBuf },
    /// Read a file into a private buffer
    Read { source: PathBuf },
    /// Start `write` with a pipe in between, and make the output
    Pipe { source: PathBuf, output: PathBuf },
    /// Start `write` with a pair of unix sockets in between, and make the output
    Socket { source: PathBuf, output: PathBuf },
    /// Write a file to standard output
    Write { source: PathBuf },
    /// Say that we are there, wait until standard input is closed, then become another program
    Gate {
        program: OsString,
        arguments: Vec<OsString>,
    },
    /// Fetch a file, stay attached until standard input is closed
    Idle { server: String, file: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(rows: &[&str]) -> CompareOptions {
        let arguments = ["compare", "run", "--shmeld", "x"].iter().chain(rows);
        match Options::parse_from(arguments).asked {
            Asked::Run(options) => options,
            Asked::Role(role) => panic!("{role:?}"),
        }
    }

    #[test]
    fn rows_are_chosen_by_parts_of_their_names() {
        let some = options(&["--rows", "lock-step, tree"]);
        assert!(some.wants("page-lock-step") && some.wants("tree-cp") && !some.wants("large-cp-disk"));
        assert!(options(&[]).wants("anything"));
    }

    #[test]
    fn arguments_behind_a_gate_belong_to_the_program() {
        let parsed = Options::parse_from(["compare", "role", "gate", "shmeld", "--", "get", "--quiet"]);
        assert!(
            matches!(parsed.asked, Asked::Role(Role::Gate { arguments, .. }) if arguments == ["get", "--quiet"])
        );
    }
}
