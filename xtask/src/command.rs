//! Running other programs: shown before they start, judged by their exit status.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The cargo that runs us, so that `cargo +toolchain xtask` stays with its toolchain.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Prints `cargo ARGUMENTS`, runs it in `root` and waits for it.
/// # Errors
/// If it cannot be started or does not succeed.
pub fn run_cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    run_program(root, Path::new(&cargo()), arguments)
}

/// Prints the name of a program that was installed with its arguments, runs it in `directory` and waits for it.
/// # Errors
/// If it cannot be started or does not succeed.
pub fn run_program(directory: &Path, program: &Path, arguments: &[&str]) -> Result<(), String> {
    let name = program.file_name().unwrap_or(program.as_os_str());
    let shown = format!("{} {}", name.to_string_lossy(), arguments.join(" "));
    println!("$ {shown}");
    run(
        &shown,
        Command::new(program).args(arguments).current_dir(directory),
    )
}

/// Runs a command and waits for it; `shown` is what the error calls it.
/// # Errors
/// If it cannot be started or does not succeed.
pub fn run(shown: &str, command: &mut Command) -> Result<(), String> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("`{shown}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` ended with {status}"))
    }
}

/// Whether `cargo SUBCOMMAND` is installed.
pub fn has_cargo_subcommand(subcommand: &str) -> bool {
    succeeds(Command::new(cargo()).args([subcommand, "--version"]))
}

/// Whether a command succeeds, which reads nothing and whose words nobody wants.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What `program` prints on its standard output, or why there is nothing to read.
pub fn output(root: &Path, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{program}: {}",
        complaint.lines().next().unwrap_or("failed without a word")
    ))
}

/// Whether `--option VALUE` or `--option=VALUE` is among the arguments.
pub fn names_option(arguments: &[String], option: &str) -> bool {
    arguments.iter().any(|argument| {
        argument
            .strip_prefix(option)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

/// Where cargo puts what it builds.
pub fn target_folder(root: &Path) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root.join(folder)
}

/// CARGO_ENCODED_RUSTFLAGS for programs that others get: neither the paths of the sources in `root` are in them, nor those of the crates and of
/// what is built in `target`, so that the same sources make the same bytes everywhere. Flags that are set already stay.
pub fn flags_without_paths(root: &Path, target: &Path) -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut flags = variable("CARGO_ENCODED_RUSTFLAGS");
    if flags.is_empty() {
        let plain = variable("RUSTFLAGS");
        flags = plain.split_whitespace().collect::<Vec<_>>().join("\x1f");
    }
    let home = cargo_home();
    // Of several that fit, the last counts.
    for (from, to) in [(root, "/shmeld"), (target, "/shmeld/target"), (&home, "/cargo")] {
        if !flags.is_empty() {
            flags.push('\x1f');
        }
        flags.push_str(&format!("--remap-path-prefix={}={to}", show(from)));
    }
    flags
}

/// Where cargo keeps the sources of others.
pub fn cargo_home() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// A path as an argument.
pub fn show(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What was not possible with a file.
pub fn problem(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// Runs a program that was built, in `root`, with both lots of arguments.
/// # Errors
/// If it cannot be started or does not succeed.
pub fn start(root: &Path, program: &Path, first: &[String], others: &[String]) -> Result<(), String> {
    let mut command = Command::new(program);
    run(&show(program), command.args(first).args(others).current_dir(root))
}

#[cfg(test)]
mod tests {
    use super::{names_option, output, run, succeeds};
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn failing_command_is_named_with_its_status() {
        let reason = run("sh -c 'exit 3'", Command::new("sh").args(["-c", "exit 3"])).expect_err("fails");
        assert!(
            reason.contains("exit 3") && reason.contains("exit status: 3"),
            "{reason}"
        );
        assert_eq!(run("true", &mut Command::new("true")), Ok(()));
    }

    #[test]
    fn absent_program_is_an_error_and_not_a_panic() {
        let reason = run("nonesuch", &mut Command::new("/nonexistent/nonesuch")).expect_err("absent");
        assert!(reason.contains("nonesuch"), "{reason}");
        assert!(!succeeds(&mut Command::new("/nonexistent/nonesuch")));
    }

    #[test]
    fn output_tells_what_the_program_complained_about() {
        let root = Path::new("/");
        assert_eq!(
            output(root, "sh", &["-c", "echo one; echo two"]).as_deref(),
            Ok(b"one\ntwo\n".as_slice())
        );
        let reason = output(root, "sh", &["-c", "echo no luck >&2; exit 1"]).expect_err("fails");
        assert_eq!(reason, "sh: no luck");
    }

    #[test]
    fn option_is_found_in_both_spellings_and_a_longer_one_is_another() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        assert!(names_option(&words("--out x"), "--out") && names_option(&words("--out=x"), "--out"));
        assert!(!names_option(&words("--output x --disk y"), "--out"));
    }
}
