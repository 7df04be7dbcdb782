//! The second half of the demonstration: a directory with everything below it, through a larger region.

use std::collections::BTreeMap;

use shmeld::ServerName;

use super::demo_compare::{Comparison, Rules};
use super::demo_leftovers::Leftovers;
use super::demo_material::Tree;
use super::demo_process::{Trouble, show_status};
use super::demo_run::{ClientRun, Theatre};
use super::demo_story::{COLUMNS, Story, counted, grouped, wrapped};
use crate::program::exit;

/// What is shown of many differences.
const DIFFERENCES_SHOWN_MAX: usize = 10;

/// Plays it.
///
/// # Errors
/// A process could not be started, or we were told to stop.
pub fn play(
    story: &mut Story,
    theatre: &Theatre<'_>,
    tree: &Tree,
    name: &ServerName,
    leftovers: &mut Leftovers,
) -> Result<(), Trouble> {
    let mut server = theatre.start_server(&tree.root, name, &[])?;
    let copy = theatre.stage.join("tree-copy");
    let output = format!("--output={}", copy.display());
    let arguments = ["-r", "--region", "1MiB", &output];
    let client = theatre.run_client(&mut server, name, &arguments, &tree.names)?;
    leftovers.expect_regions(&client.regions);

    let refused: BTreeMap<String, String> = client
        .refused
        .iter()
        .map(|(name, status, text)| (name.clone(), format!("{text} ({status})")))
        .collect();
    let rules = Rules {
        umask: theatre.umask,
        refused: &refused,
    };
    let mut comparison = Comparison::default();
    for name in &tree.names {
        comparison.add(&tree.root, &copy, name, &rules);
    }
    server.begin_stop();
    let ending = server.wait();
    tell(story, tree, &client, &comparison);
    story.check(
        ending.as_ref().is_ok_and(|status| status.success()),
        "the second server ends with exit code 0 when it is told to",
        &show_status(ending),
    );
    Ok(())
}

fn tell(story: &mut Story, tree: &Tree, client: &ClientRun, comparison: &Comparison) {
    let what = if tree.is_repository {
        "this repository"
    } else {
        "a small tree"
    };
    story.step(&format!("A whole directory: {what}"));
    story.tell("The same code with a larger region, 1 MiB instead of one page:");
    story.tell("server  shmeld serve .      client  shmeld get -r NAMES -o tree-copy");
    let mut names: Vec<String> = tree.names.iter().map(|name| name.display().to_string()).collect();
    if !tree.skipped.is_empty() {
        names.push(format!("(not: {})", tree.skipped.join(", ")));
    }
    for line in wrapped(&format!("NAMES   {}", names.join(" ")), COLUMNS) {
        story.tell(&line);
    }
    let links = match comparison.links {
        0 => String::new(),
        links => format!(" and {}", counted(links, "symbolic link")),
    };
    story.tell(&format!(
        "{}{links} in {}, {} bytes in {:.3} s",
        counted(comparison.files, "file"),
        counted(comparison.directories, "directory"),
        grouped(comparison.bytes),
        client.elapsed.as_secs_f64()
    ));
    let wanted = if client.refused.is_empty() {
        exit::DONE
    } else {
        exit::NOT_DELIVERED
    };
    story.check(
        client.status.code() == Some(i32::from(wanted)),
        &format!("the second client ends with exit code {wanted}"),
        &client.ending(),
    );
    story.check(comparison.files > 0, "the tree has files", "none arrived");
    story.check(
        client.regions.len() == 1,
        "the second client made exactly one region",
        &format!("{} regions", client.regions.len()),
    );
    for difference in comparison.differences.iter().take(DIFFERENCES_SHOWN_MAX) {
        story.check(false, "the copy of the tree is exact", difference);
    }
    let hidden = comparison.differences.len().saturating_sub(DIFFERENCES_SHOWN_MAX);
    if hidden > 0 {
        story.check(
            false,
            "the copy of the tree is exact",
            &format!("{hidden} more differences"),
        );
    }
    if comparison.differences.is_empty() {
        story.check(true, "the copy of the tree is exact", "");
        story.tell("Names, kinds, modes, links and every byte compared: all the same.");
    }
    if comparison.left_out > 0 {
        story.tell(&format!(
            "{} not served (links that lead out, sockets and the like), and named.",
            counted(comparison.left_out, "entry")
        ));
    }
}
