//! What a server is started with.

use std::sync::Arc;
use std::time::Duration;

use shmeld_os::fs::Audience;
use shmeld_os::users;

use super::audit::Audit;
use crate::{Error, Result, ServerName};

/// It takes at least this many users to take all places: one alone cannot keep the others out.
const USERS_FOR_ALL_PLACES_MIN: usize = 4;

/// What a server admits and how long it waits.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The name under which clients find it.
    pub name: ServerName,
    /// End when the first session that made a GET or TREE ends.
    pub once: bool,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// The most sessions of one user other than the server's own; `None` is a quarter of all.
    pub sessions_of_user_max: Option<usize>,
    /// Who may send besides the server's own user and root.
    pub audience: Option<Audience>,
    /// Treat the uid that a user namespace shows for all users it does not know as a user like others.
    pub allow_unmapped: bool,
    /// The largest region that is attached.
    pub region_bytes_max: u64,
    /// How long a client may owe its next step.
    pub stall: Duration,
    /// Where ends of sessions and refusals are written down, if anywhere.
    pub audit: Option<Arc<Audit>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            name: ServerName::default(),
            once: false,
            sessions_max: 1024,
            sessions_of_user_max: None,
            audience: None,
            allow_unmapped: false,
            region_bytes_max: 64 << 20,
            stall: Duration::from_secs(600),
            audit: None,
        }
    }
}

impl ServerOptions {
    /// The most sessions of one user other than the server's own: at least one.
    pub(super) fn check(&self) -> Result<()> {
        match self.audience {
            // It would show the files of every group that is unknown here to the members of that one.
            Some(Audience::Group(gid)) if !self.allow_unmapped && users::unmapped_gid() == Some(gid) => {
                Err(Error::Usage(format!(
                    "--group {gid}: in this user namespace that stands for every group that it does not know (--allow-unmapped takes it nevertheless)"
                )))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sessions_of_user_max(&self) -> usize {
        let most = self.sessions_of_user_max;
        most.unwrap_or(self.sessions_max / USERS_FOR_ALL_PLACES_MIN)
            .max(1)
    }
}
