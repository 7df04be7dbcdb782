//! What a server says of itself as OpenMetrics text, for Prometheus and its like. Pure.
//!
//! The format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>. A family has TYPE, UNIT where its name ends in one, and HELP, then its
//! samples together; those of a counter end in `_total`; the last line is `# EOF`.

use std::fmt::Write;

use shmeld::file::ServerStatus;

/// The value of one label that tells samples of a family apart, if there are several.
type Samples<'s> = Vec<(Option<&'s str>, u64)>;

struct Family<'s> {
    /// Without `_total`.
    name: &'static str,
    kind: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    /// The name of that label.
    label: &'static str,
    samples: Samples<'s>,
}

/// The whole text, its end included. Every sample has the label `server`, so that several can be put together by a collector.
#[must_use]
pub fn text(status: &ServerStatus) -> String {
    let server = escaped(&status.name);
    let mut text = format!(
        "# TYPE shmeld_server info\n# HELP shmeld_server The program behind the name.\n\
         shmeld_server_info{{server=\"{server}\",version=\"{}\",pid=\"{}\"}} 1\n",
        escaped(&status.version),
        status.pid
    );
    for family in gauges(status)
        .into_iter()
        .chain(traffic(status))
        .chain(troubles(status))
    {
        write_family(&mut text, &family, &server);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &Family<'_>, server: &str) {
    let Family { name, kind, help, .. } = family;
    // Writing into a string never fails.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if let Some(unit) = family.unit {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
    let suffix = if *kind == "counter" { "_total" } else { "" };
    for (value_of_label, value) in &family.samples {
        let label = value_of_label.map_or_else(String::new, |value| {
            format!(",{}=\"{}\"", family.label, escaped(value))
        });
        let _ = writeln!(text, "{name}{suffix}{{server=\"{server}\"{label}}} {value}");
    }
}

fn family<'s>(name: &'static str, kind: &'static str, help: &'static str, value: u64) -> Family<'s> {
    Family {
        name,
        kind,
        unit: None,
        help,
        label: "",
        samples: vec![(None, value)],
    }
}

fn counter<'s>(name: &'static str, help: &'static str, value: u64) -> Family<'s> {
    family(name, "counter", help, value)
}

fn labelled<'s>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: Samples<'s>,
) -> Family<'s> {
    Family {
        label,
        samples,
        ..counter(name, help, 0)
    }
}

fn gauges(status: &ServerStatus) -> [Family<'_>; 3] {
    [
        Family {
            unit: Some("seconds"),
            ..family(
                "shmeld_uptime_seconds",
                "gauge",
                "Time since the server started.",
                status.uptime_seconds,
            )
        },
        family(
            "shmeld_sessions_now",
            "gauge",
            "Sessions at this moment, the asking one included.",
            status.sessions,
        ),
        family(
            "shmeld_sessions_limit",
            "gauge",
            "The most sessions that are admitted.",
            status.sessions_max,
        ),
    ]
}

fn traffic(status: &ServerStatus) -> [Family<'_>; 8] {
    [
        counter(
            "shmeld_sessions",
            "Sessions since the start.",
            status.sessions_total,
        ),
        counter("shmeld_requests", "Requests taken up.", status.requests_total),
        counter(
            "shmeld_files",
            "Files delivered to their end.",
            status.files_total,
        ),
        Family {
            unit: Some("bytes"),
            ..counter(
                "shmeld_content_bytes",
                "File content published.",
                status.bytes_total,
            )
        },
        counter("shmeld_slots", "Slots of regions published.", status.slots_total),
        labelled(
            "shmeld_waits",
            "Waits for a free slot.",
            "how",
            vec![
                (Some("spin"), status.spins_total),
                (Some("sleep"), status.sleeps_total),
            ],
        ),
        counter(
            "shmeld_spurious_wakes",
            "Sleeps that ended for nothing.",
            status.spurious_wakes_total,
        ),
        counter(
            "shmeld_wakes",
            "System calls that woke a client.",
            status.wakes_total,
        ),
    ]
}

