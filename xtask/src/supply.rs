//! What comes from others: whether deny.toml allows it, and whether Rust of the version that we state can build it.
//!
//! cargo-deny judges licences, versions, sources and advisories. What it does not know is here: clippy looks at what our own code takes from the
//! standard library (`incompatible_msrv`), nothing at what dependencies say of themselves, nor at the language. Not here: any list; that is deny.toml.

use std::path::Path;
use std::process::Command;

use crate::{command, need};

/// Every workspace, by its folder.
const WORKSPACES: [&str; 5] = [
    ".",
    "crates/shmeld-zenoh",
    "crates/shmeld-python",
    "benches",
    "fuzz",
];
/// Those that users build. A rival in `benches` may ask for a newer Rust.
const SHIPPED: [&str; 3] = [WORKSPACES[0], WORKSPACES[1], WORKSPACES[2]];
/// One file serves all workspaces, so each has rows that it does not need.
const SILENT: [&str; 4] = [
    "unmatched-skip",
    "unnecessary-skip",
    "license-not-encountered",
    "license-exception-not-encountered",
];
const DENY: &str = "cargo-deny (cargo install cargo-deny --locked)";

/// `deny [WHICH...]`: cargo-deny over every workspace; without advisories it needs no network.
///
/// # Errors
/// Something is not allowed, or cannot be looked up.
pub fn deny(root: &Path, which: &[String]) -> Result<(), String> {
    if !command::has_cargo_subcommand("deny") {
        return need::skip(DENY);
    }
    for workspace in WORKSPACES {
        let manifest = format!("{workspace}/Cargo.toml");
        let mut arguments = vec!["deny", "--locked", "--workspace", "--manifest-path", &manifest];
        arguments.extend(["--config", "deny.toml", "check"]);
        arguments.extend(SILENT.iter().flat_map(|lint| ["--allow", lint]));
        arguments.extend(which.iter().map(String::as_str));
        command::run_cargo(root, &arguments)?;
    }
    Ok(())
}

/// `msrv`: what dependencies say, and a build with the very compiler where rustup has it.
///
/// # Errors
/// A dependency needs a newer Rust, or the build fails.
pub fn msrv(root: &Path) -> Result<(), String> {
    declared(root)?;
    let ours = stated(root)?;
    let version = format!("{}.{}", ours.0, ours.1);
    if command::output(root, "rustup", &["run", &version, "cargo", "--version"]).is_err() {
        return need::skip(&format!("Rust {version} (rustup toolchain install {version})"));
    }
    let words = [
        "run",
        &version,
        "cargo",
        "check",
        "--workspace",
        "--all-targets",
        "--locked",
    ];
    let shown = format!("rustup {}", words.join(" "));
    println!("$ {shown}");
    let folder = command::target_folder(root).join("msrv");
    let mut rustup = Command::new("rustup");
    // The variable is set by the cargo that runs us, and names its compiler.
    rustup
        .args(words)
        .current_dir(root)
        .env_remove("RUSTUP_TOOLCHAIN");
    command::run(&shown, rustup.env("CARGO_TARGET_DIR", folder))
}

/// No package in what ships says that it needs a newer Rust than `rust-version` in Cargo.toml.
///
/// # Errors
/// One line for each package that does.
pub fn declared(root: &Path) -> Result<(), String> {
    let ours = stated(root)?;
    let (mut packages, mut newer) = (0, Vec::new());
    for workspace in SHIPPED {
        let manifest = format!("{workspace}/Cargo.toml");
        // Crates for other systems are not even downloaded by a build.
        let arguments = [
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform=x86_64-unknown-linux-gnu",
            "--manifest-path",
            &manifest,
        ];
        // Without the network they are there only if somebody has built them.
        let Ok(metadata) = command::output(root, &command::cargo(), &arguments) else {
            return need::skip(&format!("the crates that {manifest} names"));
        };
        for (package, needed) in rust_versions(&String::from_utf8_lossy(&metadata)) {
            packages += 1;
            if needed > ours {
                let (major, minor) = needed;
                newer.push(format!("{manifest}: {package} needs Rust {major}.{minor}"));
            }
        }
    }
    let (major, minor) = ours;
    if newer.is_empty() {
        println!("rust-version: {packages} packages state one, none above {major}.{minor}");
        return Ok(());
    }
    let hint = "take an older release of it (cargo update --precise), or raise rust-version everywhere";
    Err(format!(
        "rust-version is {major}.{minor}, but\n{}\nhint: {hint}",
        newer.join("\n")
    ))
}

