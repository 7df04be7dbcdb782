//! Which names, keywords and macros may stand where: the floors as the compiler does not know them.

use super::finding::Finding;
use super::lexer::{Kind, Token};
use super::source::Source;

/// The crates of floor 0.
const SYSTEM_CRATES: [&str; 3] = ["rustix", "libc", "landlock"];
/// Outside of shmeld-os, the only files that touch memory by themselves.
const UNSAFE_FILES: [&str; 3] = [
    "crates/shmeld-core/src/memory.rs",
    "crates/shmeld-core/src/copy.rs",
    // A rival: what one would write without this project.
    "benches/ring/src/bare.rs",
];
const ATOMICS_FILE: &str = "crates/shmeld-core/src/sync.rs";
const PRINT_MACROS: [&str; 4] = ["println", "eprintln", "print", "eprint"];
/// Folders whose programs are read by people who run them.
const PRINTING_FOLDERS: [&str; 3] = ["tests", "examples", "benches"];

pub fn check(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = system_crates(source);
    findings.extend(unsafe_keyword(source));
    findings.extend(atomics(source));
    findings.extend(printing(source));
    findings
}

fn system_crates(source: &Source<'_>) -> Vec<Finding> {
    if source.is_in_crate("shmeld-os") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, token) in source.code.iter().enumerate() {
        if token.kind == Kind::Word && SYSTEM_CRATES.contains(&token.text) && is_path(&source.code, at) {
            let what = format!("`{}` named above floor 1", token.text);
            findings.push(source.finding(token.line, what, "what shmeld-os wraps (or wrap it there)"));
        }
    }
    findings
}

