//! What can go wrong between a client and a server, told apart by what the caller can do about it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use shmeld_core::Misbehaviour;
use shmeld_core::session::CODE_MAX;
use shmeld_os::posix::shm::{self, SharedMemory};
use shmeld_os::{ErrorKind, users};

use crate::ServerName;
use crate::board::BoardError;
use crate::file::Status;
use crate::image::ImageError;
use crate::segment::SegmentError;

/// What can be done after the end of a server.
const BROKEN_OFF_HINT: &str = "start it again and repeat what was asked; a transfer with --resume keeps what has arrived of a file, and goes on from there";
/// How many servers a hint names.
const SERVERS_NAMED_MAX: usize = 10;

/// The result of an operation of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server or a client could not go on. What happens to a single file is not here: see [`crate::file::Event`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Os(#[from] shmeld_os::Error),
    /// No server of this name within the time given.
    #[error("server {name}: {}{}", absence_text(.others.contains(.name)), waited_text(*.waited))]
    NoServer {
        /// The name asked for.
        name: ServerName,
        /// How long the client waited.
        waited: Duration,
        /// Servers whose gates are held here. The one asked for among them is starting, ending, or in another IPC namespace.
        others: Vec<ServerName>,
    },
    /// A server lives and has taken the request, but looks for the client's region where it is not.
    #[error("server {name}: it does not find this client's shared memory")]
    Elsewhere {
        /// The server.
        name: ServerName,
    },
    /// A live server holds the name.
    #[error("server {name}: already running")]
    AlreadyRunning {
        /// The name asked for.
        name: ServerName,
    },
    /// The name is taken by another user's object.
    #[error("{operation} {object}: it belongs to {}, not to us", owner_text(*.uid))]
    ForeignOwner {
        /// The step that found it.
        operation: &'static str,
        /// The object.
        object: String,
        /// Its owner, if that can be seen.
        uid: Option<u32>,
    },
    /// The queue lost its name, and the server's confinement does not let it make another.
    #[error("server {name}: its queue lost its name and cannot be made again in its confinement")]
    QueueLost {
        /// The server.
        name: ServerName,
    },
    /// The server does not take our region.
    #[error("server {name}: refused this client: {} ({})", text_of(*.code), name_of(*.code))]
    Refused {
        /// The server.
        name: ServerName,
        /// The code it wrote, a [`Status`] if this version knows it.
        code: u32,
    },
    /// The server ended the session before everything was answered.
    #[error("server {name}: ended the session: {} ({})", text_of(*.code), name_of(*.code))]
    Ended {
        /// The server.
        name: ServerName,
        /// The code it wrote.
        code: u32,
    },
    /// The server died.
    #[error("server {name}: died")]
    ServerDied {
        /// The server.
        name: ServerName,
    },
    /// The server lives and did nothing for too long.
    #[error("server {name}: alive, but silent for {} s", .after.as_secs())]
    Silent {
        /// The server.
        name: ServerName,
        /// How long.
        after: Duration,
    },
    /// The queue stayed full.
    #[error("server {name}: not draining its queue for {} s", .after.as_secs())]
    NotDraining {
        /// The server.
        name: ServerName,
        /// How long.
        after: Duration,
    },
    /// A file that cannot hold the audit log.
    #[error("open {}: {reason}", shmeld_os::name::escape(.path.as_os_str().as_bytes()))]
    AuditFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Peer(#[from] Misbehaviour),
    /// The object is no region, or its size cannot be one.
    #[error("{0}")]
    Layout(String),
    /// With VERIFY: what was written is not what the server read.
    #[error("the bytes that arrived are not those that the server read (BLAKE3 differs)")]
    Digest,
    /// What lies where the part of a file is kept that has arrived is no such thing, or another client's at this moment.
    #[error("resume {path}: {why}")]
    Partial {
        /// The path of the part.
        path: String,
        /// What is wrong with it.
        why: &'static str,
        /// What can be done.
        cure: &'static str,
    },
    /// At a message board.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// On a channel of images.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The caller's own wish: a signal, for example.
    #[error("interrupted")]
    Interrupted,
    /// Something asked of a segment cannot be had.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Usage(String),
}

fn absence_text(is_gate_held: bool) -> &'static str {
    if is_gate_held {
        "it has no queue here"
    } else {
        "not running"
    }
}

/// How long was waited, if at all.
pub(crate) fn waited_text(waited: Duration) -> String {
    if waited.is_zero() {
        String::new()
    } else {
        format!(" (waited {:.1} s)", waited.as_secs_f64())
    }
}

fn status_of(code: u32) -> Option<Status> {
    debug_assert!(code <= CODE_MAX);
    Status::from_code(u16::try_from(code).ok()?)
}

fn text_of(code: u32) -> &'static str {
    status_of(code).map_or("for a reason that this version does not know", Status::text)
}

fn name_of(code: u32) -> String {
    status_of(code).map_or_else(|| code.to_string(), |status| status.name().to_owned())
}

impl From<shmeld_core::Error> for Error {
    fn from(error: shmeld_core::Error) -> Self {
        match error {
            shmeld_core::Error::Os(error) => Self::Os(error),
            shmeld_core::Error::Peer(misbehaviour) => Self::Peer(misbehaviour),
            other => Self::Layout(other.to_string()),
        }
    }
}

