//! The command line of `shmeld ipc`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use shmeld::catalogue::Wanted;
use shmeld::segment::Address;

use crate::args_ipc_list::{CleanArgs, IpcLsArgs};
use crate::args_ipc_watch::{DoctorArgs, TopArgs};
use crate::args_talk::TalkArgs;
use crate::help;
use crate::values::{Owner, Wait, parse_address, parse_mode, parse_owner, parse_size, parse_wait};

/// Options of `ipc`.
#[derive(Debug, Args)]
pub struct IpcArgs {
    #[command(subcommand)]
    pub command: IpcCommand,
}

/// The commands of `ipc`.
#[derive(Debug, Subcommand)]
pub enum IpcCommand {
    /// List all objects of this machine, POSIX and System V: who has them, and whether they can go
    #[command(after_long_help = help::IPC_LS)]
    Ls(IpcLsArgs),
    /// Remove what is stale: ours, and whoever had it is dead
    #[command(after_long_help = help::CLEAN)]
    Clean(CleanArgs),
    /// Show all objects and running servers, live, on the whole terminal; ? tells the keys
    #[command(after_long_help = help::TOP)]
    Top(TopArgs),
    /// Say what of this machine would make shmeld fail, and what cures it
    ///
    /// Looks at limits, mounts, privileges and the container, and tries to make a queue and a region for a moment. Each finding comes with the
    /// command that cures it. Exits with 1 if something of shmeld would fail for this user.
    #[command(after_long_help = help::DOCTOR)]
    Doctor(DoctorArgs),
    /// Make a segment, or open it if it is there; print its address
    #[command(after_long_help = help::CREATE)]
    Create(CreateArgs),
    /// Find a segment, check its size, print its address
    #[command(after_long_help = help::OPEN)]
    Open(OpenArgs),
    /// Attach a segment, tell where, and hold it
    #[command(after_long_help = help::ATTACH)]
    Attach(AttachArgs),
    /// Show all that the kernel knows about an object of any kind, and who has it
    #[command(after_long_help = help::SHOW)]
    Show(ShowArgs),
    /// Copy bytes of a segment to standard output or a file
    #[command(after_long_help = help::READ_BYTES)]
    Read(ReadArgs),
    /// Copy a file or standard input into a segment
    #[command(after_long_help = help::WRITE)]
    Write(WriteArgs),
    /// Make a POSIX segment longer or shorter
    #[command(after_long_help = help::RESIZE)]
    Resize(ResizeArgs),
    /// Set the permission bits of a segment
    #[command(after_long_help = help::CHMOD)]
    Chmod(ChmodArgs),
    /// Give a segment to another user or group
    #[command(after_long_help = help::CHOWN)]
    Chown(ChownArgs),
    /// Remove a segment; it goes with its last user
    #[command(after_long_help = help::RM)]
    Rm(RmArgs),
}

/// Options of `ipc create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The segment: sysv:0xKEY, sysv:ftok:PATH:ID or posix:/name; sysv:0 makes one without a key
    pub address: Address,
    /// Its size: bytes, or a number with K, M or G; one that is there must have at least as many bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    /// Its permission bits, exactly: the umask does not narrow them
    #[arg(long, value_name = "OCTAL", default_value = "0660", value_parser = parse_mode)]
    pub mode: u32,
    /// Fail if it is there already
    #[arg(long)]
    pub exclusive: bool,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// How many bytes it must have at least
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// For reading only: a store would end the process
    #[arg(long)]
    pub read_only: bool,
    /// At this address of the process (System V only); the kernel chooses if absent
    #[arg(long, value_name = "HEX", value_parser = parse_address)]
    pub at: Option<usize>,
    /// Round that address down to where a segment can be attached (SHM_RND)
    #[arg(long, requires = "at")]
    pub round: bool,
    /// How long to hold it: 500ms, 10s, 2m; until a signal if absent (then the exit code is 129, 130 or 143)
    #[arg(long = "for", value_name = "DUR", default_value = "forever", value_parser = parse_wait)]
    pub hold: Wait,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The objects: posix:/name, sem:/name, mq:/name, sysv:0xKEY or sysv:#ID, or what ls shows
    #[arg(required = true)]
    pub addresses: Vec<Wanted>,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc read`.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// Where to begin, in bytes
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_size)]
    pub offset: u64,
    /// How many bytes; all that follow if absent
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub length: Option<u64>,
    /// The file that gets them; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc write`.
#[derive(Debug, Args)]
pub struct WriteArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// The file that the bytes come from; - is standard input
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Where to begin, in bytes
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_size)]
    pub offset: u64,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc resize`.
#[derive(Debug, Args)]
pub struct ResizeArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// Its new size: bytes, or a number with K, M or G
    #[arg(value_name = "SIZE", value_parser = parse_size)]
    pub size: u64,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc chmod`.
#[derive(Debug, Args)]
pub struct ChmodArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// Its new permission bits, in octal
    #[arg(value_parser = parse_mode)]
    pub mode: u32,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc chown`.
#[derive(Debug, Args)]
pub struct ChownArgs {
    /// The segment: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    pub address: Address,
    /// Numbers: UID, UID:GID or :GID
    #[arg(value_name = "UID[:GID]", value_parser = parse_owner)]
    pub owner: Owner,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ipc rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The segments: sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name
    #[arg(required = true)]
    pub addresses: Vec<Address>,
    #[command(flatten)]
    pub talk: TalkArgs,
}