/// `rust-version` of the workspace.
fn stated(root: &Path) -> Result<(u32, u32), String> {
    let path = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .and_then(|value| version(value.trim_matches('"')))
        .ok_or_else(|| format!("{}: no line `rust-version = \"1.N\"`", path.display()))
}

/// `1.88` and `1.88.0` as numbers; the third is of no matter.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Every package of `cargo metadata` that states a version of Rust, by its identity.
///
/// No reader of JSON for two keys: within a text its quotation marks are escaped, so that a bare `"id":"` is a key and not prose.
fn rust_versions(metadata: &str) -> Vec<(&str, (u32, u32))> {
    let packages = metadata.split(r#""id":""#).skip(1);
    packages
        .filter_map(|package| {
            let (identity, fields) = package.split_once('"')?;
            let (_, stated) = fields.rsplit_once(r#""rust_version":""#)?;
            let name = identity
                .rsplit_once(['#', '/'])
                .map_or(identity, |(_, name)| name);
            Some((name, version(stated.split('"').next()?)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{WORKSPACES, rust_versions, stated, version};
    use std::path::Path;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the repository")
    }

    #[test]
    fn versions_of_rust_are_compared_as_numbers() {
        assert!(version("1.100") > version("1.88.0"));
        assert_eq!(version("1.88"), version("1.88.0"));
        assert_eq!(version("nightly"), None);
    }

    #[test]
    fn every_package_that_states_a_version_is_found_and_its_prose_is_not_taken_for_one() {
        let metadata = concat!(
            r#"{"packages":[{"name":"a","id":"registry+https://x.y/index#a@1.0.0","description":"say \"rust_version\":\"9.9\"","rust_version":null},"#,
            r#"{"name":"b","id":"registry+https://x.y/index#b@0.2.1","metadata":{"m":1},"rust_version":"1.90.0"},"#,
            r#"{"name":"c","id":"path+file:///home/c#0.1.0","rust_version":"1.88"}],"resolve":{"nodes":[{"id":"registry+https://x.y/index#a@1.0.0"}]}}"#,
        );
        assert_eq!(
            rust_versions(metadata),
            [("b@0.2.1", (1, 90)), ("0.1.0", (1, 88))]
        );
    }

    /// The ring's benchmark measures iceoryx2, which needs more; whoever builds only the product does not.
    #[test]
    fn every_workspace_of_the_repository_is_known_and_states_a_version() {
        let ours = stated(root()).expect("stated");
        for workspace in WORKSPACES {
            let lock = root().join(workspace).join("Cargo.lock");
            assert!(lock.is_file(), "{}", lock.display());
        }
        for crate_folder in ["crates/shmeld-zenoh", "crates/shmeld-python", "fuzz"] {
            assert_eq!(stated(&root().join(crate_folder)), Ok(ours), "{crate_folder}");
        }
    }

    /// cargo-deny is told to be silent about rows that a workspace does not need, and so would never tell of one that none needs.
    #[test]
    fn every_row_of_deny_toml_is_of_use_to_some_workspace() {
        let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
        let locks = WORKSPACES
            .map(|workspace| read(&root().join(workspace).join("Cargo.lock")))
            .concat();
        let rules = read(&root().join("deny.toml"));
        let rows: Vec<&str> = rules
            .split("{ crate = \"")
            .skip(1)
            .filter_map(|row| row.split('"').next())
            .collect();
        assert!(rows.len() > 10, "{rows:?}");
        for row in rows {
            let entry = match row.split_once('@') {
                Some((name, line)) => format!("name = \"{name}\"\nversion = \"{line}."),
                None => format!("name = \"{row}\"\n"),
            };
            assert!(
                locks.contains(&entry),
                "{row} is in no Cargo.lock: take its row out of deny.toml"
            );
        }
    }
}
