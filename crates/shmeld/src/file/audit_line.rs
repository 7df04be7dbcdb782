//! One line of the audit log as bytes: a JSON object in printable text, and a newline. Pure.
//!
//! Not here: which lines are written (`audit`), and where to (`audit_file`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use shmeld_os::name::{escape, escape_controls};
use shmeld_os::process;

use super::account::Totals;
use super::limiter::LeftOut;
use super::record::cut;
use super::wire::Op;

/// The longest line in bytes, with its newline.
pub(super) const LINE_BYTES_MAX: usize = 8192;
/// How much of a path is shown, in bytes of the path. A request has at most 900; names in a tree can be longer.
const PATH_BYTES_MAX: usize = 1024;
/// The same where there are many such lines.
const PATH_BRIEF_BYTES_MAX: usize = 100;
/// How much of a reason is shown.
const REASON_BYTES_MAX: usize = 512;
/// The last second of the year 9999: what a clock says beyond it has no four-digit year.
const LAST_SECOND: u64 = 253_402_300_799;

/// An end of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionEnd<'l> {
    pub(super) uid: u32,
    pub(super) session: u64,
    pub(super) totals: Totals,
    pub(super) status: &'static str,
    pub(super) reason: &'l str,
    pub(super) lasted: Duration,
}

/// A name or a request that was not delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotDelivered<'l> {
    /// `refused` by the server, or `cancelled` by the client.
    pub(super) event: &'static str,
    pub(super) uid: u32,
    pub(super) session: u64,
    pub(super) op: Op,
    pub(super) path: &'l [u8],
    /// Whether only the beginning of the path is shown.
    pub(super) is_brief: bool,
    pub(super) status: &'static str,
    pub(super) reason: &'l str,
}

/// A region that was not attached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region<'l> {
    /// The user who has proven to have made it.
    pub(super) uid: Option<u32>,
    /// Whose the object is of which the message spoke, whoever sent the message.
    pub(super) owner: Option<u32>,
    pub(super) status: &'static str,
    pub(super) reason: &'l str,
}

#[derive(Serialize)]
struct Line<'l, T: Serialize> {
    time: String,
    server: &'l str,
    event: &'static str,
    #[serde(flatten)]
    rest: T,
}

fn line(server: &str, event: &'static str, rest: impl Serialize) -> Vec<u8> {
    let time = now();
    // Numbers and text become JSON without fail; if they did not, the line would be lost and the others not.
    let mut bytes = serde_json::to_vec(&Line {
        time,
        server,
        event,
        rest,
    })
    .unwrap_or_default();
    bytes.push(b'\n');
    debug_assert!(bytes.len() <= LINE_BYTES_MAX);
    bytes
}

/// RFC 3339 in UTC with milliseconds. A clock beyond the years 1970 to 9999 shows the nearest of them.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A text that may hold what strangers wrote, without its control characters.
fn printable(text: &str) -> String {
    let mut text = escape_controls(text.to_owned());
    let end = cut_length(&text, REASON_BYTES_MAX);
    text.truncate(end);
    text
}

/// The length of as much of `text` as fits without tearing a character.
fn cut_length(text: &str, bytes_max: usize) -> usize {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

impl SessionEnd<'_> {
    pub(super) fn to_line(self, server: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Fields {
            uid: u32,
            session: u64,
            #[serde(flatten)]
            totals: Totals,
            status: &'static str,
            reason: String,
            seconds: f64,
        }
        let fields = Fields {
            uid: self.uid,
            session: self.session,
            totals: self.totals,
            status: self.status,
            reason: printable(self.reason),
            seconds: self.lasted.as_millis() as f64 / 1000.0,
        };
        line(server, "session", fields)
    }
}

impl NotDelivered<'_> {
    pub(super) fn to_line(self, server: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Fields {
            uid: u32,
            session: u64,
            op: &'static str,
            path: String,
            /// The whole length of a path that is not shown as a whole.
            #[serde(skip_serializing_if = "Option::is_none")]
            path_bytes: Option<usize>,
            status: &'static str,
            reason: String,
        }
        let shown = if self.is_brief {
            PATH_BRIEF_BYTES_MAX
        } else {
            PATH_BYTES_MAX
        };
        let is_cut = self.path.len() > shown;
        let fields = Fields {
            uid: self.uid,
            session: self.session,
            op: self.op.name(),
            path: escape(cut(self.path, shown)),
            path_bytes: is_cut.then_some(self.path.len()),
            status: self.status,
            reason: printable(self.reason),
        };
        line(server, self.event, fields)
    }
}

