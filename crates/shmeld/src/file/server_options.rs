//! What a server is started with.

use std::sync::Arc;
use std::time::Duration;

use super::audit::Audit;
use crate::ServerName;

/// What a server admits and how long it waits.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The name under which clients find it.
    pub name: ServerName,
    /// End when the first session that made a GET or TREE ends.
    pub once: bool,
    /// The most sessions at once.
    pub sessions_max: usize,
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
            region_bytes_max: 64 << 20,
            stall: Duration::from_secs(600),
            audit: None,
        }
    }
}
