//! The command line of `shmeld ipc doctor` and `shmeld ipc top`: what they say, and how.

use std::time::Duration;

use clap::Args;

use crate::args_ipc_list::WhichArgs;
use crate::values::parse_duration;

/// Options of `ipc top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// How long from one look to the next
    #[arg(short, long, value_name = "DUR", default_value = "2s", value_parser = parse_interval)]
    pub interval: Duration,
    #[command(flatten)]
    pub which: WhichArgs,
}

/// A look at a large machine takes its time, and servers are asked each time.
fn parse_interval(text: &str) -> Result<Duration, String> {
    const INTERVAL_MIN: Duration = Duration::from_millis(100);
    match parse_duration(text)? {
        duration if duration < INTERVAL_MIN => Err(format!("{text} is less than 100ms")),
        duration => Ok(duration),
    }
}

/// Options of `ipc doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Only what is a failure or a warning
    #[arg(short, long)]
    pub quiet: bool,
    /// Tell each step as it happens, and why
    #[arg(long)]
    pub explain: bool,
}
