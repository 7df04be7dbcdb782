//! The results of a whole comparison as the documents show them: a sentence about the machine, and tables.
//!
//! What they are made of is `bench.json`, which docs/BENCHMARKS.md describes. Not here: files (`bench_document`), and any judgement: it stands in the JSON.

use std::fmt::Write;

use serde_json::Value;

/// Columns of a line of text; rows of tables are as long as they are.
const COLUMNS: usize = 160;

/// The README's table, with the names of the comparison's rows where their figures go.
const README_TABLE: &str = "\
| what | against | measured |
|---|---|---|
| 1 MiB region, tmpfs; disk | `cp` | {large-cp-tmpfs}; {large-cp-disk} |
| the same | `rsync -a` | {large-rsync-tmpfs}; {large-rsync-disk} |
| the same | nginx and `curl` over a unix socket | {large-nginx-tmpfs}; {large-nginx-disk} |
| the same | socat over a unix socket | {large-socat-tmpfs}; {large-socat-disk} |
| 10,000 files of 4 KiB | `cp -r`; `rsync -a`; `tar \\| tar` | {tree-cp}; {tree-rsync}; {tree-tar} |
| one page, tmpfs | the textbook's lock-step with blocking semaphores | {page-lock-step} |
| ring, 64 bytes there and back | iceoryx2, polled; bare atomics | {ring echo of 64 B against iceoryx2}; {ring echo of 64 B against bare atomics} |
| one page, tmpfs; disk | `cp` | {page-cp-tmpfs}; {page-cp-disk} |
| one file of 4 KiB, whole processes | `cp` | {small-cp} |
| both processes on one CPU, tmpfs | `copy_file_range` there | {one-cpu-tmpfs} |
| 16 clients at once; 64 | the same work of one client | {clients-16}; {clients-64} |
";

/// What a whole run found.
pub struct Results<'a>(&'a Value);

/// A row of it.
struct Row<'a>(&'a Value);

impl<'a> Results<'a> {
    /// # Errors
    /// It is no whole run.
    pub fn new(value: &'a Value) -> Result<Self, String> {
        let results = Self(value);
        for (id, _) in readme_rows() {
            if results.row(id).is_none() {
                return Err(format!(
                    "no row `{id}`: the documents are made from a whole run, without --rows"
                ));
            }
        }
        Ok(results)
    }

    fn rows(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.0["rows"].as_array().into_iter().flatten().map(Row)
    }