fn troubles(status: &ServerStatus) -> [Family<'_>; 4] {
    let reasons = status.junk_messages.iter();
    let mut junk: Samples<'_> = reasons
        .map(|(reason, count)| (Some(reason.as_str()), *count))
        .collect();
    if junk.is_empty() {
        // Of a server that does not tell reasons.
        junk.push((Some("any"), status.junk_messages_total));
    }
    [
        labelled(
            "shmeld_refusals",
            "What was refused: names, and regions of clients.",
            "what",
            vec![
                (Some("name"), status.refused_names_total),
                (Some("region"), status.refused_regions_total),
            ],
        ),
        labelled(
            "shmeld_junk_messages",
            "Messages in the queue that are no request.",
            "reason",
            junk,
        ),
        labelled(
            "shmeld_sessions_broken",
            "Sessions that did not end in order: the client died, broke the protocol, or a thread of the server panicked.",
            "reason",
            vec![
                (Some("died"), status.died_total),
                (Some("misbehaved"), status.misbehaved_total),
                (Some("panicked"), status.panics_total),
            ],
        ),
        labelled(
            "shmeld_audit_lines",
            "Lines of the audit log.",
            "outcome",
            vec![
                (Some("written"), status.audit_lines_total),
                (Some("lost"), status.audit_lost_total),
            ],
        ),
    ]
}

/// What a label's value may not have as it is. Servers are strangers.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn status(name: &str) -> ServerStatus {
        let text = r#"{"version":"0.1.0","name":"","pid":7,"uptime_seconds":60,"sessions":1,"sessions_max":1024,"sessions_total":5,
            "requests_total":9,"files_total":8,"bytes_total":18446744073709551615,"refused_names_total":1,"refused_regions_total":2,
            "junk_messages_total":3,"junk_messages":{"short":1,"magic":2},"misbehaved_total":4,"died_total":5}"#;
        let mut status: ServerStatus = serde_json::from_str(text).expect("a status");
        status.name = name.to_owned();
        status
    }

    #[test]
    fn the_text_has_the_form_of_the_document() {
        let text = text(&status("/frames"));
        for line in [
            "# TYPE shmeld_content_bytes counter\n# UNIT shmeld_content_bytes bytes\n# HELP shmeld_content_bytes File content published.\n\
             shmeld_content_bytes_total{server=\"/frames\"} 18446744073709551615\n",
            "# TYPE shmeld_sessions_now gauge\n# HELP shmeld_sessions_now Sessions at this moment, the asking one included.\n\
             shmeld_sessions_now{server=\"/frames\"} 1\n",
            "shmeld_refusals_total{server=\"/frames\",what=\"name\"} 1\nshmeld_refusals_total{server=\"/frames\",what=\"region\"} 2\n",
            "shmeld_junk_messages_total{server=\"/frames\",reason=\"magic\"} 2\n",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"), "{text}");
    }

    /// Families must not interleave, and a name belongs to one.
    #[test]
    fn each_family_is_announced_once_and_before_its_samples() {
        let text = text(&status("/frames"));
        let mut seen = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().expect("a name").to_owned();
                assert!(seen.insert(name.clone()), "{name} twice");
                current = name;
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&current), "{line} under {current}");
            }
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn what_a_server_says_cannot_make_lines_of_its_own() {
        let mut hostile = status("/a\"b\\c\nshmeld_files_total 7");
        hostile.junk_messages = [("x\"} 1\ny".to_owned(), 2)].into();
        let text = text(&hostile);
        assert!(
            text.contains("{server=\"/a\\\"b\\\\c\\nshmeld_files_total 7\"}"),
            "{text}"
        );
        assert!(text.contains("reason=\"x\\\"} 1\\ny\"} 2\n"), "{text}");
        assert!(
            text.lines()
                .all(|line| line.starts_with("# ") || line.starts_with("shmeld_")),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_tells_no_reasons_has_one_sum() {
        let mut old = status("/old");
        old.junk_messages.clear();
        assert!(text(&old).contains("shmeld_junk_messages_total{server=\"/old\",reason=\"any\"} 3\n"));
    }
}
