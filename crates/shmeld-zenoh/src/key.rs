//! Key expressions: where on the network a file of an export is asked for. docs/BRIDGE.md section "Keys" has the grammar.
//!
//! Names stand in keys so that zenoh's access control can tell directories apart. Nothing of a name is interpreted there: whatever zenoh or a
//! separator could mean is written in hexadecimal, and only the one spelling that this makes is read. Pure.

use std::fmt;
use std::str::FromStr;

use shmeld::file::wire::PATH_BYTES_MAX;
use zenoh::key_expr::KeyExpr;

/// The longest prefix: with the longest name, all of whose bytes are written in hexadecimal, a key stays far below what zenoh takes.
pub const PREFIX_BYTES_MAX: usize = 1024;
/// How an empty part of a name is written, as in `a//b`: a key has no empty chunks.
const EMPTY: &str = "%";
const STATUS: &str = "status";

/// The key under which exports offer the same files: chunks without wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// Why a text is no [`Prefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no key: {why}; write words with / between them, such as shmeld/plant7")]
pub struct PrefixError {
    text: String,
    why: &'static str,
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let refuse = |why| {
            let text = text.to_owned();
            Err(PrefixError { text, why })
        };
        if text.len() > PREFIX_BYTES_MAX {
            return refuse("it is longer than 1024 bytes");
        }
        if text.contains(['*', '$', '#', '?', '@']) {
            return refuse("the characters * $ # ? @ mean something to zenoh");
        }
        if text.chars().any(char::is_control) {
            return refuse("it has control characters");
        }
        if KeyExpr::new(text).is_err() {
            return refuse("a part of it is empty");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One run of one export: 128 random bits, 32 digits in keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportId(pub [u8; 16]);

impl fmt::Display for ExportId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ExportId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl ExportId {
    /// An id that no other export has.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub fn random() -> shmeld::os::Result<Self> {
        shmeld::os::process::random_bytes().map(Self)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let pairs = text.as_bytes().chunks(2);
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digits = pair
                .iter()
                .map(|digit| b"0123456789abcdef".iter().position(|known| known == digit));
            *byte = digits.reduce(|high, low| Some(high? * 16 + low?)).flatten()? as u8;
        }
        Some(Self(bytes))
    }
}

/// What is asked for: the chunk behind the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A part of a file.
    Get,
    /// What a directory holds.
    List,
    /// What the local server says about itself. It has no names.
    Status,
}

impl Service {
    const NAMED: [Self; 2] = [Self::Get, Self::List];

    fn chunk(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Status => STATUS,
        }
    }
}

impl Prefix {
    /// The token that is there as long as an export is.
    #[must_use]
    pub fn alive(&self, export: ExportId) -> String {
        format!("{self}/{export}/alive")
    }

    /// The tokens of all exports.
    #[must_use]
    pub fn all_alive(&self) -> String {
        format!("{self}/*/alive")
    }

    /// Whose token a key is.
    #[must_use]
    pub fn export_alive(&self, key: &str) -> Option<ExportId> {
        let rest = key.strip_prefix(&self.0)?.strip_prefix('/')?;
        ExportId::parse(rest.strip_suffix("/alive")?)
    }

    /// Everything that an export answers.
    #[must_use]
    pub fn answered_by(&self, export: ExportId) -> String {
        format!("{self}/{export}/**")
    }

    /// Where a service is asked for a name.
    #[must_use]
    pub fn of(&self, export: ExportId, service: Service, name: &[u8]) -> String {
        match service {
            Service::Status => format!("{self}/{export}/{STATUS}"),
            _ => format!("{self}/{export}/{}/{}", service.chunk(), encode(name)),
        }
    }

    /// Whether a query is for the status of this export. Whoever looks at all exports of a key does not know their ids: wildcards are in order
    /// in front of the last word.
    #[must_use]
    pub fn asks_for_status(&self, export: ExportId, query: &KeyExpr<'_>) -> bool {
        let own = self.of(export, Service::Status, b"");
        let is_named = query.as_str().rsplit('/').next() == Some(STATUS);
        is_named && KeyExpr::new(own).is_ok_and(|own| own.intersects(query))
    }

