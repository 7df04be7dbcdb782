//! The command line of `shmeld ipc`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use shmeld::catalogue::Wanted;
use shmeld::segment::Address;

use crate::args_ipc_list::{CleanArgs, IpcLsArgs};
use crate::args_ipc_watch::{DoctorArgs, TopArgs};
use crate::values::{Owner, Wait, parse_address, parse_mode, parse_owner, parse_size, parse_wait};

/// How a segment is named, at the end of the long help.
const ADDRESSES: &str = "Addresses: sysv:0xKEY (or decimal; each creation of sysv:0 makes a segment without a key), sysv:#ID (the shmid of ipcs -m), \
sysv:ftok:PATH:ID (the key that ftok makes of a file and a number from 1 to 255 or a character), posix:/name.";

/// How any object is named.
const OBJECTS: &str = "Addresses: as shmeld ipc ls shows them. posix:/name, sem:/name, mq:/name; sysv:0xKEY or sysv:#ID for segments, sysv-sem: \
and sysv-msg: with the like for semaphores and queues (sysv:ftok:PATH:ID is the key that ftok makes); memfd:#INODE, and unlinked-posix:#INODE \
for what has lost its name and lives because somebody has it.";

/// What a table says.
const COLUMNS: &str = "STATE: live, somebody has it; stale, it is ours and whoever had it is dead; unheld, nobody has it, and whether anybody \
needs it is not known; unknown, that cannot be seen from here.\nUSED: bytes in use; of semaphores = and their values.\nHELD: by how many \
processes, of System V segments how many attachments; - where nobody counts.\nAGE: since its owner, mode or contents changed.\nWhat permission \
hides is hidden, or >= what can be seen. A narrow terminal gets the columns that it has room for; a pipe gets all of them, with tabs, sizes in \
bytes and ages in seconds.";

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
    #[command(after_long_help = COLUMNS)]
    Ls(IpcLsArgs),
    /// Remove what is stale: ours, and whoever had it is dead
    Clean(CleanArgs),
    /// Show all objects and running servers, live, on the whole terminal; ? tells the keys
    Top(TopArgs),
    /// Say what of this machine would make shmeld fail, and what cures it
    ///
    /// Looks at limits, mounts, privileges and the container, and tries to make a queue and a region for a moment. Each finding comes with the
    /// command that cures it. Exits with 1 if something of shmeld would fail for this user.
    Doctor(DoctorArgs),
    /// Make a segment, or open it if it is there; print its address
    #[command(after_long_help = ADDRESSES)]
    Create(CreateArgs),
    /// Find a segment, check its size, print its address
    #[command(after_long_help = ADDRESSES)]
    Open(OpenArgs),
    /// Attach a segment, tell where, and hold it
    #[command(after_long_help = ADDRESSES)]
    Attach(AttachArgs),
    /// Show all that the kernel knows about an object of any kind, and who has it
    #[command(after_long_help = OBJECTS)]
    Show(ShowArgs),
    /// Copy bytes of a segment to standard output or a file
    #[command(after_long_help = ADDRESSES)]
    Read(ReadArgs),
    /// Copy a file or standard input into a segment
    #[command(after_long_help = ADDRESSES)]
    Write(WriteArgs),
    /// Make a POSIX segment longer or shorter
    #[command(after_long_help = ADDRESSES)]
    Resize(ResizeArgs),
    /// Set the permission bits of a segment
    #[command(after_long_help = ADDRESSES)]
    Chmod(ChmodArgs),
    /// Give a segment to another user or group
    #[command(after_long_help = ADDRESSES)]
    Chown(ChownArgs),
    /// Remove a segment; it goes with its last user
    #[command(after_long_help = ADDRESSES)]
    Rm(RmArgs),
}

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
