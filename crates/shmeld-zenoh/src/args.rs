//! The command line of `shmeld-bridge`.
#![allow(missing_docs, reason = "the command line documents its options to users")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use shmeld::ServerName;
use shmeld_cli::values::parse_duration;

use crate::config::{Network, Options};
use crate::key::Prefix;

/// As wide as a help text becomes.
const COLUMNS: usize = 80;

const EXAMPLES: &str = "Examples, from machine A to machine B:\n  \
A$ shm_server /srv/films &\n  \
A$ shmeld-bridge export --key shmeld/films --listen tcp/0.0.0.0:7447\n  \
B$ shmeld-bridge import --key shmeld/films --connect tcp/a.example:7447\n  \
B$ shm_client trailer.mp4";

const EXIT_CODES: &str = "Exit codes:\n  \
0    done, or asked to end by SIGINT, SIGTERM or SIGHUP\n  \
2    usage\n  \
3    system, zenoh, or the local server: already running, a limit\n  \
129, 130, 143    ended by a second signal, or before it was ready";

/// Joins shared-memory servers of several machines over zenoh.
///
/// Programs on each machine talk shared memory to their neighbour, as ever: `export` offers the files of a local server to the network, and
/// `import` is a local server of those files elsewhere. Several exports of one key are replicas: load is shared among them, and where one
/// ends another goes on.
#[derive(Debug, Parser)]
#[command(name = "shmeld-bridge", version, max_term_width = COLUMNS, disable_help_subcommand = true)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Bridge {
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `shmeld-bridge`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offer the files of a local server to the network
    #[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
    Export(BridgeArgs),
    /// Be a local server of files that the network offers
    #[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
    Import(BridgeArgs),
}

/// What both commands take.
#[derive(Debug, Args)]
pub struct BridgeArgs {
    /// The local server: whose files are offered, or which name the import has for its clients
    #[arg(long, default_value = ServerName::DEFAULT)]
    pub name: ServerName,
    /// The key under which the files are known on the network, such as shmeld/films
    #[arg(long, value_name = "PREFIX")]
    pub key: Prefix,
    /// Zenoh's own configuration (JSON5): endpoints, TLS, access control. Without it zenoh looks for others by multicast, encrypts nothing, and
    /// answers whoever reaches it; docs/BRIDGE.md has examples
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Connect to this endpoint, such as tcp/192.0.2.1:7447; several times for several
    #[arg(long, value_name = "ENDPOINT")]
    pub connect: Vec<String>,
    /// Listen at this endpoint, such as tcp/0.0.0.0:7447; several times for several
    #[arg(long, value_name = "ENDPOINT")]
    pub listen: Vec<String>,
    /// export: how long the local server may be silent. import: how long something may take until its client is told that it failed, whoever
    /// is asked and however often
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Say as one line of JSON on standard output that it is ready
    #[arg(long)]
    pub json: bool,
}

impl BridgeArgs {
    /// Where to look for others, and where to be found.
    #[must_use]
    pub fn network(&self) -> Network {
        Network {
            file: self.config.clone(),
            connect: self.connect.clone(),
            listen: self.listen.clone(),
        }
    }

    /// What is offered, or asked for, there.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            name: self.name.clone(),
            key: self.key.clone(),
            timeout: self.timeout,
        }
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(3600) {
        return Err(format!(
            "{text} is no time to wait for a network; take 100ms to 1h"
        ));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_help_fits_80_columns_and_has_examples_and_exit_codes() {
        let mut command = Bridge::command().term_width(COLUMNS);
        command.build();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let text = command.clone().render_long_help().to_string();
            assert!(
                text.contains("\nExamples, ") && text.contains("\nExit codes:\n  0    done"),
                "{text}"
            );
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }
}
