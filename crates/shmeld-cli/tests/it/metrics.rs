//! `shmeld status --openmetrics`, read by the strict parser of the official Python client of Prometheus.

use serde_json::Value;
use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};

use crate::peers::metrics_python_or_skip;
use crate::world::World;

/// Each sample as an object; whatever is not as the document says is an exception.
const PARSER: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps({'family': family.name, 'type': family.type, 'unit': family.unit, 'name': sample.name,
                          'labels': sample.labels, 'value': sample.value}))
";

#[test]
fn status_is_valid_openmetrics_text_with_the_numbers_of_the_json() {
    let world = World::new("metrics");
    let Some(python) = metrics_python_or_skip() else {
        return;
    };
    world.put_random("file", 100_000);
    let _server = world.start_server();
    world.fetch(&["file", "file"]).expect_code(0);
    world.fetch(&["nope"]).expect_code(1);
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    queue.send(b"junk", PRIORITY_MAX, None).unwrap();
    let json = world.status();
    let status = world
        .shmeld("status")
        .args(["--openmetrics", "--name", world.name()]);
    let text = status.run().expect_code(0).expect_silence().stdout;
    let parser = world.tool(python.to_str().unwrap()).args(["-c", PARSER]);
    let samples = parser.input(&text).run().expect_code(0).json_lines();
    let value = |name: &str, label: &str, of_label: &str| -> u64 {
        let is_it = |sample: &&Value| {
            sample["name"] == name && (label.is_empty() || sample["labels"][label] == of_label)
        };
        let mut found = samples.iter().filter(is_it);
        let one = found.next().unwrap_or_else(|| panic!("no {name}: {samples:?}"));
        assert!(found.next().is_none(), "{name} twice");
        assert_eq!(one["labels"]["server"], world.name());
        one["value"].as_f64().unwrap() as u64
    };
    for (name, label, of_label, field) in [
        ("shmeld_files_total", "", "", "files_total"),
        ("shmeld_content_bytes_total", "", "", "bytes_total"),
        ("shmeld_sessions_limit", "", "", "sessions_max"),
        ("shmeld_refusals_total", "what", "name", "refused_names_total"),
        (
            "shmeld_junk_messages_total",
            "reason",
            "short",
            "junk_messages_total",
        ),
        ("shmeld_sessions_broken_total", "reason", "died", "died_total"),
    ] {
        let expected = json[field].as_u64().unwrap();
        assert_eq!(value(name, label, of_label), expected, "{name}");
    }
    assert_eq!(value("shmeld_content_bytes_total", "", ""), 200_000);
    assert_eq!(value("shmeld_refusals_total", "what", "name"), 1);
    assert_eq!(
        value("shmeld_server_info", "version", env!("CARGO_PKG_VERSION")),
        1
    );
    let unit = samples
        .iter()
        .find(|sample| sample["name"] == "shmeld_content_bytes_total");
    assert_eq!(
        (&unit.unwrap()["unit"], &unit.unwrap()["type"]),
        (&"bytes".into(), &"counter".into())
    );
    world.finish();
}

/// A collector that finds no server must not take an empty answer for numbers.
#[test]
fn without_a_server_there_is_no_text_and_both_forms_at_once_are_refused() {
    let world = World::new("no-metrics");
    let status = |words: &[&str]| {
        world
            .shmeld("status")
            .args(["--name", world.name()])
            .args(words)
            .run()
    };
    let absent = status(&["--openmetrics"]).expect_code(3);
    assert_eq!(absent.stdout_text(), "");
    status(&["--openmetrics", "--json"]).expect_code(2);
    world.finish();
}
