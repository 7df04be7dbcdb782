//! The protections and the tests that guard them: what `cargo xtask teeth` takes away, and what must then fail.

use crate::teeth_pairs_objects::OF_OBJECTS;

/// Every pair.
pub fn all() -> impl Iterator<Item = &'static Pair> {
    OF_FILES.iter().chain(OF_OBJECTS)
}

/// One protection with its test.
pub struct Pair {
    /// What is protected against, as docs/TESTING.md calls it.
    pub protection: &'static str,
    /// The package of the test.
    pub package: &'static str,
    /// The test's path; one that begins with `it::` is an integration test.
    pub test: &'static str,
    /// The file of the protection.
    pub file: &'static str,
    /// The protection, there exactly once.
    pub sound: &'static str,
    /// The same without it.
    pub broken: &'static str,
}

/// Those of file transfer, in the order of a session's life.
pub const OF_FILES: &[Pair] = &[
    Pair {
        protection: "link check after locking",
        package: "shmeld-cli",
        test: "it::faults_gate::lock_on_a_gate_that_lost_its_name_is_worth_nothing",
        file: "crates/shmeld/src/file/gate.rs",
        sound: "Ok(ours.links > 0 && (named.dev, named.ino) == (ours.dev, ours.ino))",
        broken: "Ok(ours.links < 2 || named.dev == ours.dev)",
    },
    Pair {
        protection: "only a read lock is a server's lease",
        package: "shmeld-cli",
        test: "it::faults_names::lock_of_a_sender_is_no_sign_of_life",
        file: "crates/shmeld/src/file/connection.rs",
        sound: "\"queue\")? == Some(Kind::Read))",
        broken: "\"queue\")?.is_some())",
    },
    Pair {
        protection: "owner check of a region",
        package: "shmeld-cli",
        test: "it::faults_queue::region_of_another_user_is_refused_if_its_nonce_is_known_and_else_not_touched",
        file: "crates/shmeld/src/file/admission.rs",
        sound: "if !policy.users.are_served(stat.uid, policy.serves_others) {",
        broken: "if policy.serves_others && policy.users.is_unmapped(stat.uid) {",
    },
    Pair {
        protection: "a region speaks for its owner only if nobody else may write it",
        package: "shmeld-cli",
        test: "it::users_relay::server_cannot_pass_for_its_client_at_another_server",
        file: "crates/shmeld/src/file/admission.rs",
        sound: "    if facts.is_open_to_others {",
        broken: "    if facts.is_open_to_others && stat.mode & 0o007 != 0 {",
    },
    Pair {
        protection: "nonce check of the first request",
        package: "shmeld-cli",
        test: "it::faults_queue::forged_messages_for_a_region_on_offer_leave_it_as_it_is",
        file: "crates/shmeld/src/file/admission.rs",
        sound: "if raw.nonce != request.nonce {",
        broken: "if raw.nonce != raw.nonce {",
    },
    Pair {
        protection: "nonce check of later requests",
        package: "shmeld-cli",
        test: "it::hostile::forged_requests_for_the_region_of_another_change_nothing",
        file: "crates/shmeld/src/file/acceptor.rs",
        sound: "if (nonce, region_bytes) == (&request.nonce, request.region_bytes) =>",
        broken: "if (nonce, region_bytes) == (nonce, request.region_bytes) =>",
    },
    Pair {
        protection: "allocation check of a region",
        package: "shmeld-cli",
        test: "it::faults_region::regions_that_are_not_what_they_are_said_to_be_are_not_attached",
        file: "crates/shmeld/src/file/admission.rs",
        sound: "if stat.blocks_512.saturating_mul(512) < stat.bytes {",
        broken: "if stat.blocks_512.saturating_mul(512) > u64::MAX - stat.bytes {",
    },
    Pair {
        protection: "a bell rings for its own session only",
        package: "shmeld-cli",
        test: "it::faults_gate::session_that_cannot_be_started_is_not_mistaken_for_the_next_one",
        file: "crates/shmeld/src/file/sessions.rs",
        sound: ".is_none_or(|handle| handle.number != number)",
        broken: ".is_none()",
    },
    Pair {
        protection: "unlink after attach",
        package: "shmeld-cli",
        test: "it::crashes::client_killed_in_the_middle_is_noticed_and_leaves_nothing",
        file: "crates/shmeld/src/file/client_watch.rs",
        sound: "        self.offer.remove_name();\n",
        broken: "",
    },
    Pair {
        protection: "a request is answered once",
        package: "shmeld-cli",
        test: "it::faults_session::one_region_has_one_session_and_one_answer_to_a_request",
        file: "crates/shmeld/src/file/inbox.rs",
        sound: "if request.request_id <= self.last_id || self.closing {",
        broken: "if self.closing {",
    },
    Pair {
        protection: "capacity check of the peer's word",
        package: "shmeld-cli",
        test: "it::faults_words::read_word_that_cannot_be_ends_the_session",
        file: "crates/shmeld-core/src/ring.rs",
        sound: "if ready > self.capacity || ready < self.ready {",
        broken: "if ready < self.ready {",
    },
    Pair {
        protection: "double read of a record's header",
        package: "shmeld",
        test: "file::fuzzing::corpus::mutations_of_header_stream",
        file: "crates/shmeld/src/file/slot_reader.rs",
        sound: "        let record = Record::check(&raw, left - RECORD_BYTES)?;\n",
        broken: "        Record::check(&raw, left - RECORD_BYTES)?;\n        \
                 slots.read(self.consumer.index(), self.at, &mut bytes);\n        \
                 let raw = RawRecord::read_from_bytes(&bytes[..]).unwrap_or_else(|_| unreachable!());\n        \
                 let record = Record::check(&raw, usize::MAX / 4)?;\n",
    },
    Pair {
        protection: "SIGBUS guard",
        package: "shmeld-cli",
        test: "it::faults_region::region_that_shrinks_under_the_server_ends_its_session_only",
        file: "crates/shmeld-cli/src/program.rs",
        sound: "if let Err(error) = sigbus::install() {",
        broken: "if let Err(error) = Ok::<(), shmeld::os::Error>(()) {",
    },
    Pair {
        protection: "spurious-wake budget",
        package: "shmeld-cli",
        test: "it::faults_words::storm_of_wakes_costs_the_server_next_to_nothing",
        file: "crates/shmeld-core/src/wait.rs",
        sound: "if fruitless_wakes >= FRUITLESS_WAKES_MAX {",
        broken: "if fruitless_wakes == u32::MAX {",
    },
    Pair {
        protection: "work is looked for after the lease",
        package: "shmeld-core",
        test: "session::tests::what_was_published_before_a_death_is_used_first",
        file: "crates/shmeld-core/src/session.rs",
        sound: "    if view.work_after_lease {\n        SliceStep::Work\n    } else if !view.peer_leased {\n        SliceStep::PeerGone\n",
        broken: "    if !view.peer_leased {\n        SliceStep::PeerGone\n    } else if view.work_after_lease {\n        SliceStep::Work\n",
    },
    Pair {
        protection: "CHANGED check",
        package: "shmeld-cli",
        test: "it::changing::source_rewritten_where_it_was_read_already_is_not_delivered",
        file: "crates/shmeld/src/file/answer_file.rs",
        sound: "                Ok(false) => Err(Status::Changed.into()),\n",
        broken: "                Ok(false) => body,\n",
    },
    Pair {
        protection: "name sanitising",
        package: "shmeld",
        test: "it::lying_source::names_of_a_tree_that_lead_outside_are_stored_nowhere",
        file: "crates/shmeld/src/file/path.rs",
        sound: "            b\".\" | b\"..\" => return Err(NameError::Dots),\n",
        broken: "",
    },
    Pair {
        protection: "no escape through links",
        package: "shmeld-cli",
        test: "it::names::links_beneath_the_root_are_followed_and_others_denied",
        file: "crates/shmeld-os/src/fs/beneath.rs",
        sound: "let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;",
        broken: "let mut resolve = ResolveFlags::NO_MAGICLINKS;",
    },
    Pair {
        protection: "the audit log names nobody without proof",
        package: "shmeld-cli",
        test: "it::audit::region_that_finds_no_place_is_in_the_log_and_so_is_one_that_nobody_proved_to_own",
        file: "crates/shmeld/src/file/audit.rs",
        sound: "            uid: None,\n            owner,\n",
        broken: "            uid: owner,\n            owner,\n",
    },
    Pair {
        protection: "names in the audit log are escaped",
        package: "shmeld-cli",
        test: "it::audit::hostile_names_stay_within_their_lines",
        file: "crates/shmeld/src/file/audit_line.rs",
        sound: "path: escape(cut(self.path, shown)),",
        broken: "path: String::from_utf8_lossy(cut(self.path, shown)).into_owned(),",
    },
    Pair {
        protection: "confinement",
        package: "shmeld-cli",
        test: "it::sandbox::confined_server_cannot_open_a_file_outside_even_if_a_debugger_makes_it_try",
        file: "crates/shmeld-cli/src/commands/serve.rs",
        sound: "let confined = if args.no_sandbox || args.until_stdin_closes {",
        broken: "let confined = if args.no_sandbox || !args.print_sandbox {",
    },
    Pair {
        protection: "only trusted owners of a queue",
        package: "shmeld-cli",
        test: "it::users::each_user_is_served_where_the_mode_and_the_client_allow_it_and_nowhere_else",
        file: "crates/shmeld/src/file/users.rs",
        sound: "(false, false) => Self::Stranger,",
        broken: "(false, false) => Self::Able,",
    },
    Pair {
        protection: "unknown users are nobody",
        package: "shmeld-cli",
        test: "it::users_namespace::server_in_a_namespace_serves_unknown_users_only_if_told_to",
        file: "crates/shmeld/src/file/users.rs",
        sound: "!self.is_unmapped(uid) && (uid == self.own || uid == ROOT || serves_others)",
        broken: "uid == self.own || uid == ROOT || serves_others",
    },
    Pair {
        protection: "one user's part of the places",
        package: "shmeld-cli",
        test: "it::users_third::one_user_gets_a_part_of_the_places_and_the_others_are_served",
        file: "crates/shmeld/src/file/acceptor.rs",
        sound: ".is_some_and(|most| places.sessions_of_user >= most)",
        broken: ".is_some_and(|most| places.sessions_of_user >= most && most > 2)",
    },
    Pair {
        protection: "a new region for a server of another user",
        package: "shmeld-cli",
        test: "it::users::client_that_finds_a_server_of_another_user_opens_a_new_region_to_it",
        file: "crates/shmeld/src/file/client_watch.rs",
        sound: "self.connection.other_uid != self.offer.other_uid()",
        broken: "self.connection.other_uid.is_none() && self.offer.other_uid().is_some()",
    },
    Pair {
        protection: "others see no further than they may search",
        package: "shmeld-cli",
        test: "it::users_files::public_server_gives_out_what_everybody_may_read_and_nothing_else",
        file: "crates/shmeld-os/src/fs/walk.rs",
        sound: ".is_some_and(|audience| !audience.may_search(&child, &stat));",
        broken: ".is_some_and(|audience| !audience.may_read(&child, &stat) && stat.links == 0);",
    },
    Pair {
        protection: "others read only what they may read",
        package: "shmeld-cli",
        test: "it::users_files::public_server_gives_out_what_everybody_may_read_and_nothing_else",
        file: "crates/shmeld/src/file/directory.rs",
        sound: "    if audience.may_read(file, stat) {",
        broken: "    if audience.may_read(file, stat) || stat.links > 0 {",
    },
    Pair {
        protection: "others are led only where they may list",
        package: "shmeld-cli",
        test: "it::users_files::public_server_walks_only_where_everybody_may",
        file: "crates/shmeld/src/file/walk.rs",
        sound: "            self.source.may_list(&directory, &stat)?;\n",
        broken: "            let _ = self.source.may_list(&directory, &stat);\n",
    },
    Pair {
        protection: "no queue goes for the gate of another user",
        package: "shmeld-cli",
        test: "it::faults_sweep::sweep_of_root_removes_no_queue_for_the_gate_of_somebody_else",
        file: "crates/shmeld/src/file/gate.rs",
        sound: "    if queue.uid == gate_uid {",
        broken: "    if queue.uid == gate_uid || queue.links > 0 {",
    },
    Pair {
        protection: "a part is compared before it is gone on with",
        package: "shmeld-cli",
        test: "it::resume_parts::part_that_is_not_the_beginning_of_the_source_is_thrown_away_and_that_is_said",
        file: "crates/shmeld/src/file/answer_file.rs",
        sound: "if hasher.finalize() == request.prefix_digest {",
        broken: "if hasher.finalize() != [0; 32] {",
    },
    Pair {
        protection: "a locked part still has its name",
        package: "shmeld-cli",
        test: "it::resume_steps::part_that_loses_its_name_before_it_is_locked_is_looked_for_again",
        file: "crates/shmeld/src/file/partial.rs",
        sound: "if !is_named(place, &part, &stat)? || !is_shown && !is_private(&stat) {",
        broken: "if !is_shown && !is_private(&stat) {",
    },
];
