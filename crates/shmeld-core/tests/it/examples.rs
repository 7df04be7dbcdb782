//! The examples do what they say.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[allow(clippy::print_stdout)] // the test harness shows it
fn skip(needs: &str) {
    assert!(
        std::env::var("SHMELD_REQUIRE").as_deref() != Ok("all"),
        "needs {needs}"
    );
    println!("skipped: needs {needs}");
}

/// Where cargo puts an example, if it has built it: `cargo test` does, `cargo test --test it` does not.
fn example(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().expect("the test binary");
    let path = tests.parent().and_then(Path::parent).expect("target/debug");
    let path = path.join("examples").join(name);
    if path.is_file() {
        return Some(path);
    }
    skip("cargo build -p shmeld-core --examples");
    None
}

#[test]
fn meld_lets_two_processes_talk_in_either_order_and_leaves_nothing() {
    let Some(program) = example("meld") else { return };
    for (number, order) in [["a", "b"], ["b", "a"]].into_iter().enumerate() {
        let name = format!("/shmeld-example-{}-{number}", std::process::id());
        let start = |role: &str| -> Child {
            let mut command = Command::new(&program);
            command.args([role, &name]).stdout(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let outputs = order.map(start).map(|child| {
            let output = child
                .wait_with_output()
                .expect("it ends by itself within seconds");
            assert!(output.status.success(), "{order:?}: {output:?}");
            String::from_utf8(output.stdout).expect("text")
        });
        let told = outputs.concat();
        assert!(told.contains("A: B says 144\n"), "{told}");
        assert!(told.contains("B: A asks for the square of 12\n"), "{told}");
        assert!(!Path::new("/dev/shm").join(&name[1..]).exists(), "{name} is left");
    }
}
