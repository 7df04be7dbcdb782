//! The options of almost every command: how much it says, and in which form.

use clap::Args;

/// How much is told, and how.
#[derive(Debug, Clone, Copy, Args)]
pub struct TalkArgs {
    /// Print one JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(short, long)]
    pub quiet: bool,
    /// Tell each step as it happens, and why
    #[arg(long)]
    pub explain: bool,
}
