//! The command line of `shmeld ipc doctor`: what it says, and how.

use clap::Args;

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