impl Region<'_> {
    pub(super) fn to_line(self, server: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Fields {
            uid: Option<u32>,
            region_owner: Option<u32>,
            status: &'static str,
            reason: String,
        }
        let fields = Fields {
            uid: self.uid,
            region_owner: self.owner,
            status: self.status,
            reason: printable(self.reason),
        };
        line(server, "region", fields)
    }
}

/// How many lines of one kind an earlier second left out; for ends of sessions with the sums of their numbers.
pub(super) fn suppressed(server: &str, (topic, sums): &LeftOut) -> Vec<u8> {
    #[derive(Serialize)]
    struct Fields {
        uid: Option<u32>,
        of: &'static str,
        status: &'static str,
        count: u64,
        #[serde(flatten)]
        totals: Option<Totals>,
    }
    let fields = Fields {
        uid: topic.who.uid(),
        of: topic.event,
        status: topic.status,
        count: sums.count,
        totals: (topic.event == "session").then_some(sums.totals),
    };
    line(server, "suppressed", fields)
}

/// A server begins to serve (`start`), or has ended (`stop`).
pub(super) fn run(server: &str, event: &'static str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Fields {
        pid: u32,
        version: &'static str,
    }
    let fields = Fields {
        pid: process::pid(),
        version: env!("CARGO_PKG_VERSION"),
    };
    line(server, event, fields)
}

/// How many lines could not be written.
pub(super) fn lost(server: &str, lines: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Fields {
        lines: u64,
    }
    line(server, "lost", Fields { lines })
}

/// How many messages of the queue were no request since the last such line. Nobody knows who sent them.
pub(super) fn junk(server: &str, messages: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Fields {
        messages: u64,
    }
    line(server, "junk", Fields { messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest line about a path that is shown in brief: LIMITS.md says what a second can write.
    const BRIEF_LINE_BYTES_MAX: usize = 3072;

    fn refused(path: &[u8], is_brief: bool, reason: &str) -> Vec<u8> {
        let server = format!("/{}", "\u{202e}".repeat(66));
        let refused = NotDelivered {
            event: "refused",
            uid: u32::MAX,
            session: u64::MAX,
            op: Op::Unknown,
            path,
            is_brief,
            status: "NAME_TOO_LONG",
            reason,
        };
        refused.to_line(&escape(server.as_bytes()))
    }

    fn parse(line: &[u8]) -> serde_json::Value {
        let (newline, line) = line.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn the_longest_path_and_reason_make_a_line_within_the_limit() {
        for unit in [&b"\xff"[..], b"\n", b"\"", b"\\", "\u{202e}".as_bytes(), b"\x01"] {
            let path = unit.repeat(3000 / unit.len());
            let reason = String::from_utf8_lossy(&path).into_owned();
            for (is_brief, bytes_max) in [(false, LINE_BYTES_MAX), (true, BRIEF_LINE_BYTES_MAX)] {
                let line = refused(&path, is_brief, &reason);
                assert!(line.len() <= bytes_max, "{} bytes of {unit:?}", line.len());
                assert_eq!(parse(&line)["path_bytes"], path.len());
            }
        }
    }

    #[test]
    fn hostile_names_and_reasons_are_one_printable_line_of_json() {
        let hostile = b"a\n{\"event\":\"session\"}\x1b[2J\x07\x7f\xc2\x9b\xff\"\\\xe2\x80\xae";
        let line = refused(hostile, false, &String::from_utf8_lossy(hostile));
        let parsed = parse(&line);
        assert_eq!(parsed["path"], escape(hostile));
        assert_eq!(parsed["event"], "refused");
        let text = String::from_utf8(line).unwrap();
        let controls = text.trim_end().chars().filter(|found| found.is_control()).count();
        assert_eq!((text.lines().count(), controls), (1, 0));
    }

    #[test]
    fn a_session_has_its_numbers_and_what_was_left_out_has_their_sums() {
        let totals = Totals {
            requests: 1,
            files: 2,
            bytes: 3,
            bytes_sent: 4,
            refused: 5,
            cancelled: 6,
        };
        let end = SessionEnd {
            uid: 1000,
            session: 7,
            totals,
            status: "OK",
            reason: "closed",
            lasted: Duration::from_micros(1_234_567),
        };
        let parsed = parse(&end.to_line("/name"));
        assert_eq!(parsed["server"], "/name");
        assert_eq!((&parsed["files"], &parsed["seconds"]), (&2.into(), &1.234.into()));
        let time = parsed["time"].as_str().unwrap();
        assert!(
            time.len() == "2000-01-01T00:00:00.000Z".len() && time.ends_with('Z'),
            "{time}"
        );
    }
}
