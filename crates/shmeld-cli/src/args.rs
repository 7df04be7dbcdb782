//! The command line, as one set of definitions from which parsing, help, man pages and completions come.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use shmeld::ServerName;
use shmeld::os::ObjectName;

use crate::args_board::BoardArgs;
use crate::args_demo::DemoArgs;
use crate::args_image::ImageArgs;
use crate::args_ipc::IpcArgs;
use crate::args_talk::TalkArgs;
use crate::help;
use crate::values::{
    RegionSize, Wait, number, parse_duration, parse_group, parse_region, parse_region_size, parse_size,
    parse_uid, parse_wait,
};

/// How wide a help text gets, in columns.
const COLUMNS: usize = 80;

/// The command line; or the end of the process, after telling what of it cannot be understood. An option of another program is no name of a
/// file: the tip to put `--` before it is left out.
#[must_use]
pub fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| without_tip(error).exit())
}

fn without_tip(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains(" as a value, use "));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

/// Files between processes of one Linux machine through shared memory.
#[derive(Debug, Parser)]
#[command(name = "shmeld", version, max_term_width = COLUMNS, after_long_help = help::SHMELD, disable_help_subcommand = true)]
pub struct Shmeld {
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `shmeld`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offer the files of a directory (the same as shm_server)
    #[command(after_long_help = help::SERVE)]
    Serve(ServeArgs),
    /// Fetch files from a server (shm_client with a larger region)
    #[command(after_long_help = help::GET)]
    Get(GetArgs),
    /// Copy files through shared memory: server and client in one command
    #[command(after_long_help = help::CP)]
    Cp(CpArgs),
    /// List the files that a server offers
    #[command(after_long_help = help::LS)]
    Ls(LsArgs),
    /// Show what a server says about itself
    #[command(after_long_help = help::STATUS)]
    Status(StatusArgs),
    /// Post a message under a System V key, or read one
    #[command(after_long_help = help::BOARD)]
    Board(BoardArgs),
    /// Ask another process for images, or provide them
    #[command(after_long_help = help::IMAGE)]
    Image(ImageArgs),
    /// List all objects of interprocess communication, clean up; make, show, use and remove segments of shared memory
    #[command(after_long_help = help::IPC)]
    Ipc(IpcArgs),
    /// Run one of the systems: file transfer, mind meld, message board or images, and tell each step
    #[command(after_long_help = help::DEMO)]
    Demo(DemoArgs),
    /// Measure transfers on this machine
    #[command(after_long_help = help::BENCH)]
    Bench(BenchArgs),
    /// For `bench`: one side of the transfer that it compares with.
    #[command(hide = true)]
    LockStep(LockStepArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = help::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory
    #[command(after_long_help = help::MAN)]
    Man(ManArgs),
}

/// Offer the files of a directory to other processes of this machine through shared memory.
///
/// Clients find the server by the name of its message queue, put a region of shared memory of their own at its disposal, and read the
/// files out of that region. Only the files beneath DIR can be reached. End the server with Ctrl-C: it removes everything it made.
#[derive(Debug, Parser)]
#[command(name = "shm_server", version, max_term_width = COLUMNS, after_long_help = help::SHM_SERVER)]
pub struct ShmServer {
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Fetch files from shm_server through one page of shared memory.
///
/// The client may be started first: it waits for the server. Several names are fetched in one session; a name that does not exist is
/// reported as FNF and the others are still fetched.
#[derive(Debug, Parser)]
#[command(name = "shm_client", version, max_term_width = COLUMNS, after_long_help = help::SHM_CLIENT)]
pub struct ShmClient {
    #[command(flatten)]
    pub get: GetArgs,
}

/// Options of a server.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The directory whose files are offered
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Name under which clients find the server
    #[arg(long, default_value = ServerName::DEFAULT)]
    pub name: ServerName,
    /// End when the first client that fetched something has finished
    ///
    /// Other clients are told BUSY meanwhile. The exit code is 0 if that client ended properly and 4 if it died.
    #[arg(long)]
    pub once: bool,
    /// Serve the members of a group too: its number, or its name
    ///
    /// The name is looked up in /etc/group. By default only the server's own user and root are served. With this option the server gives
    /// out only files that the group may read, in directories that it may search (DIR itself is not looked at), unless --serve-private is
    /// given.
    #[arg(long, value_name = "G", group = "audience", value_parser = parse_group)]
    pub group: Option<u32>,
    /// Serve all users of this machine
    ///
    /// With this option the server gives out only files that others may read, in directories that others may search (DIR itself is not looked
    /// at), unless --serve-private is given.
    #[arg(long, group = "audience")]
    pub public: bool,
    /// With --group or --public: serve all that the server may read
    #[arg(long, requires = "audience")]
    pub serve_private: bool,
    /// In a user namespace: take all unknown users for one like others
    #[arg(long)]
    pub allow_unmapped: bool,
    /// How many clients may be attached at once
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = number(1_u32, Some(2000)))]
    pub max_sessions: u32,
    /// How many of them one other user may have; a quarter if absent
    #[arg(long, value_name = "N", value_parser = number(1_u32, Some(2000)))]
    pub max_sessions_per_user: Option<u32>,
    /// The largest region that a client may bring
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_region)]
    pub region_max: u64,
    /// The largest file that is served
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub file_max: Option<u64>,
    /// How long a client may leave its next step undone
    #[arg(long, value_name = "DUR", default_value = "10m", value_parser = parse_duration)]
    pub stall: Duration,
    /// Follow no symbolic links, not even those that stay beneath DIR
    #[arg(long)]
    pub no_symlinks: bool,
    /// Add a line to FILE for each session and each refusal
    ///
    /// One JSON object a line, with "time" (UTC), "server" (its name) and "event": "start" and "stop" (of the server: pid, version), "session"
    /// (an end: uid, requests, files, bytes, bytes_sent, refused, cancelled, status, reason, seconds), "refused" or "cancelled" (uid, session,
    /// op, path, status, reason), "region" (one that was not attached; uid is null unless the sender has proven who it is), "suppressed" (what
    /// more than 10 lines a second of one user, event and status amount to), "junk" (messages that are no requests), "lost" (lines that could
    /// not be written). The uid is that of the client's region, as the kernel says. FILE is made with mode 0600; give it a directory of its
    /// own outside of DIR: the confined server may write there. After renaming it send SIGHUP: the server goes on in a new FILE. (Without
    /// --audit SIGHUP stops the server as SIGTERM does.)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub audit: Option<PathBuf>,
    /// Print what the server has given up, and serve
    ///
    /// It is printed line by line on standard output. After its start the server confines itself: with landlock it can open nothing any
    /// more but files beneath DIR for reading, objects of its user in /dev/shm, queues of its user, and files beneath the directory of the
    /// audit log for writing. Each of these is told, what landlock cannot forbid too, and so are new privileges, core dumps and ignored
    /// signals. Whether it holds on this kernel is tried.
    #[arg(long)]
    pub print_sandbox: bool,
    /// Do not use landlock
    #[arg(long)]
    pub no_sandbox: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Tell each step of the conversation as it happens, and why
    #[arg(long)]
    pub explain: bool,
    /// For `cp`: say `ready` on standard output, end when standard input is closed.
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Options that all clients have.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Name of the server
    #[arg(long, default_value = ServerName::DEFAULT)]
    pub name: ServerName,
    /// How long to wait for the server: 500ms, 10s, 2m or forever [default: 30s; ls and status: 0]
    #[arg(long, alias = "timeout", value_name = "DUR", value_parser = parse_wait)]
    pub wait: Option<Wait>,
    /// Accept a server of this user as well as one's own and root's; may be given several times
    ///
    /// The server's user is let in to this client's shared memory, and to nothing else.
    #[arg(long, value_name = "UID", value_parser = parse_uid)]
    pub server_uid: Vec<u32>,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options about how outputs are made.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Keep modification times, and modes without regard to the umask
    ///
    /// Set-user-id and the like are never kept, and what is there already gets no wider mode. A time or mode that cannot be set is an error,
    /// and the file is not delivered.
    #[arg(short, long)]
    pub preserve: bool,
    /// Refuse to replace files that exist
    ///
    /// Whatever has the name is kept, also if it comes during the transfer: file, link, directory, disk. The rest is delivered, and the exit
    /// code is 1. Devices of characters and FIFOs are written into.
    #[arg(long)]
    pub no_clobber: bool,
    /// Check a BLAKE3 digest of every file end to end
    ///
    /// A file that differs does not get its name, and the exit code is 4; that code is all there is where bytes are out already, as on
    /// standard output. Holes are hashed as the zeros they are: about a second for each 2 GiB.
    #[arg(long)]
    pub verify: bool,
    /// Wait until files and directories are on the disk
    ///
    /// A file is there before it has its name. Directories that are made on the way are waited for, too, and standard output if it is a file.
    #[arg(long)]
    pub sync: bool,
}

