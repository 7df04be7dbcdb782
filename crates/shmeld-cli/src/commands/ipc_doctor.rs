//! `shmeld ipc doctor`.

use std::io::Write;

use serde_json::{Value, json};
use shmeld::doctor::{Cure, Facts, Finding, Severity, examine};
use shmeld::os::process;

use crate::args_ipc_watch::DoctorArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit};

/// Runs the command.
pub(super) fn run(program: &Program, args: &DoctorArgs) -> u8 {
    narrate::install(
        program.name,
        Loudness::from_options(args.quiet || args.json, args.explain),
    );
    let findings = examine(&Facts::gather());
    let code = if count(&findings, Severity::Failure) > 0 {
        exit::NOT_DELIVERED
    } else {
        exit::DONE
    };
    let wanted: Vec<&Finding> = findings
        .iter()
        .filter(|finding| !args.quiet || finding.severity >= Severity::Warning)
        .collect();
    let mut lines: Vec<String> = Vec::new();
    if args.json {
        lines.extend(wanted.iter().map(|finding| as_json(finding).to_string()));
        lines.push(summary_as_json(&findings, code).to_string());
    } else {
        let is_root = process::effective_uid() == 0;
        lines.extend(wanted.iter().flat_map(|finding| as_text(finding, is_root)));
        if !args.quiet {
            lines.push(summary(&findings));
        }
    }
    let mut out = std::io::stdout().lock();
    let mut written = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    written = written.and_then(|()| out.flush());
    code.max(program.printed(written))
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .count()
}

/// The finding, then its cures, each as a line that can be copied.
fn as_text(finding: &Finding, is_root: bool) -> Vec<String> {
    let word = match finding.severity {
        Severity::Failure => "FAILS",
        other => other.word(),
    };
    let mut lines = vec![format!("{word:<8}{}: {}", finding.subject, finding.text)];
    for cure in &finding.cures {
        lines.push(format!("        cure: {}", command(cure, is_root)));
        if let Some(lasting) = cure.lasting {
            lines.push(format!("        for good: {lasting}"));
        }
    }
    lines
}

fn command(cure: &Cure, is_root: bool) -> String {
    let command = &cure.command;
    match cure.needs_root && !is_root {
        false => command.clone(),
        // In a shell of root it would be that shell.
        true if command.contains("$$") => format!("sudo {command}    (in this shell: $$ is its number)"),
        true => format!("{command}    (as root)"),
    }
}

fn summary(findings: &[Finding]) -> String {
    let number = |severity, one: &str, many: &str| match count(findings, severity) {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    format!(
        "{}, {}",
        number(Severity::Failure, "failure", "failures"),
        number(Severity::Warning, "warning", "warnings")
    )
}

fn as_json(finding: &Finding) -> Value {
    let cure = |cure: &Cure| json!({"command": cure.command, "needs_root": cure.needs_root, "lasting": cure.lasting});
    let cures: Vec<Value> = finding.cures.iter().map(cure).collect();
    json!({"event": "finding", "subject": finding.subject, "severity": finding.severity.word(), "text": finding.text, "cures": cures})
}

fn summary_as_json(findings: &[Finding], code: u8) -> Value {
    json!({"event": "summary", "failures": count(findings, Severity::Failure), "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note), "exit_code": code})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        let cure = Cure {
            command: "sysctl -w x=1".to_owned(),
            needs_root: true,
            lasting: Some("a file"),
        };
        Finding {
            subject: "x",
            severity: Severity::Failure,
            text: "0, and 1 is needed".to_owned(),
            cures: vec![cure],
        }
    }

    #[test]
    fn a_finding_says_what_cures_it_and_who_may() {
        assert_eq!(
            as_text(&finding(), false),
            [
                "FAILS   x: 0, and 1 is needed",
                "        cure: sysctl -w x=1    (as root)",
                "        for good: a file",
            ]
        );
        assert_eq!(as_text(&finding(), true)[1], "        cure: sysctl -w x=1");
        let mut limit = finding();
        limit.cures[0].command = "prlimit --pid $$ --x=1:1".to_owned();
        assert_eq!(
            as_text(&limit, false)[1],
            "        cure: sudo prlimit --pid $$ --x=1:1    (in this shell: $$ is its number)"
        );
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(&[finding(), finding()]), "2 failures, no warnings");
        assert_eq!(summary_as_json(&[finding()], 1)["failures"], 1);
    }
}
