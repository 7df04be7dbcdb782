//! The results as a picture: a bar for each race, the shorter the better, with quartiles and the marks that we set ourselves.
//!
//! Every bar is our time by the rival's, on a logarithmic scale; a throughput is turned round. Rows that we lose cross the line at 1.

use std::fmt::Write;

use super::bench_machine::Machine;
use super::bench_numbers::Measure;
use super::bench_report::{Outcome, Report};

const WIDTH: f64 = 1000.0;
/// Where the bars begin, and end.
const LEFT: f64 = 430.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 64.0;
const ROW: f64 = 26.0;
const BAR: f64 = 12.0;
/// The scale.
const LEAST: f64 = 0.01;
const MOST: f64 = 10.0;

/// A bar: ours by theirs in time.
#[derive(Debug, PartialEq)]
struct Bar<'a> {
    label: String,
    value: f64,
    quartiles: (f64, f64),
    must: Option<f64>,
    aim: Option<f64>,
    report: &'a str,
}

fn bar(report: &Report) -> Option<Bar<'_>> {
    let Outcome::Raced {
        measure,
        ratio,
        rival,
        ..
    } = &report.outcome
    else {
        return None;
    };
    let turn = |value: f64| match measure {
        Measure::Time => value,
        Measure::Throughput => 1.0 / value.max(f64::MIN_POSITIVE),
    };
    Some(Bar {
        // The ring's rows name their rival themselves.
        label: if report.id.ends_with(&format!("against {}", rival.name)) {
            report.id.clone()
        } else {
            format!("{} : {}", report.id, rival.name)
        },
        value: turn(ratio.of_medians),
        quartiles: (turn(ratio.first_quartile), turn(ratio.third_quartile)),
        must: report.must.map(turn),
        aim: report.aim.map(turn),
        report: report.verdict().text(),
    })
}

/// Where a ratio lies; what is off the scale lies at its end.
fn x(value: f64) -> f64 {
    let part = (value.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + part * (RIGHT - LEFT)
}

/// Text that may stand between tags and in attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&apos;",
            // XML has no way to write the other control characters.
            _ if character.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// See the module.
#[must_use]
pub fn svg(machine: &Machine, reports: &[Report]) -> String {
    let bars: Vec<Bar<'_>> = reports.iter().filter_map(bar).collect();
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + 64.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n{STYLE}\
         <text x=\"12\" y=\"22\" font-size=\"15\">Our time by the rival's: shorter is better</text>\n"
    );
    let about = format!(
        "{}; medians of paired runs, whiskers are quartiles",
        machine.in_words()
    );
    let _ = writeln!(
        out,
        "<text class=\"faint\" x=\"12\" y=\"40\">{}</text>",
        escape(&about)
    );
    for tick in [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        let (at, class) = (x(tick), if tick == 1.0 { "one" } else { "grid" });
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"faint\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        );
    }
    for (index, bar) in bars.iter().enumerate() {
        draw(&mut out, bar, TOP + ROW * (index as f64 + 0.5));
    }
    let _ = writeln!(
        out,
        "<line class=\"must\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{0}\" y2=\"{1}\"/><text x=\"{2}\" y=\"{3}\">must</text>\
         <line class=\"aim\" x1=\"{4}\" x2=\"{4}\" y1=\"{0}\" y2=\"{1}\"/><text x=\"{5}\" y=\"{3}\">aim</text>\n</svg>",
        bottom + 32.0,
        bottom + 48.0,
        LEFT + 8.0,
        bottom + 44.0,
        LEFT + 70.0,
        LEFT + 78.0
    );
    out
}

/// A middle grey and colours of middle brightness can be read on white and on black.
const STYLE: &str = "<style>text{fill:#808080}.faint{fill:#909090;font-size:11px}.grid{stroke:#808080;stroke-opacity:.25}\
.one{stroke:#808080;stroke-width:1.5}.won{fill:#2a9d8f}.lost{fill:#d1495b}.whisker{stroke:#808080;stroke-width:1.5}\
.must{stroke:#d1495b;stroke-width:2.5}.aim{stroke:#e09f3e;stroke-width:2.5}</style>\n";

fn draw(out: &mut String, bar: &Bar<'_>, middle: f64) {
    let (top, end) = (middle - BAR / 2.0, x(bar.value));
    let class = if bar.value <= 1.0 { "won" } else { "lost" };
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>",
        LEFT - 8.0,
        middle + 4.0,
        escape(&bar.label),
        end - LEFT
    );
    let (low, high) = (x(bar.quartiles.0), x(bar.quartiles.1));
    let _ = writeln!(
        out,
        "<line class=\"whisker\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>"
    );
    for (class, mark) in [("must", bar.must), ("aim", bar.aim)] {
        if let Some(mark) = mark {
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/>",
                x(mark),
                top - 3.0,
                top + BAR + 3.0
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\"><title>{}</title>{:.2}</text>",
        RIGHT + 12.0,
        middle + 4.0,
        escape(bar.report),
        bar.value
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench_report::samples::{other, raced};

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            model: "A & B <3>".to_owned(),
            kernel: "6.1".to_owned(),
            memory_bytes: 1,
            is_virtual: false,
            disk: None,
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            escape("a<b> & \"c\" 'd'\u{7}"),
            "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos; "
        );
        let picture = svg(&machine(), &[raced("x", Measure::Time, (1.0, 2.0), (None, None))]);
        assert!(
            picture.contains("cp &lt;fast&gt; &amp; &quot;sure&quot;"),
            "{picture}"
        );
        assert!(picture.contains("A &amp; B &lt;3&gt;"));
    }

    #[test]
    fn throughput_is_turned_round_so_that_short_is_good_everywhere() {
        let report = raced("x", Measure::Throughput, (1.0, 50.0), (Some(25.0), None));
        let bar = bar(&report).expect("raced");
        assert!(
            (bar.value - 0.02).abs() < 1e-12 && bar.must == Some(0.04),
            "{bar:?}"
        );
    }

    #[test]
    fn rows_that_we_lose_are_drawn_and_those_without_a_race_are_not() {
        let reports = [
            raced("lost", Measure::Time, (3.0, 1.0), (Some(2.5), Some(1.5))),
            other("idle", Outcome::Missing("x".to_owned())),
        ];
        let picture = svg(&machine(), &reports);
        assert_eq!(
            (
                picture.matches("<rect").count(),
                picture.matches("class=\"lost\"").count()
            ),
            (1, 1)
        );
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn scale_is_logarithmic_and_ends_at_its_ends() {
        assert_eq!((x(LEAST), x(MOST)), (LEFT, RIGHT));
        assert!((x(0.1) - LEFT - (RIGHT - LEFT) / 3.0).abs() < 1e-9);
        assert_eq!((x(0.0), x(1e9)), (LEFT, RIGHT));
    }
}
