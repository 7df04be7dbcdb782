//! The options of `shmeld image`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use shmeld::image::{ChannelName, Format};

use crate::args_talk::TalkArgs;
use crate::help;
use crate::values::{Wait, number, parse_uid, parse_wait};

/// Ask another process for images by name, or provide them, through a channel of shared memory.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The two sides.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Ask for images and write them as files
    ///
    /// The requester makes the channel: two segments of POSIX shared memory and two named semaphores, which it removes when it ends. The
    /// provider may be started before or after it.
    #[command(after_long_help = help::REQUEST)]
    Request(RequestArgs),
    /// Provide the images of a directory
    ///
    /// For the name cat it looks for cat, then for cat.png and other formats that it can decode. It serves one requester after the other
    /// until it is stopped.
    #[command(after_long_help = help::PROVIDE)]
    Provide(ProvideArgs),
}

/// Options of `image request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Name of the channel; each / becomes _
    pub channel: ChannelName,
    /// Names of images, without extension
    #[arg(required_unless_present = "names_from")]
    pub names: Vec<OsString>,
    /// Read names from this file, one a line (- is standard input)
    #[arg(long, short_alias = 'T', alias = "files-from", value_name = "F", value_hint = ValueHint::FilePath)]
    pub names_from: Option<PathBuf>,
    /// Choose among the names by chance, each time anew
    #[arg(long)]
    pub random: bool,
    /// How many images to ask for, going through the names again and again; once through them if absent
    #[arg(short = 'n', long, value_name = "N", value_parser = number(0_u64, None))]
    pub count: Option<u64>,
    /// The directory for the files; made if absent
    #[arg(short, long, value_name = "DIR", default_value = ".", default_value_if("print", "true", None), value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// What kind of files; raw is the pixels alone, with bytes, width, height and channels in NAME.raw.json
    #[arg(long, default_value = "png")]
    pub format: PictureFormat,
    /// Print name, bytes, width, height and channels of each image on standard output; with -o write files too
    #[arg(long)]
    pub print: bool,
    /// How long to wait for each image: 500ms, 10s, 2m or forever
    #[arg(long, alias = "wait", value_name = "DUR", default_value = "30s", value_parser = parse_wait)]
    pub timeout: Wait,
    /// Let other users of this machine open the channel: each of them can read the images, and answer
    #[arg(long)]
    pub public: bool,
    /// Take the channel away from whoever uses it
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `image provide`.
#[derive(Debug, Args)]
pub struct ProvideArgs {
    /// Name of the channel; each / becomes _
    pub channel: ChannelName,
    /// The directory with the images
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// End after so many answers
    #[arg(short = 'n', long, value_name = "N", value_parser = number(0_u64, None))]
    pub count: Option<u64>,
    /// How long to wait for the next request: 500ms, 10s, 2m or forever
    #[arg(long, alias = "wait", value_name = "DUR", default_value = "forever", value_parser = parse_wait)]
    pub timeout: Wait,
    /// Accept the channel of this user as well as one's own and root's; may be given several times
    #[arg(long, value_name = "UID", value_parser = parse_uid)]
    pub requester_uid: Vec<u32>,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// What kind of files `image request` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureFormat {
    Png,
    Jpg,
    Raw,
}

impl From<PictureFormat> for Format {
    fn from(format: PictureFormat) -> Self {
        match format {
            PictureFormat::Png => Self::Png,
            PictureFormat::Jpg => Self::Jpg,
            PictureFormat::Raw => Self::Raw,
        }
    }
}
