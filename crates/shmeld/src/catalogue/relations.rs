//! What objects say about each other, once all are known. Pure.

use std::collections::HashMap;

use super::verdict::{State, Verdict};
use super::{Belonging, Kind, Object};
use crate::ServerName;

/// The server of a session is the process that has the region and a gate.
pub(super) fn name_servers_of_regions(objects: &mut [Object]) {
    let mut servers: HashMap<u32, ServerName> = HashMap::new();
    for object in objects.iter().filter(|object| object.kind() == Kind::Segment) {
        if let Some(Belonging::Gate(server)) = &object.belongs {
            servers.extend(object.keepers().map(|holder| (holder.pid, server.clone())));
        }
    }
    for object in objects {
        if let Some(Belonging::Region(None)) = object.belongs {
            let server = object.keepers().find_map(|holder| servers.get(&holder.pid));
            object.belongs = Some(Belonging::Region(server.cloned()));
        }
    }
}

/// Programs of a channel of images let go of its segments between two images, and keep its semaphores: who has one of the four has all.
pub(super) fn keep_channels_together(objects: &mut [Object]) {
    let live = channels_with(objects, |state| state == State::Live);
    for object in objects
        .iter_mut()
        .filter(|object| object.verdict.state != State::Live)
    {
        if let Some(Belonging::Image(channel)) = &object.belongs
            && let Some(other) = live.get(channel)
        {
            let proof = format!("its channel is in use: {other} is live");
            object.verdict = Verdict::new(State::Live, proof);
        }
    }
    keep_what_is_not_stale_as_a_whole(objects);
}

/// A channel goes as a whole, or not at all.
fn keep_what_is_not_stale_as_a_whole(objects: &mut [Object]) {
    let doubtful = channels_with(objects, |state| state != State::Stale);
    for object in objects
        .iter_mut()
        .filter(|object| object.verdict.state == State::Stale)
    {
        if let Some(Belonging::Image(channel)) = &object.belongs
            && let Some(other) = doubtful.get(channel)
        {
            object.verdict = Verdict::unknown(format!(
                "it is not known whether anybody has {other} of its channel"
            ));
        }
    }
}

/// Channels of which an object is in such a state, and where.
fn channels_with(objects: &[Object], is_wanted: impl Fn(State) -> bool) -> HashMap<Vec<u8>, String> {
    let found = objects.iter().filter(|object| is_wanted(object.verdict.state));
    let channel = |object: &Object| match &object.belongs {
        Some(Belonging::Image(channel)) => Some((channel.clone(), object.place.to_string())),
        _ => None,
    };
    found.filter_map(channel).collect()
}

/// A gate goes with its queue: what keeps that, whatever the gate's own lock says, keeps both.
pub(super) fn keep_gates_of_queues(objects: &mut [Object]) {
    let kept = objects
        .iter()
        .filter(|object| object.verdict.state != State::Stale);
    let queues: HashMap<String, Verdict> = kept
        .filter_map(|object| match &object.belongs {
            Some(Belonging::ServerQueue(server)) => {
                let state = object.verdict.state;
                let proof = format!(
                    "its lock is free, but its queue {} is {}",
                    object.place,
                    state.word()
                );
                Some((server.to_string(), Verdict::new(state, proof)))
            }
            _ => None,
        })
        .collect();
    for object in objects {
        if let (Some(Belonging::Gate(server)), State::Stale) = (&object.belongs, object.verdict.state)
            && let Some(verdict) = queues.get(&server.to_string())
        {
            object.verdict = verdict.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Holder, Place, Role};
    use super::*;

    fn object(kind: Kind, name: &str, state: State, pids: &[u32]) -> Object {
        let mut object = Object::new(Place::Named(kind, name.as_bytes().to_vec()), String::new());
        object.belongs = Belonging::of_name(kind, name.as_bytes(), 0);
        object.verdict = Verdict::new(state, "a proof");
        object.holders = pids
            .iter()
            .map(|pid| Holder {
                pid: *pid,
                command: Some(b"cmd".to_vec()),
                uid: None,
                roles: vec![Role::Mapped],
                mapped_bytes: 0,
            })
            .collect();
        object
    }

    #[test]
    fn a_session_has_the_server_that_has_its_memory_and_a_gate() {
        let region = |digit: &str| format!("shmeld.{}", digit.repeat(32));
        let mut objects = vec![
            object(Kind::Segment, &region("1"), State::Live, &[7, 8]),
            object(Kind::Segment, &region("2"), State::Live, &[7]),
            object(Kind::Segment, "shmeld.a.gate", State::Live, &[8]),
            object(Kind::Segment, "other", State::Live, &[8]),
        ];
        name_servers_of_regions(&mut objects);
        let said: Vec<_> = objects
            .iter()
            .map(|object| object.belongs.as_ref().map(ToString::to_string))
            .collect();
        let said: Vec<_> = said.iter().map(Option::as_deref).collect();
        assert_eq!(
            said,
            [Some("session of /a"), Some("session"), Some("gate of /a"), None]
        );
    }

    #[test]
    fn one_live_object_of_a_channel_keeps_the_others_and_no_other_channels() {
        let mut objects = vec![
            object(Kind::Segment, "SEG_a_HEAD", State::Unheld, &[]),
            object(Kind::Semaphore, "SEM_a_REQ", State::Live, &[7]),
            object(Kind::Segment, "SEG_b_HEAD", State::Unheld, &[]),
            object(Kind::Segment, "a", State::Unheld, &[]),
        ];
        keep_channels_together(&mut objects);
        let states: Vec<State> = objects.iter().map(|object| object.verdict.state).collect();
        assert_eq!(states, [State::Live, State::Live, State::Unheld, State::Unheld]);
        assert_eq!(
            objects[0].verdict.proof,
            "its channel is in use: sem:/SEM_a_REQ is live"
        );
    }

    #[test]
    fn a_channel_is_stale_as_a_whole_or_not_at_all() {
        let mut objects = vec![
            object(Kind::Segment, "SEG_a_HEAD", State::Stale, &[]),
            object(Kind::Semaphore, "SEM_a_REQ", State::Live, &[7]),
            object(Kind::Segment, "SEG_b_HEAD", State::Stale, &[]),
            object(Kind::Segment, "SEG_b_DATA", State::Unknown, &[]),
            object(Kind::Segment, "SEG_c_HEAD", State::Stale, &[]),
            object(Kind::Semaphore, "SEM_c_RES", State::Stale, &[]),
        ];
        keep_channels_together(&mut objects);
        let states: Vec<State> = objects.iter().map(|object| object.verdict.state).collect();
        let expected = [State::Live, State::Unknown, State::Stale].map(|state| [state; 2]);
        assert_eq!(states, expected.concat());
    }

    #[test]
    fn a_gate_is_stale_only_if_its_queue_is_or_there_is_none() {
        for (of_queue, expected) in [
            (State::Live, State::Live),
            (State::Unknown, State::Unknown),
            (State::Stale, State::Stale),
        ] {
            let mut objects = vec![
                object(Kind::Segment, "shmeld.a.gate", State::Stale, &[]),
                object(Kind::Segment, "shmeld.b.gate", State::Stale, &[]),
                object(Kind::Queue, "a", of_queue, &[]),
            ];
            objects[2].belongs = Some(Belonging::ServerQueue(ServerName::new("/a").expect("valid")));
            keep_gates_of_queues(&mut objects);
            let states: Vec<State> = objects.iter().map(|object| object.verdict.state).collect();
            assert_eq!(states, [expected, State::Stale, of_queue]);
        }
    }
}
