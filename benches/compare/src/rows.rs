//! The table: who races against whom over what, what we promised, and what we hope for.
//!
//! Rows without a promise are there because their result is interesting, whoever wins.

use std::process::Command;

use shmeld_cli::commands::bench_numbers::Measure;
use shmeld_cli::commands::demo_process::Trouble;

use crate::contestants::{
    file_by_program, get, get_file, get_in_place, lock_step, nginx, program, role, socat, tree,
};
use crate::crowd;
use crate::figures::{IDLE_CLIENTS, Who, idle, memory};
use crate::grounds::{Ground, Grounds, SMALL_BYTES, TREE_DIRECTORIES, TREE_FILES_EACH};
use crate::plan::{Kind, Marks, Plan, against, figure, race};
use crate::runner::Contest;
use crate::tools::{CP, CURL, NGINX, RSYNC, SOCAT, TAR};

const PAGE: Option<u64> = Some(4096);
const LARGE: Option<u64> = Some(1 << 20);
/// A run of a small file takes a millisecond: many more of them cost nothing.
const SMALL_PAIRS_FACTOR: u32 = 11;

/// Every row.
pub fn all<'a>(grounds: &'a Grounds<'a>) -> Vec<Plan<'a>> {
    let mut plans = page_rows();
    plans.extend(large_rows());
    plans.extend(channel_rows());
    plans.extend(tree_rows());
    plans.extend(one_cpu_rows());
    plans.extend(in_place_and_small_rows());
    plans.extend(crowd_rows());
    plans.extend(figure_rows());
    if grounds.two_cpus().is_none() {
        // Lock-step of two CPUs is not to be had here; the other rows tell what one CPU can do.
        plans.retain(|plan| plan.id != "page-lock-step");
    }
    plans
}

fn page_rows<'a>() -> Vec<Plan<'a>> {
    let mut first = race(
        "page-lock-step",
        "one page, tmpfs to tmpfs, against lock-step on two pinned CPUs",
        (Some(25.0), Some(50.0)),
        &[],
        |grounds| {
            let arena = grounds.arena(Ground::Tmpfs)?;
            let two = grounds
                .two_cpus()
                .ok_or_else(|| Trouble::Failed("needs two CPUs".to_owned()))?;
            Ok(Contest {
                arena,
                ours: get(arena, two, PAGE)?,
                rival: lock_step(arena, two),
                unfairness: None,
            })
        },
    );
    first.measure = Measure::Throughput;
    let cp = |id, what, ground, marks| {
        against(id, what, ground, PAGE, marks, &[CP], |_, arena| {
            Ok(program(arena, None, &["cp"]))
        })
    };
    vec![
        first,
        cp(
            "page-cp-tmpfs",
            "one page, tmpfs to tmpfs, against cp",
            Ground::Tmpfs,
            (Some(1.1), Some(0.9)),
        ),
        cp(
            "page-cp-disk",
            "one page, disk to disk, against cp",
            Ground::Disk,
            (Some(0.9), Some(0.6)),
        ),
    ]
}

/// 1 MiB region against programs that copy files.
fn large_rows<'a>() -> Vec<Plan<'a>> {
    const PLAIN: &[&str] = &["cp"];
    const FULL: &[&str] = &["cp", "--reflink=never", "--sparse=never"];
    const SYNC: &[&str] = &["rsync", "-a"];
    let row = |id, what, ground, marks, needs, words: &'static [&'static str]| {
        against(id, what, ground, LARGE, marks, needs, move |_, arena| {
            Ok(program(arena, None, words))
        })
    };
    let (tmpfs, disk) = (Ground::Tmpfs, Ground::Disk);
    let (on_tmpfs, on_disk) = ("1 MiB region, tmpfs to tmpfs", "1 MiB region, disk to disk");
    vec![
        row(
            "large-cp-tmpfs",
            on_tmpfs,
            tmpfs,
            (Some(0.85), Some(0.65)),
            &[CP],
            PLAIN,
        ),
        row(
            "large-cp-disk",
            on_disk,
            disk,
            (Some(0.55), Some(0.4)),
            &[CP],
            PLAIN,
        ),
        row("large-cp-never-tmpfs", on_tmpfs, tmpfs, (None, None), &[CP], FULL),
        row("large-cp-never-disk", on_disk, disk, (None, None), &[CP], FULL),
        row(
            "large-rsync-tmpfs",
            on_tmpfs,
            tmpfs,
            (Some(0.3), None),
            &[RSYNC],
            SYNC,
        ),
        row(
            "large-rsync-disk",
            on_disk,
            disk,
            (Some(0.3), None),
            &[RSYNC],
            SYNC,
        ),
    ]
}

