//! Commands of ours that documents name: each one is parsed as the program would. Those of the README are run, too: `tests/it/readme.rs`.

use clap::error::ErrorKind;

use crate::help::tests::{assert_understood, parsed, words};

/// Those with commands in backquotes, besides the README.
const DOCUMENTS: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "crates/shmeld-cli/README.md",
    "docs/BENCHMARKS.md",
    "docs/BRIDGE.md",
    "docs/LIMITS.md",
    "docs/PROTOCOL.md",
    "docs/SAFETY.md",
    "docs/SYSV.md",
    "docs/TESTING.md",
    "docs/TUTORIAL.md",
];

/// A document of the repository; nothing in a published crate, which is without them.
fn document(name: &str) -> String {
    let path = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The commands of ours that stand in backquotes.
fn quoted(text: &str) -> Vec<Vec<String>> {
    let quoted = text
        .lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_ours = |text: &&str| {
        ["shmeld ", "shm_client ", "shm_server "]
            .iter()
            .any(|name| text.starts_with(name))
    };
    quoted
        .filter(is_ours)
        .map(|text| words(&text.replace("\\|", "|").replace('"', "'")))
        .collect()
}

#[test]
fn every_command_of_the_readme_is_understood_and_told_step_by_step_if_it_says_so() {
    let readme = document("README.md");
    let Some((above, below)) =
        readme.split_once("| see what happens | add `--explain` to any of the above but `ipc top` |")
    else {
        assert!(readme.is_empty(), "no row that says so");
        return;
    };
    let (above, below) = (quoted(above), quoted(below));
    assert!(above.len() > 30, "{} commands", above.len());
    for words in above.iter().chain(&below) {
        assert_understood(words);
    }
    let (silent, telling): (Vec<_>, Vec<_>) =
        above.into_iter().partition(|words| words[1..] == ["ipc", "top"]);
    assert_eq!(silent.len(), 1);
    for mut words in telling {
        words.push("--explain".to_owned());
        assert_understood(&words);
    }
}

/// Elsewhere a command may be named without all that it needs.
#[test]
fn every_command_that_a_document_names_is_known() {
    let all = DOCUMENTS.iter().flat_map(|name| {
        let quoted = quoted(&document(name));
        quoted.into_iter().map(move |words| (name, words))
    });
    let mut count = 0;
    for (name, words) in all {
        count += 1;
        let parsed = parsed(&words);
        let has_placeholder = words
            .iter()
            .any(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
        let is_known = parsed.as_ref().err().is_none_or(|error| match error.kind() {
            ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => true,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => has_placeholder,
            _ => false,
        });
        assert!(
            is_known,
            "{name}: {words:?}: {:?}",
            parsed.map_err(|error| error.kind())
        );
    }
    assert!(count > 50 || document("README.md").is_empty(), "{count} commands");
}
