//! The picture of a run in the README: commands are run for real, and what they say is drawn as a terminal would show it.
//!
//! Not here: measurements (`bench`), and what the tutorial tells at length.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{problem, run_cargo, target_folder};

/// Where it goes.
const PICTURE: &str = "docs/run.svg";
/// What is typed once the server is there; `--name` keeps it apart from other servers of this user.
const COMMANDS: [&str; 4] = [
    "shm_client -o inbox a.jpg b.pdf c.c missing.txt",
    "shmeld ls -l '*.c'",
    "shmeld get -q -o - poem.txt | head -n 3",
    "cmp samples/a.jpg inbox/a.jpg && echo the same",
];
/// Of the drawing, in its units.
const MARGIN: usize = 16;
const LINE: usize = 20;
/// Of a character of 14 units in the usual monospaced fonts.
const HALF_CHARACTERS: usize = 17;

/// Runs the commands and draws them.
/// # Errors
/// What failed.
pub fn run(root: &Path) -> Result<(), String> {
    run_cargo(root, &["build", "--release", "-p", "shmeld-cli"])?;
    let folder = std::env::temp_dir().join(format!("shmeld-picture-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(problem(&folder))?;
    let lines = play(root, &folder);
    std::fs::remove_dir_all(&folder).map_err(problem(&folder))?;
    let to = root.join(PICTURE);
    std::fs::write(&to, draw(&lines?)).map_err(problem(&to))?;
    println!("{}", to.display());
    Ok(())
}

/// What stands on the terminal, line by line.
fn play(root: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let samples = folder.join("samples");
    std::os::unix::fs::symlink(root.join("samples"), samples).map_err(|error| format!("samples: {error}"))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", target_folder(root).join("release").display());
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder);
        command.env("PATH", &path).stdin(Stdio::null());
        command
    };
    let mut server = shell("exec shm_server samples")
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("shm_server: {error}"))?;
    let mut lines = vec!["$ shm_server samples &".to_owned()];
    let mut said = String::new();
    if let Some(stderr) = server.stderr.take() {
        // A server that cannot start says so and ends: then there is a line, too.
        let _ = BufReader::new(stderr).read_line(&mut said);
    }
    if !said.contains("serving") {
        let _ = server.wait();
        return Err(said.trim().to_owned());
    }
    let place = folder.display().to_string();
    lines.push(
        said.trim_end()
            .replace(&root.display().to_string(), "/home/me")
            .replace(&place, "/home/me"),
    );
    for typed in COMMANDS {
        lines.push(format!("$ {typed}"));
        let output = shell(&format!("{{ {typed}; }} 2>&1")).output();
        let output = output.map_err(|error| format!("{typed}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        lines.extend(text.lines().map(str::to_owned));
    }
    // SIGTERM: it removes what it has made.
    let ended = shell(&format!("kill {}", server.id())).status();
    ended
        .and_then(|_| server.wait())
        .map_err(|error| format!("shm_server: {error}"))?;
    Ok(lines)
}

fn draw(lines: &[String]) -> String {
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = 2 * MARGIN + widest * HALF_CHARACTERS / 2;
    let height = 2 * MARGIN + lines.len() * LINE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>A server and a client at work</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1e2228\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"14\" xml:space=\"preserve\">\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let (y, color) = (
            MARGIN + (row + 1) * LINE - 6,
            if line.starts_with("$ ") {
                "#8fd18f"
            } else {
                "#d6dae0"
            },
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{color}\">{}</text>",
            escape(line)
        );
    }
    text + "</g>\n</svg>\n"
}

fn escape(line: &str) -> String {
    let line = line
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    line.replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn what_was_said_stands_in_the_picture_and_is_no_markup() {
        let picture = draw(&["$ a <b> && c".to_owned(), "d".repeat(80)]);
        assert!(
            picture.contains(">$ a &lt;b&gt; &amp;&amp; c</text>"),
            "{picture}"
        );
        assert!(picture.contains(&format!(">{}</text>", "d".repeat(80))));
        assert_eq!(picture.matches("<text ").count(), 2);
        assert!(picture.contains("width=\"712\" height=\"72\""), "{picture}");
    }
}
