//! The command line of `shmeld ipc ls` and `shmeld ipc clean`: which objects, in which order, how.

use std::time::Duration;

use clap::{Args, ValueEnum};
use shmeld::catalogue::Kind;

use crate::args_talk::TalkArgs;
use crate::values::parse_duration;

/// Which objects are shown, and in which order.
#[derive(Debug, Clone, Args)]
pub struct WhichArgs {
    /// Only these kinds; several with commas
    #[arg(long = "kind", value_name = "KIND", value_enum, value_delimiter = ',')]
    pub kinds: Vec<KindArg>,
    /// Only what belongs to this user, or was made by it
    #[arg(long)]
    pub mine: bool,
    /// Only what is stale: ours, and whoever had it is dead
    #[arg(long)]
    pub stale: bool,
    /// What comes first
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Sort::Address)]
    pub sort: Sort,
}

/// Options of `ipc ls`.
#[derive(Debug, Args)]
pub struct IpcLsArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// The same, and what other programs of this user left: nobody has it, and whether anybody needs it is not known
    ///
    /// To prove it, the kernel is asked for a lease on objects of this user that nobody seems to have; it gives one only if nobody has the
    /// object open or mapped, whatever user or container. Whoever opens the object in that instant waits, or hears EAGAIN if it does not
    /// want to.
    #[arg(long)]
    pub any_stale: bool,
    /// Below each object, who has it and how
    #[arg(long)]
    pub holders: bool,
    /// The other way round: each process, and below it what it has
    #[arg(long, conflicts_with = "holders")]
    pub tree: bool,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc clean`.
///
/// What is proven stale goes: objects of this user (root: of any user) whose names and leases say that they are ours and that whoever had them
/// is dead. Each is looked at once more before it goes.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Only say what would go
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Also what other programs of this user left, if nobody has it; each is asked for on the terminal
    ///
    /// Whether anybody needs it is not known: a program may keep data in it between two runs.
    #[arg(long)]
    pub any_stale: bool,
    /// How long such an object must not have been used or changed
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = parse_duration)]
    pub older: Duration,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// A kind of object, or a family of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// POSIX segments
    Shm,
    /// POSIX semaphores
    Sem,
    /// POSIX message queues
    Mq,
    /// Files that are memory and have no name
    Memfd,
    /// System V segments
    SysvShm,
    /// System V sets of semaphores
    SysvSem,
    /// System V message queues
    SysvMsg,
    /// All of POSIX
    Posix,
    /// All of System V
    Sysv,
}

impl KindArg {
    /// Whether an object of this kind is meant.
    #[must_use]
    pub fn admits(self, kind: Kind) -> bool {
        match self {
            Self::Shm => kind == Kind::Segment,
            Self::Sem => kind == Kind::Semaphore,
            Self::Mq => kind == Kind::Queue,
            Self::Memfd => kind == Kind::Memfd,
            Self::SysvShm => kind == Kind::SysvSegment,
            Self::SysvSem => kind == Kind::SysvSet,
            Self::SysvMsg => kind == Kind::SysvQueue,
            Self::Posix => !kind.is_sysv() && kind != Kind::Memfd,
            Self::Sysv => kind.is_sysv(),
        }
    }
}

/// An order; where it does not decide, addresses do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By kind and name or number
    Address,
    /// The largest first
    Size,
    /// What has most in use first
    Used,
    /// By user number
    Owner,
    /// What changed last first
    Age,
    /// What most processes have first
    Holders,
    /// Stale first, then unheld, unknown, live
    State,
}