    fn row(&self, id: &str) -> Option<Row<'a>> {
        self.rows().find(|row| row.id() == id)
    }

    fn machine(&self) -> String {
        let machine = &self.0["machine"];
        let kind = if machine["virtual"] == true {
            "virtual "
        } else {
            ""
        };
        format!(
            "{} {kind}CPUs ({}), memory {}, Linux {}, disk {}",
            machine["cpus"],
            text(&machine["model"]),
            show_size(&machine["memory_bytes"]),
            text(&machine["kernel"]),
            text(&machine["disk"])
        )
    }

    /// What stands in docs/BENCHMARKS.md.
    pub fn benchmarks(&self) -> String {
        let disturbed = match names(self.rows().filter(Row::is_disturbed)) {
            none if none.is_empty() => "no row was disturbed".to_owned(),
            some => format!("disturbed by other programs, not to be quoted: {some}"),
        };
        let about = format!(
            "`cargo xtask bench --compare` of shmeld {}, {}; large file {}, at least {} pairs of runs a row; {disturbed}. Figures are times by the \
             rival's, less is better, but for {}, which are throughputs. ![The same as a picture](benchmarks.svg)",
            text(&self.0["version"]),
            self.machine(),
            show_size(&self.0["size"]),
            self.0["pairs"],
            names(self.rows().filter(Row::is_throughput)),
        );
        format!(
            "{}\n\n{}\n{}\n\nMilliseconds of the rows that move files, medians; CPU time is client + server:\n\n{}",
            wrap(&about),
            self.figures(),
            self.counts(),
            self.milliseconds()
        )
    }

    fn figures(&self) -> String {
        let mut table =
            "| row | against | figure | quartiles | must | aim | verdict |\n|---|---|---|---|---|---|---|\n"
                .to_owned();
        for row in self.rows() {
            let unit = row.0["unit"]
                .as_str()
                .map_or(String::new(), |unit| format!(" {unit}"));
            let quartiles = match (&row.0["first_quartile"], &row.0["third_quartile"]) {
                (Value::Null, _) | (_, Value::Null) => "-".to_owned(),
                (first, third) => format!("{} to {}", figure(first), figure(third)),
            };
            let unsteady = if row.is_unsteady() { ", unsteady" } else { "" };
            let disturbed = if row.is_disturbed() { ", disturbed" } else { "" };
            let _ = writeln!(
                table,
                "| {} | {} | {}{unit} | {quartiles} | {} | {} | {}{unsteady}{disturbed} |",
                row.id(),
                text(&row.0["rival"]["name"]).replace('|', "\\|"),
                figure(row.figure()),
                figure(&row.0["must"]),
                figure(&row.0["aim"]),
                text(&row.0["verdict"]),
            );
        }
        table
    }

    fn counts(&self) -> String {
        let count = |verdict| self.rows().filter(|row| row.0["verdict"] == verdict).count();
        format!(
            "{} rows: {} reach the aim, {} are ok, {} miss what they must, {} have no mark, {} were missing, {} failed; {} are unsteady.",
            self.rows().count(),
            count("aim"),
            count("ok"),
            count("MISSED must"),
            count("-"),
            count("missing"),
            count("FAILED"),
            self.rows().filter(Row::is_unsteady).count()
        )
    }

    fn milliseconds(&self) -> String {
        let mut table = "| row | ours | rival | CPU, ours | CPU, rival |\n|---|---|---|---|---|\n".to_owned();
        for row in self.rows() {
            let (ours, rival) = (&row.0["ours"], &row.0["rival"]);
            let wall = |side: &Value| {
                let seconds = side["median_seconds"].as_f64().filter(|_| side["bytes"] != 0)?;
                let bytes = if ours["bytes"] == rival["bytes"] {
                    String::new()
                } else {
                    format!(" for {}", show_size(&side["bytes"]))
                };
                Some(format!("{}{bytes}", milliseconds(seconds)))
            };
            let cpu = |side: &Value| {
                let part = |key: &str| side[key].as_f64().unwrap_or_default();
                let (reader, writer) = (part("reader_cpu_seconds"), part("writer_cpu_seconds"));
                let server = format!(" + {}", milliseconds(writer));
                let server = if writer > 0.0 { server } else { String::new() };
                format!("{}{server}", milliseconds(reader))
            };
            if let (Some(mine), Some(its)) = (wall(ours), wall(rival)) {
                let _ = writeln!(
                    table,
                    "| {} | {mine} | {its} | {} | {} |",
                    row.id(),
                    cpu(ours),
                    cpu(rival)
                );
            }
        }
        table
    }

    /// What stands in README.md.
    pub fn readme(&self) -> String {
        let about = format!(
            "One run of `cargo xtask bench --compare` on {}; a file of {} (medians of at least {} pairs of runs; time by the rival's time, less is \
             better, **bold** where we lose; docs/BENCHMARKS.md has the method, all {} rows, and what bounds those that we lose):",
            self.machine(),
            show_size(&self.0["size"]),
            self.0["pairs"],
            self.rows().count()
        );
        let mut out = format!("{}\n\n", wrap(&about));
        out += README_TABLE.split('{').next().unwrap_or_default();
        for (id, behind) in readme_rows() {
            out += &self.row(id).map_or(String::new(), |row| row.quote());
            out += behind;
        }
        out
    }
}

/// The rows that the README names, each with the text up to the next one.
fn readme_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    README_TABLE.split('{').filter_map(|part| part.split_once('}'))
}

impl<'a> Row<'a> {
    fn id(&self) -> &'a str {
        self.0["row"].as_str().unwrap_or_default()
    }

    /// What is compared with must and aim: a ratio, or what was counted.
    fn figure(&self) -> &'a Value {
        self.0.get("ratio").unwrap_or(&self.0["figure"])
    }

    fn is_throughput(&self) -> bool {
        self.0["measure"] == "throughput"
    }

    fn is_unsteady(&self) -> bool {
        self.0["steady"] == false
    }

    fn is_disturbed(&self) -> bool {
        self.0["disturbed"] == true
    }

    /// The figure where it stands alone, as time by the rival's time, with what must be said of it.
    fn quote(&self) -> String {
        let shown = match self.figure().as_f64() {
            None => text(&self.0["verdict"]).to_owned(),
            Some(ratio) if self.is_throughput() => {
                let time = 1.0 / ratio.max(f64::MIN_POSITIVE);
                format!("{time:.2} ({ratio:.1} times the throughput)")
            }
            Some(ratio) if ratio > 1.0 => format!("**{ratio:.2}**"),
            Some(ratio) => format!("{ratio:.2}"),
        };
        let doubt = match (self.is_disturbed(), self.is_unsteady()) {
            (true, _) => ", disturbed",
            (false, true) => ", unsteady",
            (false, false) => "",
        };
        shown + doubt
    }
}