impl Error {
    /// The exit code of a program that ends with this: 2 usage, 3 system or server, 4 the peer died or broke the protocol, 130 interrupted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Board(error) => error.exit_code(),
            Self::Image(error) => error.exit_code(),
            Self::Os(_)
            | Self::NoServer { .. }
            | Self::Elsewhere { .. }
            | Self::AlreadyRunning { .. }
            | Self::ForeignOwner { .. }
            | Self::QueueLost { .. }
            | Self::Refused { .. }
            | Self::Partial { .. }
            | Self::AuditFile { .. }
            | Self::Layout(_) => 3,
            Self::Ended { .. }
            | Self::ServerDied { .. }
            | Self::Silent { .. }
            | Self::NotDraining { .. }
            | Self::Digest
            | Self::Peer(_) => 4,
            Self::Interrupted => 130,
            Self::Segment(error) => error.exit_code(),
        }
    }

    /// What the reader of the message can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Os(error) => error.hint(),
            Self::Segment(error) => error.hint(),
            Self::Board(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::NoServer { name, waited, others } if others.is_empty() => {
                let wait = if waited.is_zero() {
                    "wait for one: --wait 30s"
                } else {
                    "wait longer: --wait forever"
                };
                Some(format!("start one: shm_server DIR --name {name}; or {wait}"))
            }
            Self::NoServer { name, others, .. } if others.contains(name) => Some(format!(
                "its gate in {} is held: it is just starting or ending, or in another IPC namespace. \
                 Containers that share that directory must share the IPC namespace too (docker: --ipc container:NAME)",
                shm::DIRECTORY
            )),
            Self::NoServer { others, .. } => {
                let named = others.iter().take(SERVERS_NAMED_MAX).map(ServerName::to_string);
                let mut names = named.collect::<Vec<_>>().join(", ");
                if let more @ 1.. = others.len().saturating_sub(SERVERS_NAMED_MAX) {
                    names.push_str(&format!(" and {more} more"));
                }
                Some(format!("servers that run here: {names} (choose one with --name)"))
            }
            Self::AuditFile { .. } => Some(
                "the audit log needs a regular file of your own or root's, with one name, that only its owner may write (mode 0600 or 0640): \
                 give another one, or let it be made"
                    .to_owned(),
            ),
            Self::Elsewhere { .. } => Some(elsewhere_hint()),
            Self::Silent { name, .. } if gate_is_elsewhere(name) => Some(elsewhere_hint()),
            Self::AlreadyRunning { .. } => {
                Some("choose another name with --name, or stop that server".to_owned())
            }
            Self::Partial { cure, .. } => Some((*cure).to_owned()),
            Self::ForeignOwner { uid, .. } => Some(foreign_owner_hint(*uid)),
            Self::Refused { code, .. } if status_of(*code) == Some(Status::Denied) => Some(
                "it does not serve your user: have it started with --group or --public; or with --allow-unmapped, \
                 if server and client are in different user namespaces"
                    .to_owned(),
            ),
            Self::ServerDied { .. } => Some(BROKEN_OFF_HINT.to_owned()),
            Self::Ended { code, .. } if status_of(*code) == Some(Status::Stopping) => {
                Some(BROKEN_OFF_HINT.to_owned())
            }
            Self::QueueLost { .. } => Some(
                "start it again; a confined server can make its queue again if the queues are mounted when it starts: \
                 mount -t mqueue none /dev/mqueue, or --no-sandbox"
                    .to_owned(),
            ),
            Self::Refused { code, .. } if status_of(*code) == Some(Status::Busy) => Some(
                "a limit of the server is reached (--max-sessions, --max-sessions-per-user, or --once): try again later".to_owned(),
            ),
            Self::Refused { code, .. } if status_of(*code) == Some(Status::BadRegion) => Some(
                "it may be larger than the server's --region-max: choose a smaller one with --region"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// A live server has its gate beside its clients' regions. Where its queue is seen and its gate is not, neither are our regions by it.
pub(crate) fn gate_is_elsewhere(name: &ServerName) -> bool {
    SharedMemory::stat_name(name.gate()).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn elsewhere_hint() -> String {
    format!(
        "its gate is not in this {0}: somebody removed it, or server and client see different mounts there. \
         Containers that share an IPC namespace must share {0} too",
        shm::DIRECTORY
    )
}

fn foreign_owner_hint(uid: Option<u32>) -> String {
    let cures = "choose another name with --name, or have that user or root remove the object";
    match uid {
        Some(uid) if users::unmapped_uid() == Some(uid) => format!(
            "in this user namespace uid {uid} stands for every user that it does not know: {cures}; --allow-unmapped makes a \
             server, and --server-uid {uid} a client, take them all for one"
        ),
        Some(uid) => {
            format!("{cures}; a client that trusts uid {uid} accepts its server with --server-uid {uid}")
        }
        None => cures.to_owned(),
    }
}

fn owner_text(uid: Option<u32>) -> String {
    uid.map_or_else(|| "another user".to_owned(), |uid| format!("uid {uid}"))
}