    /// What a key that [`Prefix::of`] made for this export asks for; `None` for every other text.
    #[must_use]
    pub fn asked_of(&self, export: ExportId, key: &str) -> Option<(Service, Vec<u8>)> {
        let own = format!("{self}/{export}/");
        let (chunk, name) = key.strip_prefix(&own)?.split_once('/')?;
        let service = Service::NAMED
            .into_iter()
            .find(|service| service.chunk() == chunk)?;
        Some((service, decode(name)?))
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn encode(name: &[u8]) -> String {
    let mut key = String::with_capacity(name.len());
    for (index, part) in name.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            key.push('/');
        }
        if part.is_empty() {
            key.push_str(EMPTY);
        }
        for &byte in part {
            if is_plain(byte) {
                key.push(char::from(byte));
            } else {
                key.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    key
}

fn decode(key: &str) -> Option<Vec<u8>> {
    // Longer than the longest name can become: not even looked at.
    if key.len() > 3 * PATH_BYTES_MAX {
        return None;
    }
    let mut name = Vec::with_capacity(key.len());
    for (index, chunk) in key.split('/').enumerate() {
        if index > 0 {
            name.push(b'/');
        }
        if chunk == EMPTY {
            continue;
        }
        let mut bytes = chunk.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                name.push(byte);
                continue;
            }
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            name.push((digit()? * 16 + digit()?) as u8);
        }
    }
    // One spelling for each name: who may ask for one must not be able to ask for it by another.
    (name.len() <= PATH_BYTES_MAX && encode(&name) == key).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: ExportId = ExportId(*b"0123456789abcdef");

    fn prefix() -> Prefix {
        "plant/7".parse().unwrap()
    }

    #[test]
    fn keys_look_as_the_document_says() {
        let key = |name: &[u8]| prefix().of(EXPORT, Service::Get, name);
        let id = "30313233343536373839616263646566";
        assert_eq!(key(b"a/b.txt"), format!("plant/7/{id}/get/a/b.txt"));
        assert_eq!(
            key(b"**/$*?#@"),
            format!("plant/7/{id}/get/%2A%2A/%24%2A%3F%23%40")
        );
        assert_eq!(key(b"a//b/"), format!("plant/7/{id}/get/a/%/b/%"));
        assert_eq!(
            prefix().of(EXPORT, Service::List, b""),
            format!("plant/7/{id}/list/%")
        );
        assert_eq!(prefix().alive(EXPORT), format!("plant/7/{id}/alive"));
    }

    #[test]
    fn only_the_one_spelling_of_a_name_is_read() {
        let id = EXPORT.to_string();
        for rest in [
            "get/%2a", "get/%41", "get/*", "get/**", "get/a$*", "get/%", "get/a//b", "get", "get/%2",
            "put/a", "get/a%", "get/é",
        ] {
            let asked = prefix().asked_of(EXPORT, &format!("plant/7/{id}/{rest}"));
            let is_root = rest == "get/%";
            assert_eq!(asked, is_root.then(|| (Service::Get, Vec::new())), "{rest}");
        }
        assert_eq!(prefix().asked_of(EXPORT, "plant/7/*/get/a"), None);
        let long = prefix().of(EXPORT, Service::Get, &[b'x'; PATH_BYTES_MAX + 1]);
        assert_eq!(prefix().asked_of(EXPORT, &long), None);
    }

    #[test]
    fn status_of_one_export_or_of_all_can_be_asked_for() {
        let own = prefix().of(EXPORT, Service::Status, b"");
        for (key, is_for_us) in [
            (own.as_str(), true),
            ("plant/7/*/status", true),
            ("plant/**/status", true),
            ("plant/7/**", false),
            ("plant/8/*/status", false),
            ("plant/7/*/get/status", false),
        ] {
            let query = KeyExpr::new(key).unwrap();
            assert_eq!(prefix().asks_for_status(EXPORT, &query), is_for_us, "{key}");
        }
        assert_eq!(prefix().asked_of(EXPORT, &own), None);
        let file = prefix().of(EXPORT, Service::Get, b"status");
        assert!(!prefix().asks_for_status(EXPORT, &KeyExpr::new(file).unwrap()));
    }

    #[test]
    fn a_prefix_has_no_wildcards_and_no_empty_chunks() {
        for text in ["a", "a/b", "plant 7/é"] {
            assert!(text.parse::<Prefix>().is_ok(), "{text}");
        }
        for text in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/*",
            "a/**",
            "a$*",
            "a?b",
            "a#b",
            "@/b",
            "a\nb",
            &"x".repeat(1025),
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_belongs_to_one_export_of_this_prefix() {
        assert_eq!(prefix().export_alive(&prefix().alive(EXPORT)), Some(EXPORT));
        for key in [
            "plant/7/x/alive",
            "plant/8/30313233343536373839616263646566/alive",
            "plant/7//alive",
            "plant/7",
        ] {
            assert_eq!(prefix().export_alive(key), None, "{key}");
        }
        let upper = prefix()
            .alive(EXPORT)
            .to_uppercase()
            .replace("PLANT", "plant")
            .replace("ALIVE", "alive");
        assert_eq!(ExportId::parse(&"AB".repeat(16)), None, "{upper}");
    }

    #[test]
    fn every_name_survives_its_key_and_the_key_is_valid_and_literal() {
        for seed in 0..500 {
            let name = crate::fake::random_bytes(seed, PATH_BYTES_MAX + 1);
            let key = prefix().of(EXPORT, Service::List, &name);
            assert_eq!(prefix().asked_of(EXPORT, &key), Some((Service::List, name)));
            assert!(
                KeyExpr::new(key.as_str()).is_ok_and(|expression| !expression.is_wild()),
                "{key}"
            );
        }
    }

    #[test]
    fn any_text_is_a_name_or_none() {
        for seed in 0..2000 {
            let text = String::from_utf8_lossy(&crate::fake::random_bytes(seed, 64)).into_owned();
            let _ = prefix().asked_of(EXPORT, &format!("plant/7/{EXPORT}/get/{text}"));
            let _ = text.parse::<Prefix>();
        }
    }
}