/// As they stand in a sentence.
fn names<'a>(rows: impl Iterator<Item = Row<'a>>) -> String {
    let found: Vec<String> = rows.map(|row| format!("`{}`", row.id())).collect();
    found.join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn figure(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(small) if small > 0.0 && small < 0.01 => format!("{small:.4}"),
        Some(other) => format!("{other:.2}"),
    }
}

/// Three digits that tell something.
fn milliseconds(seconds: f64) -> String {
    let digits = match seconds {
        _ if seconds >= 0.1 => 0,
        _ if seconds >= 0.01 => 1,
        _ => 2,
    };
    format!("{:.digits$}", seconds * 1e3)
}

fn show_size(bytes: &Value) -> String {
    let bytes = bytes.as_f64().unwrap_or_default();
    let (value, unit) = match bytes {
        _ if bytes >= f64::from(1 << 30) => (bytes / f64::from(1 << 30), "GiB"),
        _ if bytes >= f64::from(1 << 20) => (bytes / f64::from(1 << 20), "MiB"),
        _ => (bytes / 1024.0, "KiB"),
    };
    let digits = usize::from(value.fract() != 0.0);
    format!("{value:.digits$} {unit}")
}

/// The words in lines that are not too long.
fn wrap(words: &str) -> String {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn part_of_a_run_makes_no_documents() {
        let value = json!({ "rows": [{ "row": "tree-cp" }] });
        let reason = Results::new(&value).err().expect("rows are missing");
        assert!(
            reason.contains("no row `large-cp-tmpfs`") && reason.contains("--rows"),
            "{reason}"
        );
    }

    #[test]
    fn row_that_should_not_be_believed_says_so_wherever_it_is_quoted() {
        let mut rows: Vec<Value> = readme_rows()
            .map(|(id, _)| {
                let ours = json!({ "median_seconds": 0.012345, "bytes": 1 << 20, "reader_cpu_seconds": 0.001, "writer_cpu_seconds": 0.2 });
                let rival = json!({ "name": "tar | tar", "median_seconds": 0.5, "bytes": 1 << 20, "reader_cpu_seconds": 0.3 });
                json!({ "row": id, "verdict": "-", "measure": "time", "ratio": 1.5, "steady": id != "small-cp",
                    "disturbed": id == "tree-tar", "ours": ours, "rival": rival })
            })
            .collect();
        rows.push(json!({ "row": "idle", "verdict": "ok", "figure": 1.0, "unit": "a second", "must": 2.0 }));
        let value = json!({ "machine": {}, "rows": rows });
        let results = Results::new(&value).expect("all rows");
        let (page, readme) = (results.benchmarks(), results.readme());
        assert!(page.contains("not to be quoted: `tree-tar`"), "{page}");
        assert!(
            page.contains("| small-cp | tar \\| tar | 1.50 | - | - | - | -, unsteady |"),
            "{page}"
        );
        assert!(
            page.contains("| idle | - | 1.00 a second | - | 2.00 | - | ok |"),
            "{page}"
        );
        assert!(
            page.contains("| tree-tar | 12.3 | 500 | 1.00 + 200 | 300 |"),
            "{page}"
        );
        assert!(
            readme.contains("| **1.50**; **1.50**; **1.50**, disturbed |"),
            "{readme}"
        );
        assert!(readme.contains("| `cp` | **1.50**, unsteady |"), "{readme}");
    }

    #[test]
    fn sizes_and_times_are_short() {
        let figures = [0.00342, 0.0, 1.0].map(|value| figure(&json!(value)));
        assert_eq!(figures, ["0.0034", "0.00", "1.00"]);
        assert_eq!(show_size(&json!(25_276_502_016_u64)), "23.5 GiB");
        assert_eq!(
            (show_size(&json!(1 << 28)), show_size(&json!(4096))),
            ("256 MiB".to_owned(), "4 KiB".to_owned())
        );
        assert_eq!(
            [0.1534, 0.0553, 0.0028].map(milliseconds),
            ["153", "55.3", "2.80"]
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        let wrapped = wrap(&"word ".repeat(100));
        assert!(wrapped.lines().all(|line| line.len() <= COLUMNS) && wrapped.lines().count() > 2);
    }
}
