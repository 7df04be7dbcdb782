//! The example programs of a package, for its tests. Other packages have this file too, by its path.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts an example, if it has built it: `cargo test` does, `cargo test --test it` does not.
pub fn example(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().expect("the test binary");
    let target = tests.parent().and_then(Path::parent).expect("target/debug");
    let program = target.join("examples").join(name);
    if program.is_file() {
        return Some(program);
    }
    skip(concat!("cargo build --examples -p ", env!("CARGO_PKG_NAME")));
    None
}

/// What the example prints. It has to succeed.
pub fn told_by(name: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(example(name)?);
    let output = command.args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{name}: {output:?}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// Says that a test cannot run here; panics where everything must.
#[allow(clippy::print_stdout)] // the test harness shows it
pub fn skip(needs: &str) {
    assert!(
        std::env::var("SHMELD_REQUIRE").as_deref() != Ok("all"),
        "needs {needs}"
    );
    println!("skipped: needs {needs}");
}
