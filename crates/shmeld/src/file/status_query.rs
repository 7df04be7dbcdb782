//! Asking a server about itself.

use shmeld_core::Misbehaviour;

use super::client::{Client, Query};
use super::context::ServerStatus;
use super::record::Kind;
use super::wire::Op;
use crate::{Error, Result};

/// The longest status that is read.
const STATUS_BYTES_MAX: usize = 64 * 1024;

/// Asks the server what it counts about itself.
///
/// # Errors
/// The session failed, or the answer is not a status.
pub fn fetch_status(mut client: Client) -> Result<ServerStatus> {
    let bad = || Error::from(Misbehaviour::Record("a status that is none"));
    client.submit(&Query::new(Op::Status, ""))?;
    let mut json = Vec::new();
    loop {
        let record = client.next_record()?;
        if record.kind == Kind::Data {
            client.payload(&record, &mut json);
        }
        if json.len() > STATUS_BYTES_MAX {
            return Err(bad());
        }
        client.finish(&record)?;
        if record.kind == Kind::Done {
            break;
        }
    }
    client.close();
    serde_json::from_slice(&json).map_err(|_| bad())
}
