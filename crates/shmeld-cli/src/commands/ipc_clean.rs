//! `shmeld ipc clean`.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::{Value, json};
use shmeld::catalogue::{Look, Object, Outcome, Scope, Snapshot, State, Unit};
use shmeld::os::process;

use super::ipc::Talk;
use super::ipc_ls::tell_sight;
use super::ipc_object::{self as object, Reader};
use crate::args_ipc_list::CleanArgs;
use crate::program::exit;

/// Runs the command: all that can go goes, whatever happens to the others.
pub(super) fn run(talk: &Talk<'_>, args: &CleanArgs) -> u8 {
    if args.any_stale && !args.dry_run && !can_ask() {
        talk.program.complain(
            "clean --any-stale asks before it removes what other programs left, and there is no terminal",
            Some("list them with --dry-run, and remove what you choose with shmeld ipc rm, ipcrm or rm"),
        );
        return exit::USAGE;
    }
    let look = Look {
        prove_alone: args.any_stale,
    };
    let snapshot = Snapshot::take(look);
    if talk.args.explain {
        explain_the_rest(talk, &snapshot);
    }
    let scope = Scope::new(process::effective_uid(), args.any_stale, args.older);
    let mut sweep = Sweep {
        talk,
        code: exit::DONE,
        is_over: false,
        is_unheard: false,
    };
    for unit in snapshot.units(&scope) {
        // What goes is said, with its proof: if nobody can be told any more, nothing goes any more.
        if sweep.is_unheard {
            break;
        }
        if args.dry_run {
            sweep.tell(&unit, "would_remove", "would remove", None);
        } else if !unit.is_foreign() || sweep.is_wanted(&unit) {
            sweep.remove(&unit);
        }
    }
    if !talk.args.json && !talk.args.quiet && args.any_stale {
        tell_sight(talk.program, &snapshot.sight);
    }
    sweep.code
}

fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Why what stays stays.
fn explain_the_rest(talk: &Talk<'_>, snapshot: &Snapshot) {
    for object in &snapshot.objects {
        let (place, verdict) = (&object.place, &object.verdict);
        if verdict.state != State::Stale {
            let text = format!("{place} stays: {}: {}", verdict.state.word(), verdict.proof);
            talk.program.complain(&text, None);
        }
    }
}

struct Sweep<'t> {
    talk: &'t Talk<'t>,
    code: u8,
    /// Who asks is told to ask no more.
    is_over: bool,
    /// Standard output cannot be written.
    is_unheard: bool,
}

impl Sweep<'_> {
    fn remove(&mut self, unit: &Unit<'_>) {
        match unit.remove() {
            Ok(Outcome::Removed) => self.tell(unit, "removed", "removed", None),
            Ok(Outcome::Gone) => self.tell(unit, "gone", "gone already:", None),
            Ok(Outcome::Kept(why)) => self.tell(unit, "kept", "kept", Some(&why)),
            Err(error) => self.code = self.code.max(self.talk.program.fail(&error)),
        }
    }

    /// One line for each object; `why` in the place of the proof.
    fn tell(&mut self, unit: &Unit<'_>, event: &str, verb: &str, why: Option<&str>) {
        for object in &unit.objects {
            let proof = why.unwrap_or(&object.verdict.proof);
            let text = format!("{verb} {}: {proof}", object.place);
            let json = || as_json(object, event, proof);
            let said = self.talk.data(text, json);
            self.code = self.code.max(said);
            self.is_unheard |= said != exit::DONE;
            if self.is_unheard {
                return;
            }
        }
    }

    /// Asks on the terminal.
    fn is_wanted(&mut self, unit: &Unit<'_>) -> bool {
        let Some(object) = unit.objects.first().filter(|_| !self.is_over) else {
            return false;
        };
        let size = match object::size(object, Reader::Person).as_str() {
            "-" => String::new(),
            size => format!(", {size}"),
        };
        let question = format!(
            "{}: remove {} ({}{size}, uid {}): {}? [y/N/q] ",
            self.talk.program.name,
            object.place,
            object.kind().in_words(),
            object::owner(object),
            object.verdict.proof
        );
        // A standard error that cannot be written has no reader to answer.
        let mut terminal = std::io::stderr();
        let _ = terminal
            .write_all(question.as_bytes())
            .and_then(|()| terminal.flush());
        let mut answer = String::new();
        let end = std::io::stdin().lock().read_line(&mut answer);
        let answer = answer.trim().to_lowercase();
        self.is_over = answer == "q" || matches!(end, Ok(0) | Err(_));
        answer == "y" || answer == "yes"
    }
}

fn as_json(object: &Object, event: &str, proof: &str) -> Value {
    json!({"event": event, "address": object.place.to_string(), "kind": object.kind().word(),
        "belongs": object.belongs.as_ref().map(ToString::to_string), "state": object.verdict.state.word(), "proof": proof})
}
