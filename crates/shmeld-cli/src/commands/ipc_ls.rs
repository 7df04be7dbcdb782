//! `shmeld ipc ls`.

use std::cmp::Reverse;
use std::io::{IsTerminal, Write};

use shmeld::catalogue::{Look, Object, Sight, Snapshot, State};
use shmeld::os::listing::look_at_process;
use shmeld::os::name::escape;
use shmeld::os::process;

use super::ipc::Talk;
use super::ipc_object::{self as object, Reader};
use super::ipc_table::{Column, SPARE, left, lines, name, right};
use super::ipc_tree as tree;
use crate::args_ipc_list::{IpcLsArgs, Sort, WhichArgs};
use crate::program::{Program, exit};

/// A terminal that does not know how wide it is.
const USUAL_COLUMNS: u16 = 80;

/// How many processes that cannot be looked into are named.
const PROCESSES_NAMED_MAX: usize = 3;

/// The kind is in the address.
const COLUMNS: [Column; 9] = [
    left("STATE", 2),
    name("ADDRESS", 20),
    right("UID", 7),
    left("MODE", 8),
    right("SIZE", 5),
    right("USED", 3).cut(7),
    right("HELD", 4),
    right(AGE, SPARE),
    left("WHAT", 6).cut(10),
];
/// It changes by itself: no filter is about it.
pub(super) const AGE: &str = "AGE";

/// The columns, of which the one that decides about the order is the last to be left out.
pub(super) fn columns(sort: Sort) -> [Column; 9] {
    let decides = match sort {
        Sort::Address => "ADDRESS",
        Sort::Size => "SIZE",
        Sort::Used => "USED",
        Sort::Owner => "UID",
        Sort::Age => AGE,
        Sort::Holders => "HELD",
        Sort::State => "STATE",
    };
    COLUMNS.map(|column| {
        if column.heading == decides {
            column.kept()
        } else {
            column
        }
    })
}

/// Runs the command.
pub(super) fn run(talk: &Talk<'_>, args: &IpcLsArgs) -> u8 {
    let look = Look {
        prove_alone: args.any_stale,
    };
    let snapshot = Snapshot::take(look);
    let mut objects: Vec<&Object> = snapshot
        .objects
        .iter()
        .filter(|object| is_wanted(object, &args.which, args.any_stale))
        .collect();
    sort(&mut objects, args.which.sort, |object| object);
    let printed = if args.talk.json {
        print_json(&objects, &snapshot.sight)
    } else {
        let reader = if std::io::stdout().is_terminal() {
            Reader::Person
        } else {
            Reader::Program
        };
        print_text(&objects, args, reader)
    };
    if !args.talk.json && !args.talk.quiet {
        tell_sight(talk.program, &snapshot.sight);
    }
    let seen = if snapshot.sight.failures.is_empty() {
        exit::DONE
    } else {
        exit::NOT_DELIVERED
    };
    seen.max(talk.program.printed(printed))
}

pub(super) fn is_wanted(object: &Object, which: &WhichArgs, any_stale: bool) -> bool {
    let own = process::effective_uid();
    let is_of_kind = which.kinds.is_empty() || which.kinds.iter().any(|kind| kind.admits(object.kind()));
    let state = object.verdict.state;
    let is_in_state = match (which.stale, any_stale) {
        (false, false) => true,
        (_, true) => state == State::Stale || (state == State::Unheld && object.is_of(own)),
        (true, false) => state == State::Stale,
    };
    is_of_kind && is_in_state && (!which.mine || object.is_of(own))
}

/// Sorts what has objects in it.
pub(super) fn sort<'o, T>(list: &mut [T], sort: Sort, object: impl Fn(&T) -> &'o Object) {
    // The order of the snapshot is that of addresses, and these sorts keep it among equals.
    match sort {
        Sort::Address => {}
        Sort::Size => list.sort_by_key(|one| Reverse(object(one).bytes)),
        Sort::Used => list.sort_by_key(|one| Reverse(object(one).used_bytes)),
        Sort::Owner => list.sort_by_key(|one| object(one).owner.map(|owner| owner.uid)),
        Sort::Age => list.sort_by_key(|one| Reverse(object(one).changed)),
        Sort::Holders => list.sort_by_key(|one| Reverse(object::held_count(object(one)))),
        Sort::State => list.sort_by_key(|one| match object(one).verdict.state {
            State::Stale => 0,
            State::Unheld => 1,
            State::Unknown => 2,
            State::Live => 3,
        }),
    }
}

fn print_json(objects: &[&Object], sight: &Sight) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for one in objects {
        writeln!(out, "{}", one.to_json())?;
    }
    writeln!(out, "{}", sight.to_json())?;
    out.flush()
}

fn print_text(objects: &[&Object], args: &IpcLsArgs, reader: Reader) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if args.tree {
        for line in tree::lines(objects) {
            writeln!(out, "{line}")?;
        }
        return out.flush();
    }
    let width = (reader == Reader::Person).then(|| {
        process::terminal_columns(std::io::stdout())
            .unwrap_or(USUAL_COLUMNS)
            .into()
    });
    let rows: Vec<Vec<String>> = objects.iter().map(|object| row(object, reader)).collect();
    let mut lines = lines(&columns(args.which.sort), &rows, width).into_iter();
    for heading in lines.by_ref().take(1) {
        writeln!(out, "{heading}")?;
    }
    for (line, one) in lines.zip(objects) {
        writeln!(out, "{line}")?;
        if args.holders {
            for holder in &one.holders {
                writeln!(out, "    {}", object::holder(holder))?;
            }
        }
    }
    out.flush()
}

pub(super) fn row(one: &Object, reader: Reader) -> Vec<String> {
    vec![
        one.verdict.state.word().to_owned(),
        one.place.to_string(),
        object::owner(one),
        object::mode(one),
        object::size(one, reader),
        object::used(one, reader),
        object::held(one),
        object::age(one, reader),
        object::remark(one),
    ]
}

/// What could not be seen, on standard error.
pub(super) fn tell_sight(program: &Program, sight: &Sight) {
    for failure in &sight.failures {
        program.complain(failure, None);
    }
    if !sight.lists_queues {
        program.complain(
            "message queues cannot be listed: no message queue file system is mounted; shown are those of servers, and those that \
             somebody has open whom we may look into",
            Some("mount -t mqueue none /dev/mqueue (as root, after mkdir /dev/mqueue)"),
        );
    }
    if !sight.hidden_processes.is_empty() {
        let hidden = sight.hidden_processes.len();
        let processes = if hidden == 1 { "process" } else { "processes" };
        let (whose, hint) = match process::effective_uid() {
            0 => {
                let which = which(&sight.hidden_processes);
                let why = format!(" ({which}; a namespace or a security module forbids it)");
                (why, None)
            }
            _ => (" of other users".to_owned(), Some("root sees them")),
        };
        let text = format!("{hidden} {processes}{whose} cannot be looked into: what they have is not known");
        program.complain(&text, hint);
    } else if !sight.sees_all_processes {
        let what =
            "only processes of this container, or of this user, can be seen: what others have is not known";
        program.complain(what, None);
    }
}

/// The first of these processes, each with what it calls itself.
fn which(pids: &[u32]) -> String {
    let named = pids.iter().take(PROCESSES_NAMED_MAX).map(|&pid| {
        let command = look_at_process(pid).map(|process| escape(&process.command));
        format!("pid {pid} {}", command.unwrap_or_default())
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match pids.len().saturating_sub(PROCESSES_NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
