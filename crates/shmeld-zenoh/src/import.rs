//! The importing side: a local server whose files are those of remote exports.

use std::sync::{Arc, Mutex};

use shmeld::file::{Ending, Server, ServerOptions, Stopper};
use zenoh::Session;
use zenoh::pubsub::Subscriber;

use crate::Error;
use crate::config::Options;
use crate::network::Queries;
use crate::presence::watch;
use crate::remote::Remote;
use crate::replicas::Replicas;
use crate::source::RemoteSource;

/// The most clients at once: each keeps at most two chunks and what is asked for ahead of small files, besides the shelf.
pub const SESSIONS_MAX: usize = 256;

/// See the module.
pub struct Import {
    server: Server,
    remote: Arc<Remote>,
    /// Tells who comes and goes, as long as it is there.
    _watcher: Subscriber<()>,
}

impl Import {
    /// Makes the local server. Exports need not be there yet.
    ///
    /// # Errors
    /// A server of this name runs already, or the kernel or zenoh refuses.
    pub fn start(session: &Session, options: &Options) -> Result<Self, Error> {
        let replicas = Arc::<Mutex<Replicas>>::default();
        let watcher = watch(session, &options.key, &replicas)?;
        let network = Box::new(Queries(session.clone()));
        let remote = Arc::new(Remote::new(
            network,
            options.key.clone(),
            options.timeout,
            replicas,
        ));
        let source = Arc::new(RemoteSource(remote.clone()));
        let server = Server::start(
            source,
            ServerOptions {
                name: options.name.clone(),
                sessions_max: SESSIONS_MAX,
                ..ServerOptions::default()
            },
        )?;
        Ok(Self {
            server,
            remote,
            _watcher: watcher,
        })
    }

    /// A handle that stops this server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.server.stopper()
    }

    /// Serves until [`Stopper::stop`].
    ///
    /// # Errors
    /// The queue was lost and cannot be made again.
    pub fn serve(&mut self) -> Result<(), Error> {
        Ok(self.server.serve()?)
    }

    /// Lets sessions at work finish for a while, and removes what was made.
    pub fn end(self) -> Ending {
        let ending = self.server.end();
        self.remote.stop();
        ending
    }
}
