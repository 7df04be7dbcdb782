//! The Python package: built as a wheel, installed into a virtual environment of its own, and tested there as users have it.
//!
//! The environment is made anew when what it shall hold changes. Not here: what is tested (`crates/shmeld-python/tests`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{problem, succeeds};
use crate::{command, licences, need};

/// The crate, a workspace of its own.
const CRATE: &str = "crates/shmeld-python";
/// What builds and tests the wheel, which itself needs numpy only.
const FOR_TESTS: [&str; 6] = [
    "maturin>=1.10,<2",
    "numpy",
    "pillow",
    "pytest",
    "mypy",
    "typing_extensions",
];
/// Where the environment says what it holds.
const STAMP: &str = "shmeld-requirements";
/// A Python older than this gets no wheel.
const IS_NEW_ENOUGH: &str = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))";

/// Builds and tests the package.
/// # Errors
/// What failed, or is missing: who asks for the wheel is not served by silence.
pub fn run(root: &Path) -> Result<(), String> {
    let environment = prepare(root).map_err(|missing| format!("needs {missing}"))?;
    build_and_test(root, &environment)
}

/// The same as one of many tests: where a Python or the packages are missing, it is left out.
pub fn run_or_skip(root: &Path) -> Result<(), String> {
    match prepare(root) {
        Ok(environment) => build_and_test(root, &environment),
        Err(missing) => need::skip(missing),
    }
}

/// The environment that builds and tests, or what is missing.
fn prepare(root: &Path) -> Result<Environment, &'static str> {
    let python = std::env::var("SHMELD_BASE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !succeeds(Command::new(&python).args(["-c", IS_NEW_ENOUGH])) {
        return Err("python3, version 3.9 or later, with venv (apt-get install python3-venv)");
    }
    let environment = Environment {
        folder: command::target_folder(root).join("python/environment"),
    };
    environment.make(root, &python).map_err(|reason| {
        println!("{reason}");
        "maturin, numpy, pillow, pytest and mypy from PyPI"
    })?;
    Ok(environment)
}

fn build_and_test(root: &Path, environment: &Environment) -> Result<(), String> {
    let manifest = command::show(&root.join(CRATE).join("Cargo.toml"));
    command::run_cargo(root, &["fmt", "--manifest-path", &manifest, "--check"])?;
    let clippy = [
        "clippy",
        "--manifest-path",
        &manifest,
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    command::run_cargo(root, &clippy)?;
    let wheel = build_wheel(
        root,
        environment,
        &command::target_folder(root).join("python/wheels"),
    )?;
    test(root, environment, &wheel)
}

fn build_wheel(root: &Path, environment: &Environment, wheels: &Path) -> Result<PathBuf, String> {
    // One wheel, so that nobody installs an older one.
    let _ = std::fs::remove_dir_all(wheels);
    let manifest = command::show(&root.join(CRATE).join("Cargo.toml"));
    // The wheel takes every file whose name begins with LICENSE.
    licences::run(root, &[format!("{CRATE}/LICENSES-OF-OTHERS"), CRATE.to_owned()])?;
    let interpreter = command::show(&environment.program("python"));
    let out = command::show(wheels);
    let arguments = [
        "build",
        "--release",
        "--locked",
        "-m",
        &manifest,
        "-i",
        &interpreter,
        "-o",
        &out,
    ];
    let shown = format!("maturin {}", arguments.join(" "));
    println!("$ {shown}");
    let mut maturin = Command::new(environment.program("maturin"));
    maturin.args(arguments).current_dir(root);
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join(CRATE).join("target"), |folder| root.join(folder));
    maturin.env(
        "CARGO_ENCODED_RUSTFLAGS",
        command::flags_without_paths(root, &target),
    );
    command::run(&shown, &mut maturin)?;
    let listing = std::fs::read_dir(wheels).map_err(problem(wheels))?;
    listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .ok_or_else(|| "maturin made no wheel".to_owned())
}

/// Installs the wheel, checks its types and the README's example, and runs its tests.
fn test(root: &Path, environment: &Environment, wheel: &Path) -> Result<(), String> {
    let wheel = command::show(wheel);
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--force-reinstall",
        "--no-deps",
        &wheel,
    ];
    environment.run(root, "python", &install)?;
    let folder = root.join(CRATE);
    environment.run(&folder, "mypy", &["--strict", "python/shmeld", "tests"])?;
    environment.run(&folder, "python", &["-m", "mypy.stubtest", "shmeld._native"])?;
    println!("$ pytest tests");
    let mut pytest = Command::new(environment.program("pytest"));
    pytest
        .arg("tests")
        .env("SHMELD_WHEEL", &wheel)
        .current_dir(&folder);
    command::run("pytest tests", &mut pytest)
}

/// A virtual environment.
struct Environment {
    folder: PathBuf,
}

impl Environment {
    fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Makes it, unless it is there and holds what it should.
    fn make(&self, root: &Path, python: &str) -> Result<(), String> {
        let wanted = wanted(python);
        let stamp = self.folder.join(STAMP);
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted)
            && succeeds(Command::new(self.program("python")).args(["-c", "import numpy, PIL, pytest"]))
        {
            return Ok(());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        let folder = command::show(&self.folder);
        command::run_program(root, Path::new(python), &["-m", "venv", &folder])?;
        let mut install = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        install.extend(FOR_TESTS);
        self.run(root, "python", &install)?;
        std::fs::write(&stamp, wanted).map_err(problem(&stamp))
    }

    fn run(&self, directory: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
        command::run_program(directory, &self.program(program), arguments)
    }
}

/// The contents of an environment in one line for each: another interpreter means another environment.
fn wanted(python: &str) -> String {
    format!("{python}\n{}\n", FOR_TESTS.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_interpreter_or_package_is_another_environment() {
        assert_ne!(wanted("python3"), wanted("python3.9"));
        assert!(wanted("python3").contains("numpy"));
    }
}
