//! Zenoh as the importing side uses it: a question is a query.

use std::sync::Arc;
use std::time::Duration;

use zenoh::handlers::CallbackDrop;
use zenoh::query::{ConsolidationMode, Reply};
use zenoh::{Session, Wait};

use crate::asked::Pending;
use crate::error::words_of;
use crate::remote::Network;

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
            pending.failed(shmeld::os::name::escape(words_of(&error).as_bytes()));
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
