//! The Debian package: programs, what they need beside them and what service managers read, put together by dpkg-deb; then tried where it can be.
//!
//! What it says of itself lies in `packaging/debian`. Not here: its documents and completions (`deb_documents.rs`), what the unit allows (`packaging/systemd`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::command::{self, output, problem, run_program, show, target_folder};
use crate::deb_documents::{add_completions, add_documents};
use crate::files::{copy, make_folder, open_folders, read, write};
use crate::need;

pub const PROGRAMS: [&str; 3] = ["shmeld", "shm_server", "shm_client"];
/// What service managers read, below `packaging/systemd`, and where it goes.
const UNITS: [(&str, &str); 2] = [
    (
        "shm_server@.service",
        "usr/lib/systemd/system/shm_server@.service",
    ),
    ("shmeld.sysusers", "usr/lib/sysusers.d/shmeld.conf"),
];
/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// What makes the package, with the Debian package that has it.
const TOOLS: [(&str, &str); 3] = [
    ("dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("strip", "binutils"),
];

/// Builds the package and, as root, tries it on a copy of this machine's files.
/// # Errors
/// What failed.
pub fn run(root: &Path) -> Result<(), String> {
    for (tool, package) in TOOLS {
        if output(root, tool, &["--version"]).is_err() {
            return Err(format!("needs {tool} (apt-get install {package})"));
        }
    }
    let folder = target_folder(root).join("debian");
    let programs = build_programs(root, &target_folder(root).join("debian-build"))?;
    let package = build(root, &folder, &programs)?;
    is_the_same(
        &package,
        &build(root, &target_folder(root).join("debian-again"), &programs)?,
    )?;
    println!("{}", package.display());
    let uid = output(root, "id", &["-u"])?;
    if uid.trim_ascii() != b"0" {
        return need::skip("root, to install the package on a copy of this machine");
    }
    // In a root directory that is no mount of its own, as `chroot` alone makes it, nothing can be mounted for one process only.
    if output(root, "unshare", &["--mount", "--ipc", "--pid", "--fork", "true"]).is_err() {
        return need::skip("mounts of its own, to install the package on a copy of this machine");
    }
    run_program(root, &root.join("packaging/debian/check"), &[&show(&package)])
}

/// Builds the programs so that their bytes tell nothing of this machine: no path of it is in them. Returns the folder that has them.
fn build_programs(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let flags = command::flags_without_paths(root, target);
    let target = show(target);
    let arguments = [
        "build",
        "--release",
        "--locked",
        "-p",
        "shmeld-cli",
        "--target-dir",
        &target,
    ];
    let shown = format!("cargo {}", arguments.join(" "));
    println!("$ {shown}");
    let mut cargo = Command::new(command::cargo());
    cargo.args(arguments).current_dir(root);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    // It is stripped anyway.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    command::run(&shown, &mut cargo)?;
    let release = Path::new(&target).join("release");
    for program in PROGRAMS.map(|program| release.join(program)) {
        let bytes = fs::read(&program).map_err(problem(&program))?;
        for path in [command::cargo_home().join("registry"), root.join("crates")] {
            let path = show(&path);
            if bytes.windows(path.len()).any(|window| window == path.as_bytes()) {
                return Err(format!("{} tells where it was built: {path}", program.display()));
            }
        }
    }
    Ok(release)
}

/// Whether packing a second time, later, made the same bytes.
fn is_the_same(first: &Path, second: &Path) -> Result<(), String> {
    let read = |path: &Path| fs::read(path).map_err(problem(path));
    if read(first)? == read(second)? {
        return Ok(());
    }
    Err(format!("{} and {} differ", first.display(), second.display()))
}

fn build(root: &Path, folder: &Path, programs: &Path) -> Result<PathBuf, String> {
    let stage = folder.join("stage");
    let _ = fs::remove_dir_all(folder);
    for program in PROGRAMS {
        let to = stage.join("usr/bin").join(program);
        copy(&programs.join(program), &to, 0o755)?;
        output(root, "strip", &[&show(&to)])?;
    }
    let epoch = epoch(root)?;
    let version = version(root, &stage)?;
    add_documents(root, &stage, &version, &epoch)?;
    add_completions(root, &stage)?;
    for (from, to) in UNITS {
        copy(&root.join("packaging/systemd").join(from), &stage.join(to), 0o644)?;
    }
    make_folder(&stage.join("etc/shm_server"))?;
    let name = add_control(root, folder, &stage, &version)?;
    let package = folder.join(name);
    // It gives no file a later time than this, so that the same sources make the same bytes.
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "--build"])
        .args([&stage, &package]);
    command::run("dpkg-deb --build", build.env("SOURCE_DATE_EPOCH", epoch))?;
    Ok(package)
}

/// When the sources were made, in seconds since 1970: as the builder says, by their last commit, or by their newest list of changes.
fn epoch(root: &Path) -> Result<String, String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    if let Ok(epoch) = output(root, "git", &["log", "-1", "--format=%ct"]) {
        return Ok(String::from_utf8_lossy(&epoch).trim().to_owned());
    }
    let changes = root.join("CHANGELOG.md");
    let modified = fs::metadata(&changes).and_then(|found| found.modified());
    let since = modified.map_err(problem(&changes))?.duration_since(UNIX_EPOCH);
    Ok(since.map_or(0, |since| since.as_secs()).to_string())
}

fn version(root: &Path, stage: &Path) -> Result<String, String> {
    let version = output(root, &program(stage), &["--version"])?;
    let version = String::from_utf8_lossy(&version);
    Ok(format!(
        "{}-1",
        version.split_whitespace().last().unwrap_or_default()
    ))
}

/// The control file and the scripts; returns the name of the package's file.
fn add_control(root: &Path, folder: &Path, stage: &Path, version: &str) -> Result<String, String> {
    let architecture = output(root, "dpkg", &["--print-architecture"])?;
    let architecture = String::from_utf8_lossy(&architecture).trim().to_owned();
    let kib = open_folders(stage)?;
    let control = read(&root.join("packaging/debian/control"))?
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@KIB@", &kib.to_string())
        .replace("@LIBRARIES@", &libraries(folder, stage)?);
    write(&stage.join("DEBIAN/control"), &control, 0o644)?;
    for script in SCRIPTS {
        copy(
            &root.join("packaging/debian").join(script),
            &stage.join("DEBIAN").join(script),
            0o755,
        )?;
    }
    // Its own folder came last.
    open_folders(stage)?;
    Ok(format!("shmeld_{version}_{architecture}.deb"))
}

/// Which packages, of which versions, have the libraries that the programs are linked with.
fn libraries(folder: &Path, stage: &Path) -> Result<String, String> {
    // It wants to stand in a source package.
    write(
        &folder.join("debian/control"),
        "Source: shmeld\n\nPackage: shmeld\nArchitecture: any\n",
        0o644,
    )?;
    let mut command = Command::new("dpkg-shlibdeps");
    let programs = PROGRAMS.map(|program| stage.join("usr/bin").join(program));
    command.arg("-O").args(programs).current_dir(folder);
    let output = command
        .output()
        .map_err(|error| format!("dpkg-shlibdeps: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    found.map(str::to_owned).ok_or_else(|| {
        format!(
            "dpkg-shlibdeps: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    })
}

/// The command `shmeld` of the package.
pub fn program(stage: &Path) -> String {
    show(&stage.join("usr/bin").join(PROGRAMS[0]))
}
