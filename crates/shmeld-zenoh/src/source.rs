//! The exports of a key as the source of a local server.

use std::sync::Arc;

use shmeld::file::source::{Source, SourceFile, Walk};
use shmeld::file::wire::PATH_BYTES_MAX;
use shmeld::file::{Refusal, Status};

use crate::remote::Remote;
use crate::remote_file::RemoteFile;
use crate::remote_walk::RemoteWalk;

/// See the module.
#[derive(Debug)]
pub struct RemoteSource(pub Arc<Remote>);

/// Whether a name can be asked for.
pub(crate) fn check_path(path: &[u8]) -> Result<(), Refusal> {
    if path.contains(&0) {
        return Err(Status::BadName.into());
    }
    if path.len() > PATH_BYTES_MAX {
        let text = format!("a path of more than {PATH_BYTES_MAX} bytes does not travel between machines");
        return Err(Refusal::new(Status::NameTooLong, text));
    }
    Ok(())
}

impl Source for RemoteSource {
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        check_path(path)?;
        if path.is_empty() {
            return Err(Status::BadName.into());
        }
        Ok(Box::new(RemoteFile::new(self.0.clone(), path.to_vec())))
    }

    fn walk(&self, path: &[u8], levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        check_path(path)?;
        Ok(Box::new(RemoteWalk::new(
            self.0.clone(),
            path.to_vec(),
            levels_max,
        )))
    }
}