/// Options of `get` and `shm_client`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Names of files, relative to the server's directory; a name with * ? [ that does not exist is a pattern
    #[arg(required_unless_present = "files_from")]
    pub names: Vec<std::ffi::OsString>,
    /// Where to put them: a file, a directory, or - for standard output
    ///
    /// An existing directory, a trailing /, several names, a pattern, -T or -r mean a directory, which is made if absent and in which the
    /// relative paths asked for are kept.
    #[arg(short, long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,
    /// Read names from this file, one a line (- is standard input)
    #[arg(short = 'T', long, alias = "names-from", value_name = "LIST", value_hint = ValueHint::FilePath)]
    pub files_from: Option<PathBuf>,
    /// Make N requests, going through the names again and again
    #[arg(short = 'n', long, value_name = "N", value_parser = number(1_u64, None))]
    pub count: Option<u64>,
    /// Fetch directories with everything below them
    #[arg(short, long, short_alias = 'R')]
    pub recursive: bool,
    /// Keep what has arrived of a file that is not finished, and go on from there the next time
    ///
    /// It is kept as .NAME.shmeld-part beside the file. The server compares it with the source; if it is not the beginning of that, the file
    /// is fetched anew. Names that follow -T are taken literally then; one file is fetched at a time.
    #[arg(long)]
    pub resume: bool,
    /// Size of the shared memory region, or auto; one page for shm_client, auto (1MiB if there is room) for shmeld get
    #[arg(long, value_name = "SIZE", value_parser = parse_region_size)]
    pub region: Option<RegionSize>,
    #[command(flatten)]
    pub outputs: OutputArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `cp`.
