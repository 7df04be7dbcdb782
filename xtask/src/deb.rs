//! The Debian package: programs, manual pages, completions and the systemd unit, put together by dpkg-deb; then tried where it can be.
//!
//! What it says of itself lies in `packaging/debian`. Not here: what the unit allows (`packaging/systemd`).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{output, problem, run_cargo, run_program, show, target_folder};
use crate::need;

const PROGRAMS: [&str; 3] = ["shmeld", "shm_server", "shm_client"];
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
    run_cargo(root, &["build", "--release", "-p", "shmeld-cli"])?;
    let package = build(root)?;
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

fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = target_folder(root).join("debian");
    let stage = folder.join("stage");
    let _ = fs::remove_dir_all(&folder);
    let release = target_folder(root).join("release");
    for program in PROGRAMS {
        let to = stage.join("usr/bin").join(program);
        copy(&release.join(program), &to, 0o755)?;
        output(root, "strip", &[&show(&to)])?;
    }
    add_documents(root, &stage)?;
    add_completions(root, &stage)?;
    let unit = "shm_server@.service";
    copy(
        &root.join("packaging/systemd").join(unit),
        &stage.join("usr/lib/systemd/system").join(unit),
        0o644,
    )?;
    make_folder(&stage.join("etc/shm_server"))?;
    let name = add_control(root, &folder, &stage)?;
    let package = folder.join(name);
    let arguments = ["--root-owner-group", "--build", &show(&stage), &show(&package)];
    output(root, "dpkg-deb", &arguments)?;
    Ok(package)
}

/// Manual pages, what Debian wants to know of licences and changes, the drop-in as an example.
fn add_documents(root: &Path, stage: &Path) -> Result<(), String> {
    let manual = stage.join("usr/share/man/man1");
    output(root, &program(stage), &["man", &show(&manual)])?;
    let documents = stage.join("usr/share/doc/shmeld");
    copy(&root.join("CHANGELOG.md"), &documents.join("changelog"), 0o644)?;
    copy(&root.join("README.md"), &documents.join("README.md"), 0o644)?;
    copy(
        &root.join("packaging/debian/override.conf"),
        &documents.join("examples/shm_server@.service.d/override.conf"),
        0o644,
    )?;
    let licence = read(&root.join("LICENSE-MIT"))?;
    let licence: Vec<String> = licence.lines().map(as_continuation).collect();
    let copyright = read(&root.join("packaging/debian/copyright"))?.replace("@MIT@", &licence.join("\n"));
    write(&documents.join("copyright"), &copyright, 0o644)?;
    for page in files_in(&manual)? {
        output(root, "gzip", &["--best", "--no-name", &show(&page)])?;
    }
    output(
        root,
        "gzip",
        &["--best", "--no-name", &show(&documents.join("changelog"))],
    )?;
    Ok(())
}

/// A line of a longer field of a control file.
fn as_continuation(line: &str) -> String {
    if line.trim().is_empty() {
        " .".to_owned()
    } else {
        format!(" {line}")
    }
}

/// A shell looks for the completions of a program in a file of its name; ours for all three stand in one text, which zsh has apart.
fn add_completions(root: &Path, stage: &Path) -> Result<(), String> {
    let script = |shell: &str| -> Result<String, String> {
        let script = output(root, &program(stage), &["completions", shell])?;
        String::from_utf8(script).map_err(|error| format!("completions for {shell}: {error}"))
    };
    for (shell, folder, ending) in [
        ("bash", "usr/share/bash-completion/completions", ""),
        ("fish", "usr/share/fish/vendor_completions.d", ".fish"),
    ] {
        let folder = stage.join(folder);
        let whole = format!("{}{ending}", PROGRAMS[0]);
        write(&folder.join(&whole), &script(shell)?, 0o644)?;
        for name in &PROGRAMS[1..] {
            let link = folder.join(format!("{name}{ending}"));
            symlink(&whole, &link).map_err(problem(&link))?;
        }
    }
    for part in script("zsh")?.split("#compdef ").skip(1) {
        let name = part.split_whitespace().next().unwrap_or_default();
        let to = stage
            .join("usr/share/zsh/vendor-completions")
            .join(format!("_{name}"));
        write(&to, &format!("#compdef {part}"), 0o644)?;
    }
    Ok(())
}

/// The control file and the scripts; returns the name of the package's file.
fn add_control(root: &Path, folder: &Path, stage: &Path) -> Result<String, String> {
    let version = output(root, &program(stage), &["--version"])?;
    let version = String::from_utf8_lossy(&version);
    let version = format!("{}-1", version.split_whitespace().last().unwrap_or_default());
    let architecture = output(root, "dpkg", &["--print-architecture"])?;
    let architecture = String::from_utf8_lossy(&architecture).trim().to_owned();
    let kib = output(root, "du", &["--summarize", "--block-size=1K", &show(stage)])?;
    let kib = String::from_utf8_lossy(&kib);
    let control = read(&root.join("packaging/debian/control"))?
        .replace("@VERSION@", &version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@KIB@", kib.split_whitespace().next().unwrap_or("0"))
        .replace("@LIBRARIES@", &libraries(folder, stage)?);
    write(&stage.join("DEBIAN/control"), &control, 0o644)?;
    for script in SCRIPTS {
        copy(
            &root.join("packaging/debian").join(script),
            &stage.join("DEBIAN").join(script),
            0o755,
        )?;
    }
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

fn program(stage: &Path) -> String {
    show(&stage.join("usr/bin").join(PROGRAMS[0]))
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    fs::read_dir(folder)
        .map_err(problem(folder))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(problem(folder)))
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(problem(path))
}

fn make_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(problem(path))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let bytes = fs::read(from).map_err(problem(from))?;
    write_bytes(to, &bytes, mode)
}

fn write(to: &Path, text: &str, mode: u32) -> Result<(), String> {
    write_bytes(to, text.as_bytes(), mode)
}

fn write_bytes(to: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    make_folder(to.parent().unwrap_or(to))?;
    fs::write(to, bytes).map_err(problem(to))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(problem(to))
}
