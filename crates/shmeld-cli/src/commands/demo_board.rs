//! `shmeld demo board`: posters and readers of one message board as processes; what each did is told in its own words, what came of it is
//! looked at.

use std::time::Instant;

use shmeld::os::sysv::Key;

use super::board;
use super::demo_board_cast::{Actor, Cast};
use super::demo_process::{Trouble, show_status};
use super::demo_stage::{TemporaryDirectory, random_tag};
use super::demo_story::Story;
use crate::args_board::{BoardArgs, BoardCommand, HandshakeArgs, KeyArgs, PostArgs, ReadArgs};
use crate::args_demo::{DemoArgs, DemoRole};
use crate::args_talk::TalkArgs;
use crate::program::{Program, exit};

/// Where the two terminals of `--role` meet: "Shme".
const MEETING_KEY: Key = Key::new(0x5368_6d65);
/// What is posted.
const MESSAGE: &str = "The bridge is yours, number one.";
/// More than a pipe holds: a reader whose output nobody takes stays inside.
const LONG_BYTES: usize = 200_000;

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &DemoArgs) -> u8 {
    if let Some(role) = args.role {
        return play_role(program, args, role);
    }
    let start = Instant::now();
    let mut story = Story::new();
    match play(program, &mut story) {
        Ok(()) => story.end(program, start, "board", ["a", "b"]),
        Err(trouble) => trouble.tell(program),
    }
}

/// One side in this terminal: the command that the user would type, with its steps told.
fn play_role(program: &Program, args: &DemoArgs, role: DemoRole) -> u8 {
    let key = KeyArgs {
        key: Some(MEETING_KEY),
        ftok: None,
    };
    let handshake = HandshakeArgs { ack: None };
    let talk = TalkArgs {
        json: false,
        quiet: false,
        explain: true,
    };
    let command = match role {
        DemoRole::A => BoardCommand::Post(PostArgs {
            message: Some(MESSAGE.into()),
            key,
            size: None,
            readers: Some(1),
            timeout: args.wait,
            handshake,
            talk,
        }),
        _ => BoardCommand::Read(ReadArgs {
            key,
            timeout: args.wait,
            handshake,
            talk,
        }),
    };
    board::run(program, &BoardArgs { command })
}

fn play(program: &Program, story: &mut Story) -> Result<(), Trouble> {
    let interrupt = program.interrupt_and_clean_up();
    let stage = TemporaryDirectory::of_demo(&random_tag())?;
    let cast = Cast::new(stage.path(), &interrupt)?;
    let key = cast.key;
    story.title("shmeld demo board: a message for three readers, under a System V key");
    three_readers(story, &cast)?;
    dead_reader(story, &cast)?;
    dead_poster(story, &cast)?;
    story.step("What is left of all this");
    let left = cast.leftovers();
    story.check(left.is_empty(), "no set and no segment is left", &left.join(", "));
    if left.is_empty() {
        story.tell(&format!("Nothing: ipcs -m -s shows no key {key}."));
    }
    drop(cast);
    Ok(stage.remove()?)
}

fn three_readers(story: &mut Story, cast: &Cast<'_>) -> Result<(), Trouble> {
    story.step("A poster and three readers, who may come in any order");
    story.tell(&format!(
        "poster    shmeld board post --key {} --readers 3 MESSAGE",
        cast.key
    ));
    story.tell(&format!("readers   shmeld board read --key {}", cast.key));
    let mut readers = vec![cast.start_reader("first")?, cast.start_reader("second")?];
    for reader in &mut readers {
        reader.await_word("waiting for a message")?;
    }
    let mut poster = cast.start_poster("poster", MESSAGE.as_bytes(), 3)?;
    poster.await_word("posted")?;
    readers.push(cast.start_reader("third")?);
    for reader in &mut readers {
        let (status, got) = (reader.end()?, reader.output());
        story.check(
            status.success() && got == MESSAGE.as_bytes(),
            &format!("the {} reader has the message, byte by byte", reader.name),
            &show_status(Ok(status)),
        );
    }
    let status = poster.end()?;
    story.check(
        status.success() && poster.has_said("3 of 3 readers have the message"),
        "the poster counts three and ends with exit code 0",
        &show_status(Ok(status)),
    );
    story.tell("Two readers came before the poster and waited; one came after it.");
    tell_steps(story, "poster", &poster);
    tell_steps(story, "reader", &readers[2]);
    Ok(())
}

fn dead_reader(story: &mut Story, cast: &Cast<'_>) -> Result<(), Trouble> {
    story.step("A reader dies inside: nobody waits for it");
    let long = vec![b'x'; LONG_BYTES];
    let mut poster = cast.start_poster("poster of a long message", &long, 3)?;
    poster.await_word("posted")?;
    let mut victim = cast.start_held_reader("victim")?;
    victim.await_word("INSIDE one more")?;
    for name in ["one", "another"] {
        let status = cast.start_reader(name)?.end()?;
        story.check(
            status.success(),
            "the other readers have the message",
            &show_status(Ok(status)),
        );
    }
    victim.kill();
    let status = poster.end()?;
    story.check(
        status.code() == Some(i32::from(exit::NOT_DELIVERED)) && poster.has_said("2 of 3 readers"),
        "the poster ends at once and says 2 of 3",
        &show_status(Ok(status)),
    );
    story.tell("Killed with INSIDE at 1. The kernel took that back (SEM_UNDO), and the");
    story.tell("poster, which was waiting for INSIDE to be 0, ended at once with exit");
    story.tell("code 1: \"2 of 3 readers have the message\".");
    Ok(())
}

fn dead_poster(story: &mut Story, cast: &Cast<'_>) -> Result<(), Trouble> {
    story.step("The poster dies: readers are told, and the next one takes over");
    let mut poster = cast.start_poster("poster to be killed", MESSAGE.as_bytes(), 2)?;
    poster.await_word("posted")?;
    poster.kill();
    let start = Instant::now();
    let mut reader = cast.start_reader("late")?;
    let status = reader.end()?;
    let took = start.elapsed();
    story.check(
        status.code() == Some(i32::from(exit::PEER)) && reader.has_said("its poster died"),
        "a reader of a dead poster says so",
        &show_status(Ok(status)),
    );
    story.tell(&format!(
        "A reader that came then ended after {:.1} s with exit code 4: its poster",
        took.as_secs_f64()
    ));
    story.tell("died. Set and segment were still there, POSTER and OPEN back at 0.");
    let mut next = cast.start_poster("next poster", MESSAGE.as_bytes(), 1)?;
    next.await_word("posted")?;
    let reader = cast.start_reader("reader of the next")?.end()?;
    let poster = next.end()?;
    story.check(
        reader.success() && poster.success(),
        "the next poster works on what the dead one left",
        &format!("{}, {}", show_status(Ok(poster)), show_status(Ok(reader))),
    );
    story.tell("The next poster used the same set, replaced the segment, and removed both.");
    Ok(())
}

/// What a process told about its semaphores, in order.
fn tell_steps(story: &Story, who: &str, actor: &Actor<'_>) {
    story.tell("");
    story.tell(&format!("What the {who} told with --explain:"));
    for (call, why) in actor.steps() {
        story.tell_call(&call, &why);
    }
}
