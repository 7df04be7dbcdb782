//! Zenoh as the importing side uses it: tokens say which exports are there, and a question is a query.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zenoh::handlers::CallbackDrop;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, Reply};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::Error;
use crate::asked::Pending;
use crate::key::Prefix;
use crate::remote::Network;
use crate::replicas::Replicas;

/// Questions as queries.
#[derive(Debug)]
pub struct Queries(pub Session);

impl Network for Queries {
    fn send(&self, key: String, payload: Vec<u8>, timeout: Duration, pending: Pending) {
        let pending = Arc::new(pending);
        let mut kept = Some(pending.clone());
        let sent = self
            .0
            .get(key)
            .payload(payload)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout)
            .with(CallbackDrop {
                callback: {
                    let pending = Arc::downgrade(&pending);
                    move |reply: Reply| {
                        if let Some(pending) = pending.upgrade() {
                            take(&pending, reply);
                        }
                    }
                },
                // Zenoh has nothing more to say.
                drop: move || drop(kept.take()),
            })
            .wait();
        if let Err(error) = sent {
            pending.failed(shmeld::os::name::escape(error.to_string().as_bytes()));
        }
    }
}

fn take(pending: &Pending, reply: Reply) {
    match reply.into_result() {
        Ok(sample) => {
            let head = sample.attachment().cloned().unwrap_or_default();
            pending.answered(head, sample.payload().clone());
        }
        Err(error) => {
            // Another program's words: some of them, and nothing that drives a terminal.
            let text = error.payload().to_bytes();
            pending.failed(shmeld::os::name::escape(&text[..text.len().min(200)]));
        }
    }
}

/// Enters the exports of `key` into `replicas` as they come and go, as long as the subscriber is kept.
///
/// # Errors
/// Zenoh refuses.
pub fn watch(
    session: &Session,
    key: &Prefix,
    replicas: &Arc<Mutex<Replicas>>,
) -> Result<Subscriber<()>, Error> {
    let (prefix, known) = (key.clone(), replicas.clone());
    let tokens = key.all_alive();
    session
        .liveliness()
        .declare_subscriber(&tokens)
        .history(true)
        .callback(move |sample: Sample| {
            let Some(id) = prefix.export_alive(sample.key_expr().as_str()) else {
                return;
            };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match sample.kind() {
                SampleKind::Put if known.has(id) => {}
                SampleKind::Put if known.appeared(id) => {
                    tracing::info!(target: "shmeld::bridge", "export {id} of {prefix} is there");
                }
                SampleKind::Put => {
                    tracing::warn!(target: "shmeld::bridge", "export {id} of {prefix} is one too many");
                }
                SampleKind::Delete => {
                    known.vanished(id);
                    tracing::info!(target: "shmeld::bridge", "export {id} of {prefix} is gone");
                }
            }
        })
        .wait()
        .map_err(|error| Error::zenoh("declare_subscriber", &tokens, &error))
}
