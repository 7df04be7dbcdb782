//! Whoever opens the documents of a public module of a library finds an example there that runs.

use super::finding::Finding;

const LIBRARIES: [&str; 3] = [
    "crates/shmeld-os/src/",
    "crates/shmeld-core/src/",
    "crates/shmeld/src/",
];

/// Checks the modules that `sources`, paths and texts, declare for users.
pub fn check(sources: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sources {
        let folder = path
            .strip_suffix("lib.rs")
            .or_else(|| path.strip_suffix("mod.rs"));
        let is_library = |folder: &&str| LIBRARIES.iter().any(|library| folder.starts_with(library));
        let Some(folder) = folder.filter(is_library) else {
            continue;
        };
        for name in public_modules(text) {
            let files = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
            let module = sources.iter().find(|(path, _)| files.contains(path));
            let Some((module, _)) = module.filter(|(_, text)| !has_example(text)) else {
                continue;
            };
            let what = format!("the documents of the public module `{name}` have no example that runs");
            let instead = "5 to 20 lines that do something and assert it";
            findings.push(Finding::new(module, 1, what, instead));
        }
    }
    findings
}

/// The modules that a file declares for users.
fn public_modules(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_hidden = false;
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'))
            && !is_hidden
        {
            names.push(name);
        }
        is_hidden = line == "#[doc(hidden)]";
    }
    names
}

/// Whether the first comment of a module has a block of Rust that is not only read.
fn has_example(text: &str) -> bool {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let fences = lines.filter_map(|line| line.trim().strip_prefix("```"));
    // Every second fence ends a block.
    fences.step_by(2).any(|kind| kind.is_empty())
}

#[cfg(test)]
mod tests {
    use super::check;

    /// What is found in a library that declares `queue`, whose file has this text.
    fn found(declaration: &str, text: &str) -> Vec<String> {
        let files = [
            ("crates/shmeld-os/src/lib.rs", declaration),
            ("crates/shmeld-os/src/queue.rs", text),
        ];
        let sources = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        check(&sources).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn public_module_without_an_example_is_found() {
        let reports = ["crates/shmeld-os/src/queue.rs"];
        assert_eq!(found("pub mod queue;\n", "//! Queues.\n"), reports);
        assert_eq!(
            found("pub mod queue;\n", "//! ```text\n//! a\n//! ```\n"),
            reports
        );
        assert_eq!(
            found(
                "pub mod queue;\n",
                "//! Queues.\n\n/// ```\n/// f();\n/// ```\nfn f() {}\n"
            ),
            reports
        );
    }

    #[test]
    fn module_with_an_example_and_those_that_users_do_not_see_pass() {
        let example = "//! ```text\n//! a\n//! ```\n//! ```\n//! f();\n//! ```\n";
        assert_eq!(found("pub mod queue;\n", example), [""; 0]);
        for declaration in [
            "mod queue;\n",
            "pub(crate) mod queue;\n",
            "#[doc(hidden)]\npub mod queue;\n",
        ] {
            assert_eq!(found(declaration, "//! Queues.\n"), [""; 0], "{declaration}");
        }
    }
}