/// 1 MiB region against other channels between processes.
fn channel_rows<'a>() -> Vec<Plan<'a>> {
    let mut plans = Vec::new();
    let grounds = [
        (
            Ground::Tmpfs,
            "1 MiB region, tmpfs to tmpfs",
            ["large-socat-tmpfs", "large-nginx-tmpfs"],
        ),
        (
            Ground::Disk,
            "1 MiB region, disk to disk",
            ["large-socat-disk", "large-nginx-disk"],
        ),
    ];
    for (ground, what, [socat_id, nginx_id]) in grounds {
        plans.push(against(
            socat_id,
            what,
            ground,
            LARGE,
            (Some(0.5), None),
            &[SOCAT],
            |grounds, arena| Ok(socat(arena, grounds.arena(Ground::Tmpfs)?.directory())),
        ));
        plans.push(against(
            nginx_id,
            what,
            ground,
            LARGE,
            (Some(0.6), None),
            &[NGINX, CURL],
            |grounds, arena| nginx(arena, grounds.arena(Ground::Tmpfs)?.directory()),
        ));
    }
    let own = |id, what, kind: &'static str, name: &'static str| {
        against(
            id,
            what,
            Ground::Tmpfs,
            LARGE,
            (None, None),
            &[],
            move |_, arena| Ok(role(arena, None, kind, name)),
        )
    };
    plans.push(own(
        "large-pipe",
        "1 MiB region, tmpfs to tmpfs",
        "pipe",
        "pipe of 1 MiB, read and write",
    ));
    plans.push(own(
        "large-socket",
        "1 MiB region, tmpfs to tmpfs",
        "socket",
        "unix socket, read and write",
    ));
    plans
}

fn tree_rows<'a>() -> Vec<Plan<'a>> {
    const TAR_WORDS: &str = "mkdir \"$2\" && tar -C \"$1\" -cf - . | tar -C \"$2\" -xf -";
    let row = |id, marks, needs, name: &'static str| {
        let what = "10,000 files of 4 KiB, tmpfs to tmpfs";
        race(id, what, marks, needs, move |grounds| {
            let arena = grounds.arena(Ground::Tmpfs)?;
            let source = grounds.tree(arena)?;
            let bytes = TREE_DIRECTORIES * TREE_FILES_EACH * SMALL_BYTES;
            let mut ours = arena.command();
            ours.args(["cp", "-r", "--quiet"])
                .arg(&source)
                .arg(arena.output());
            let mut rival = Command::new(name.split(' ').next().unwrap_or(name));
            match name {
                "tar | tar" => {
                    rival = Command::new("sh");
                    rival
                        .args(["-c", TAR_WORDS, "sh"])
                        .arg(&source)
                        .arg(arena.output());
                }
                "rsync -a" => {
                    // Its trailing slash means what is in the directory.
                    rival.arg("-a").arg(source.join("")).arg(arena.output());
                }
                _ => {
                    rival.arg("-r").arg(&source).arg(arena.output());
                }
            }
            Ok(Contest {
                arena,
                ours: tree(arena, "shmeld cp -r", bytes, &source, ours),
                rival: tree(arena, name, bytes, &source, rival),
                unfairness: None,
            })
        })
    };
    vec![
        row("tree-cp", (Some(0.65), Some(0.45)), &[CP], "cp -r"),
        row("tree-rsync", (Some(0.3), None), &[RSYNC], "rsync -a"),
        row("tree-tar", (Some(0.6), None), &[TAR], "tar | tar"),
    ]
}

