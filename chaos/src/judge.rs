//! What must hold after a run, whatever was done to whom.

use std::time::Instant;

use nix::sys::signal::Signal;
use syscalls::Sysno;

use crate::program::Ended;
use crate::scene::{LONG, NOTICE_MAX, Run, SLACK, Victim, Work};
use crate::tracer::{Deed, Exit};
use crate::world::{Expected, World};

/// How everybody ended.
pub struct Outcome {
    pub client: Ended,
    pub server: Ended,
    pub rescue: Option<Ended>,
    /// What came out of the client's standard output.
    pub received: Option<Received>,
    /// When the server had let go of all regions, if its client was killed.
    pub freed_at: Option<Instant>,
}

/// What a slow reader got from the client.
pub struct Received {
    pub bytes: Vec<u8>,
    /// When it asked the server to stop: after the first byte, if one came.
    pub asked_at: Option<Instant>,
}

impl Outcome {
    /// What everybody said.
    pub fn story(&self) -> String {
        let rescue = self.rescue.as_ref().map_or_else(String::new, |rescue| {
            format!("\nsecond server: {:?} {}", rescue.exit, rescue.stderr)
        });
        let (client, server) = (&self.client, &self.server);
        let traced = [client, server]
            .into_iter()
            .find_map(|ended| ended.traced.as_ref()?.hit);
        let call = traced.map_or("no call", |(call, _)| call.name());
        format!(
            "at {call}\nclient: {:?} {}\nserver: {:?} {}{rescue}",
            client.exit, client.stderr, server.exit, server.stderr
        )
    }
}

/// What must hold, whatever was done to whom.
pub fn judge(
    world: &World,
    work: Work,
    victim: Victim,
    deed: Deed,
    outcome: &Outcome,
) -> Result<Run, String> {
    let Outcome { client, server, .. } = outcome;
    let broken = match victim {
        Victim::Client => client,
        Victim::Server => server,
    };
    let traced = broken.traced.clone().ok_or("the victim was not traced")?;
    let deed = if traced.hit.is_some() { deed } else { Deed::Watch };
    let call = traced.hit.map(|(call, _)| call);
    judge_exits(victim, deed, outcome)?;
    let succeeded = client.exit == Exit::Code(0);
    let expected = if succeeded {
        Expected::All
    } else {
        Expected::WholeOrNothing
    };
    let unfinished = world.check_output(expected, work.asked(), work.older())?;
    let is_cut_off = deed == Deed::Kill || cannot_begin_a_thread(client);
    let may_leave = victim == Victim::Client && (is_cut_off || call.is_some_and(removes_names));
    // What can be gone on with is kept on purpose, and the next transfer takes it.
    let keeps_parts = work == Work::Resume && unfinished.iter().all(|name| name.ends_with(".shmeld-part"));
    if !unfinished.is_empty() && !may_leave && !keeps_parts {
        return Err(format!("unfinished outputs are left: {unfinished:?}"));
    }
    if let Some(Received { bytes: received, .. }) = &outcome.received {
        let offered = world.offered(LONG);
        if !offered.starts_with(received) || succeeded && received.len() < offered.len() {
            return Err(format!(
                "standard output: {} bytes, wrong or short",
                received.len()
            ));
        }
    }
    if matches!(deed, Deed::Fail(_)) && call.is_some_and(removes_names) {
        world.sweep_own()?;
    }
    // Whoever ends by itself cleans up by itself.
    let died = deed == Deed::Kill || [client, server].into_iter().any(cannot_begin_a_thread);
    world.check_objects(died || call.is_some_and(removes_names))?;
    let noticed_after = (deed == Deed::Kill)
        .then_some(traced.hit)
        .flatten()
        .map(|(_, at)| match victim {
            Victim::Client => outcome
                .freed_at
                .unwrap_or(server.at)
                .saturating_duration_since(at),
            Victim::Server => client.at.saturating_duration_since(at),
        });
    match noticed_after {
        Some(after) if after > NOTICE_MAX + SLACK && work != Work::Shutdown => {
            Err(format!("the death was noticed after {after:?}"))
        }
        _ => Ok(Run {
            traced,
            noticed_after,
        }),
    }
}

fn judge_exits(victim: Victim, deed: Deed, outcome: &Outcome) -> Result<(), String> {
    let Outcome {
        client,
        server,
        rescue,
        ..
    } = outcome;
    let codes = |codes: &[i32]| codes.iter().map(|&code| Exit::Code(code)).collect::<Vec<_>>();
    // 127 is the dynamic linker's: it could not even load the program.
    let (clients, servers) = match (deed, victim) {
        (Deed::Watch | Deed::Stop(_), _) => (codes(&[0]), codes(&[0])),
        (Deed::Kill, Victim::Client) => (vec![Exit::Signal(Signal::SIGKILL)], codes(&[0])),
        (Deed::Kill, Victim::Server) => (codes(&[0, 4]), vec![Exit::Signal(Signal::SIGKILL)]),
        (Deed::Fail(_), Victim::Client) => (codes(&[0, 1, 3, 4, 127]), codes(&[0])),
        (Deed::Fail(_), Victim::Server) => (codes(&[0, 1, 3, 4]), codes(&[0, 3, 127, 130])),
    };
    for (who, ended, allowed) in [("client", client, clients), ("server", server, servers)] {
        if ended
            .traced
            .as_ref()
            .is_some_and(|traced| traced.hit.is_some() && !traced.begun)
        {
            continue;
        }
        if cannot_begin_a_thread(ended) {
            continue;
        }
        if !allowed.contains(&ended.exit) {
            return Err(format!("the {who} ended with {:?}", ended.exit));
        }
        if ended.stderr.contains("panicked at") {
            return Err(format!("the {who} panicked"));
        }
    }
    if (deed, victim) == (Deed::Kill, Victim::Server)
        && client.exit == Exit::Code(4)
        && !client.stderr.contains("died")
    {
        return Err("the client blames something else than its server's death".to_owned());
    }
    match rescue {
        Some(rescue) if rescue.exit != Exit::Code(0) => Err("the second server did not end well".to_owned()),
        _ => Ok(()),
    }
}

/// Whether all that went wrong is that a thread got no signal stack. The standard library gives up there, or ends the process, and leaves
/// nobody a choice; what is left behind is judged as after a kill.
fn cannot_begin_a_thread(ended: &Ended) -> bool {
    ended.stderr.contains("alternative stack") && ended.stderr.matches("panicked at").count() == 1
}

/// Whether the failure of this call is the reason why a name can stay.
fn removes_names(call: Sysno) -> bool {
    matches!(
        call,
        Sysno::unlink
            | Sysno::unlinkat
            | Sysno::mq_unlink
            | Sysno::rename
            | Sysno::renameat
            | Sysno::renameat2
    )
}
