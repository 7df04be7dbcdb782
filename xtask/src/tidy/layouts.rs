//! Types whose bytes another process reads have a proof of their size and offsets beside them.

use super::finding::Finding;
use super::source::Source;

pub fn check(source: &Source<'_>) -> Vec<Finding> {
    if !describes_bytes(source.path) || has_proof(source) {
        return Vec::new();
    }
    let attributes = source.find(&["repr", "(", "C"]);
    let finding = |at: &usize| {
        let what = "`repr(C)` without a proof of its layout";
        let instead = "`const _: () = assert!(...)` on its size and offsets in the same file";
        source.finding(source.code[*at].line, what, instead)
    };
    attributes.iter().map(finding).collect()
}

/// Whether an unnamed constant asserts something, alone or in a block.
fn has_proof(source: &Source<'_>) -> bool {
    const UNNAMED: [&str; 6] = ["const", "_", ":", "(", ")", "="];
    let proves = |at: usize| {
        let rest = &source.code[at + UNNAMED.len()..];
        rest.iter()
            .take_while(|token| !token.is(";"))
            .any(|token| token.is("assert"))
    };
    source.find(&UNNAMED).into_iter().any(proves)
}

/// Whether a file is about a format: some part of its path is `layout` or `wire`, as in `wire/record.rs`.
fn describes_bytes(path: &str) -> bool {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.split(['/', '_'])
        .any(|part| ["layout", "wire"].contains(&part))
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    const BARE: &str = "use core::mem::size_of;\n#[repr(C)]\nstruct Header {\n    magic: u32,\n}\n";

    #[test]
    fn bare_layout_is_found_in_files_about_formats() {
        for path in [
            "crates/shmeld-core/src/layout.rs",
            "crates/shmeld/src/wire/record.rs",
            "crates/shmeld/src/file_wire.rs",
        ] {
            assert_eq!(lines(path, BARE), [2], "{path}");
        }
        assert_eq!(
            lines(
                "x/layout.rs",
                "#[repr(C, align(64))]\nstruct Line;\n// const _: () = assert!(true);\n"
            ),
            [1]
        );
    }

    #[test]
    fn asserted_layout_passes() {
        let proven = format!("{BARE}const _: () = assert!(size_of::<Header>() == 4);\n");
        assert_eq!(lines("crates/shmeld-core/src/layout.rs", &proven), [0; 0]);
        let block = format!("{BARE}const _: () = {{\n    assert!(size_of::<Header>() == 4);\n}};\n");
        assert_eq!(lines("crates/shmeld-core/src/layout.rs", &block), [0; 0]);
        let other = format!("{BARE}const _: () = ();\nfn f() {{ assert!(true) }}\n");
        assert_eq!(lines("crates/shmeld-core/src/layout.rs", &other), [2]);
    }

    #[test]
    fn other_files_need_no_proof() {
        assert_eq!(lines("crates/shmeld-os/src/sysv/shm.rs", BARE), [0; 0]);
        assert_eq!(lines("crates/shmeld/src/wired.rs", BARE), [0; 0]);
    }
}
