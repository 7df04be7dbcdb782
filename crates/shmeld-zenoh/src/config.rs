//! What a bridge is started with, and zenoh's configuration: the user's file, passed through, and what a bridge needs otherwise than zenoh's
//! defaults are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shmeld::ServerName;
use zenoh::{Config, Session, Wait};

use crate::Error;
use crate::error::words_of;
use crate::key::Prefix;
use crate::wire::{BODY_BYTES_MAX, HEAD_BYTES_MAX};

/// The longest message that is taken from the network: an answer, and what zenoh puts around it.
const MESSAGE_BYTES_MAX: usize = 17 << 20;
const _: () = assert!(BODY_BYTES_MAX + HEAD_BYTES_MAX + (64 << 10) <= MESSAGE_BYTES_MAX);

/// Where to look for others, and where to be found.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--connect`.
    pub connect: Vec<String>,
    /// `--listen`.
    pub listen: Vec<String>,
}

/// What an export or an import is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The local server: whose files are exported, or which an import is.
    pub name: ServerName,
    /// The key under which the files are offered.
    pub key: Prefix,
    /// How long an export's local server may be silent, or how long anything may take that an import asks for, whoever is asked.
    pub timeout: Duration,
}

/// Settings whose default is changed: (key, zenoh's default, ours). What the user's file sets otherwise stays.
fn changed_defaults() -> [(&'static str, String, String); 2] {
    [
        // A message of a gigabyte would be collected in memory before anybody looks at it.
        (
            "transport/link/rx/max_message_size",
            (1_usize << 30).to_string(),
            MESSAGE_BYTES_MAX.to_string(),
        ),
        // Answers come by name from one export; time stamps would only cost.
        ("timestamping/enabled", "null".to_owned(), "false".to_owned()),
    ]
}

impl Network {
    /// The configuration that results.
    ///
    /// # Errors
    /// The file cannot be read or is none of zenoh's, or an endpoint is none.
    pub fn config(&self) -> Result<Config, Error> {
        let mut config = match &self.file {
            Some(path) => read(path)?,
            None => Config::default(),
        };
        for (key, default, ours) in changed_defaults() {
            if config.get_json(key).is_ok_and(|value| value == default) {
                insert(&mut config, key, &ours)?;
            }
        }
        for (key, option, endpoints) in [
            ("connect/endpoints", "--connect", &self.connect),
            ("listen/endpoints", "--listen", &self.listen),
        ] {
            if endpoints.is_empty() {
                continue;
            }
            let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
            config
                .insert_json5(key, &format!("[{}]", quoted.join(",")))
                .map_err(|error| {
                    Error::Usage(format!("{option} {}: {}", endpoints.join(", "), words_of(&error)))
                })?;
        }
        Ok(config)
    }

    /// Joins the network.
    ///
    /// # Errors
    /// As [`Network::config`], or zenoh cannot listen or connect.
    pub fn join(&self) -> Result<Session, Error> {
        zenoh::open(self.config()?)
            .wait()
            .map_err(|error| Error::zenoh("join", "the network of zenoh", &error))
    }
}

fn read(path: &Path) -> Result<Config, Error> {
    Config::from_file(path)
        .map_err(|error| Error::Usage(format!("--config {}: {}", path.display(), words_of(&error))))
}

fn insert(config: &mut Config, key: &str, value: &str) -> Result<(), Error> {
    config
        .insert_json5(key, value)
        .map_err(|error| Error::zenoh("configure", key, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another version of zenoh with other defaults would quietly keep them.
    #[test]
    fn defaults_that_are_changed_are_those_that_zenoh_has() {
        for (key, default, _) in changed_defaults() {
            assert_eq!(Config::default().get_json(key).unwrap(), default, "{key}");
        }
    }

    #[test]
    fn what_the_user_sets_stays_and_endpoints_are_added() {
        let file = std::env::temp_dir().join(format!("shmeld-bridge-config-{}.json5", std::process::id()));
        std::fs::write(
            &file,
            "{ transport: { link: { rx: { max_message_size: 77777 } } } }",
        )
        .unwrap();
        let network = Network {
            file: Some(file.clone()),
            connect: vec!["tcp/127.0.0.1:7447".to_owned()],
            listen: Vec::new(),
        };
        let config = network.config().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            config.get_json("transport/link/rx/max_message_size").unwrap(),
            "77777"
        );
        assert!(
            config
                .get_json("connect/endpoints")
                .unwrap()
                .contains("127.0.0.1:7447")
        );
    }

    #[test]
    fn what_is_no_configuration_and_no_endpoint_is_told_by_the_option() {
        let missing = Network {
            file: Some("/nonexistent/zenoh.json5".into()),
            ..Network::default()
        };
        assert!(
            missing
                .config()
                .unwrap_err()
                .to_string()
                .starts_with("--config /nonexistent/zenoh.json5")
        );
        let endpoint = Network {
            connect: vec!["nowhere".to_owned()],
            ..Network::default()
        };
        assert!(
            endpoint
                .config()
                .unwrap_err()
                .to_string()
                .starts_with("--connect nowhere")
        );
    }
}