#[derive(Debug, Args)]
pub struct CpArgs {
    /// Files, or with -r directories
    #[arg(required = true, num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub sources: Vec<PathBuf>,
    /// A file or a directory
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub destination: PathBuf,
    /// Copy directories with everything below them
    #[arg(short, long, short_alias = 'R')]
    pub recursive: bool,
    /// Size of the shared memory region, or auto: 1MiB, but one page for little files or where there is no room for more
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = parse_region_size)]
    pub region: RegionSize,
    #[command(flatten)]
    pub outputs: OutputArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// A directory, file or pattern; everything at the top if absent
    pub pattern: Option<std::ffi::OsString>,
    /// Show mode, size and time
    #[arg(short, long)]
    pub long: bool,
    /// Descend into directories
    #[arg(short, long, short_alias = 'R')]
    pub recursive: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    /// Print OpenMetrics text, which Prometheus and its like read
    #[arg(long, conflicts_with = "json")]
    pub openmetrics: bool,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Size of the file that is transferred
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    pub size: u64,
    /// How many paired runs
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = number(1_u32, Some(99)))]
    pub pairs: u32,
    /// Print the results as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write them there: bench.json, and bench.svg with a bar a row
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What `bench` tells the two processes of a lock-step transfer.
#[derive(Debug, Args)]
pub struct LockStepArgs {
    pub role: LockStepRole,
    pub bytes: u64,
    pub filled: ObjectName,
    pub free: ObjectName,
    pub page: PathBuf,
    /// The file that the writer reads, or the one that the reader makes.
    pub file: PathBuf,
}

/// A side of a lock-step transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LockStepRole {
    Writer,
    Reader,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory that gets the pages; made if absent
    #[arg(value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}