fn one_cpu_rows<'a>() -> Vec<Plan<'a>> {
    let row = |id, what, ground, region, marks: Marks, lock: bool| {
        race(id, what, marks, &[], move |grounds| {
            let arena = grounds.arena(ground)?;
            let one = grounds.one_cpu();
            let rival = if lock {
                lock_step(arena, one)
            } else {
                role(arena, one.of_others(), "copy-file-range", "copy_file_range")
            };
            Ok(Contest {
                arena,
                ours: get(arena, one, region)?,
                rival,
                unfairness: None,
            })
        })
    };
    let marks = (Some(1.15), Some(1.0));
    let mut page = row(
        "one-cpu-lock-step",
        "one page, all on one CPU",
        Ground::Tmpfs,
        PAGE,
        (None, None),
        true,
    );
    page.measure = Measure::Throughput;
    vec![
        row(
            "one-cpu-tmpfs",
            "1 MiB region, all on one CPU, tmpfs",
            Ground::Tmpfs,
            LARGE,
            marks,
            false,
        ),
        row(
            "one-cpu-disk",
            "1 MiB region, all on one CPU, disk",
            Ground::Disk,
            LARGE,
            (None, None),
            false,
        ),
        page,
    ]
}

fn in_place_and_small_rows<'a>() -> Vec<Plan<'a>> {
    let in_place = race(
        "in-place-read",
        "read in place, no output, against read(2) into a private buffer",
        (Some(1.2), Some(1.0)),
        &[],
        |grounds| {
            let arena = grounds.arena(Ground::Tmpfs)?;
            let placement = grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu());
            Ok(Contest {
                arena,
                ours: get_in_place(arena, placement, 1 << 20)?,
                rival: role(arena, None, "read", "read(2), 256 KiB buffer"),
                unfairness: None,
            })
        },
    );
    let mut small = race(
        "small-cp",
        "one file of 4 KiB, client process from start to exit",
        (Some(2.5), Some(1.5)),
        &[CP],
        |grounds| {
            let arena = grounds.arena(Ground::Tmpfs)?;
            let name = grounds.small(arena)?;
            let placement = grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu());
            let source = arena.directory().join(name);
            Ok(Contest {
                arena,
                ours: get_file(arena, placement, None, name, Some(arena.output()))?,
                rival: file_by_program(arena, None, &["cp"], &source, SMALL_BYTES),
                unfairness: None,
            })
        },
    );
    if let Kind::Race { pairs_factor, .. } = &mut small.kind {
        *pairs_factor = SMALL_PAIRS_FACTOR;
    }
    vec![in_place, small]
}

fn crowd_rows<'a>() -> Vec<Plan<'a>> {
    let row = |id, what, marks, clients| {
        race(id, what, marks, &[], move |grounds| {
            crowd::contest(grounds, grounds.arena(Ground::Tmpfs)?, clients)
        })
    };
    vec![
        row(
            "clients-16",
            "16 clients at once, a sixteenth each, against one",
            (Some(1.2), Some(1.05)),
            16,
        ),
        row(
            "clients-64",
            "64 clients at once, a sixty-fourth each, against one",
            (None, None),
            64,
        ),
    ]
}

fn figure_rows<'a>() -> Vec<Plan<'a>> {
    let idle_what = |who| format!("wake-ups of {who}, {IDLE_CLIENTS} clients attached and idle");
    // 6 MiB, and for a session 64 KiB and a staging buffer of 256 KiB.
    let server_max = |sessions: f64| 6.0 + sessions * (64.0 + 256.0) / 1024.0;
    let server = |id, what: &str, sessions: usize| {
        let must = server_max(sessions as f64);
        figure(id, what.to_owned(), (must, must / 2.0), "MiB", move |grounds| {
            memory(grounds, Who::Server, sessions)
        })
    };
    vec![
        figure(
            "idle-server",
            idle_what("a server"),
            (2.0, 0.0),
            "a second",
            |grounds| idle(grounds, Who::Server),
        ),
        figure(
            "idle-client",
            idle_what("a client"),
            (2.0, 0.0),
            "a second",
            |grounds| idle(grounds, Who::Client),
        ),
        figure(
            "memory-client",
            "peak memory of a client beyond the region".to_owned(),
            (6.0, 3.0),
            "MiB",
            |grounds| memory(grounds, Who::Client, 1),
        ),
        server(
            "memory-server",
            "peak memory of a server beyond the region, one session",
            1,
        ),
        server(
            "memory-server-16",
            "peak memory of a server beyond the regions, 16 sessions",
            16,
        ),
    ]
}