/// Whether the word at `at` names a crate, and not a variable or a field: `libc::`, `use libc`, `{libc, `.
fn is_path(code: &[Token<'_>], at: usize) -> bool {
    let follows = |text| code.get(at + 1).is_some_and(|next| next.is(text));
    follows(":") && code.get(at + 2).is_some_and(|next| next.is(":")) || in_use(code, at) || {
        at > 0 && code[at - 1].is("crate") && follows(";")
    }
}

/// Whether the token at `at` is part of a `use` item.
fn in_use(code: &[Token<'_>], at: usize) -> bool {
    let outside = |token: &&Token<'_>| token.is("use") || token.is(";");
    code[..at]
        .iter()
        .rev()
        .find(outside)
        .is_some_and(|token| token.is("use"))
}

fn unsafe_keyword(source: &Source<'_>) -> Vec<Finding> {
    if source.is_in_crate("shmeld-os") || UNSAFE_FILES.contains(&source.path) {
        return Vec::new();
    }
    let finding = |at: &usize| {
        let instead = "the safe methods of shmeld-os, or of `region` and `copy` in shmeld-core,";
        source.finding(source.code[*at].line, "`unsafe` outside of shmeld-os", instead)
    };
    source.find(&["unsafe"]).iter().map(finding).collect()
}

fn atomics(source: &Source<'_>) -> Vec<Finding> {
    // Tests outside of `src` are clients of the crate: no model checks them.
    if !source.path.starts_with("crates/shmeld-core/src/") || source.path == ATOMICS_FILE {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for root in ["std", "core"] {
        for at in source.find(&[root, ":", ":"]) {
            if reaches_atomics(&source.code, at) {
                let what = format!("`{root}::sync::atomic` beside `sync`");
                findings.push(source.finding(
                    source.code[at].line,
                    what,
                    "`crate::sync`, which loom can replace,",
                ));
            }
        }
    }
    findings
}

/// Whether the path at `at` is `std::sync::atomic`, or an import that contains it in braces.
fn reaches_atomics(code: &[Token<'_>], at: usize) -> bool {
    let path = &code[at..];
    let is_direct = ["sync", ":", ":", "atomic"]
        .iter()
        .zip(path.iter().skip(3))
        .all(|(text, token)| token.is(text));
    let mut import = path.iter().take_while(|token| !token.is(";"));
    is_direct || in_use(code, at) && import.any(|token| token.is("atomic"))
}

fn printing(source: &Source<'_>) -> Vec<Finding> {
    if source.is_in_crate("shmeld-cli")
        || ["xtask/", "chaos/"]
            .iter()
            .any(|folder| source.path.starts_with(folder))
        || is_a_program(source.path)
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for name in PRINT_MACROS {
        for at in source.find(&[name, "!"]) {
            let what = format!("`{name}!` in a library");
            findings.push(source.finding(
                source.code[at].line,
                what,
                "a return value, an error or `tracing`",
            ));
        }
    }
    findings
}

/// Whether `path` is a test, an example, a bench or a build script.
fn is_a_program(path: &str) -> bool {
    path.ends_with("build.rs") || path.split('/').any(|part| PRINTING_FOLDERS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    const LIBRARY: &str = "crates/shmeld/src/x.rs";

    #[test]
    fn system_crates_are_named_by_shmeld_os_only() {
        for text in [
            "let x = libc::getpid();",
            "use libc;",
            "use libc as c;",
            "use {libc, other};",
            "extern crate libc;",
            "use ::libc::c_int;",
        ] {
            assert_eq!(
                complaints(LIBRARY, text),
                ["`libc` named above floor 1"],
                "{text}"
            );
            assert_eq!(
                complaints("crates/shmeld-core/tests/it/main.rs", text),
                ["`libc` named above floor 1"],
                "{text}"
            );
            assert_eq!(
                complaints("crates/shmeld-os/src/lease.rs", text),
                [""; 0],
                "{text}"
            );
            assert_eq!(
                complaints("crates/shmeld-os/tests/it/main.rs", text),
                [""; 0],
                "{text}"
            );
        }
        assert_eq!(
            complaints(LIBRARY, "use rustix::fs;"),
            ["`rustix` named above floor 1"]
        );
    }

    #[test]
    fn talking_about_system_crates_is_no_use_of_them() {
        for text in [
            "/// as libc::sem_post does",
            "let libc = 1; f(libc);",
            "peer.libc.run();",
            "fn libc_post() {}",
            "\"libc::x\"",
        ] {
            assert_eq!(complaints(LIBRARY, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn unsafe_lives_in_shmeld_os_and_two_files() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        for path in [
            LIBRARY,
            "crates/shmeld-core/src/ring.rs",
            "crates/shmeld-core/tests/region.rs",
            "crates/shmeld/src/region.rs",
            "xtask/src/x.rs",
        ] {
            assert_eq!(
                complaints(path, text),
                ["`unsafe` outside of shmeld-os"],
                "{path}"
            );
        }
        for path in [
            "crates/shmeld-core/src/memory.rs",
            "crates/shmeld-core/src/copy.rs",
            "crates/shmeld-os/src/mapping.rs",
        ] {
            assert_eq!(complaints(path, text), [""; 0], "{path}");
        }
        assert_eq!(
            complaints(LIBRARY, "#![forbid(unsafe_code)]\n// unsafe\n"),
            [""; 0]
        );
    }

    #[test]
    fn atomics_of_shmeld_core_come_from_sync() {
        let bad = [
            "use std::sync::atomic::AtomicU32;",
            "use core::sync::atomic::{AtomicU32, Ordering};",
            "use std::{\n    sync::{\n        Arc,\n        atomic,\n    },\n};",
            "fn f(x: &std::sync::atomic::AtomicU32) {}",
        ];
        for text in bad {
            assert_eq!(
                complaints("crates/shmeld-core/src/ring.rs", text).len(),
                1,
                "{text}"
            );
            assert_eq!(
                complaints("crates/shmeld-core/src/sync.rs", text),
                [""; 0],
                "{text}"
            );
            assert_eq!(complaints("crates/shmeld/src/x.rs", text), [""; 0], "{text}");
        }
        for text in [
            "use crate::sync::AtomicU32;",
            "use std::sync::Arc;\nfn atomic() {}",
            "// std::sync::atomic",
        ] {
            assert_eq!(
                complaints("crates/shmeld-core/src/ring.rs", text),
                [""; 0],
                "{text}"
            );
        }
    }

    #[test]
    fn libraries_do_not_print() {
        for name in ["println", "eprintln", "print", "eprint"] {
            let text = format!("fn f() {{ {name}!(\"x\"); }}");
            assert_eq!(complaints(LIBRARY, &text), [format!("`{name}!` in a library")]);
            let allowed = [
                "crates/shmeld-cli/src/output.rs",
                "crates/shmeld/tests/it/main.rs",
                "crates/shmeld-core/examples/meld.rs",
                "crates/shmeld-core/benches/echo.rs",
                "crates/shmeld-os/build.rs",
                "xtask/src/main.rs",
            ];
            for path in allowed {
                assert_eq!(complaints(path, &text), [""; 0], "{path}");
            }
        }
        assert_eq!(
            complaints(LIBRARY, "/// println!(\"x\")\nlet println = 1;"),
            [""; 0]
        );
    }
}
