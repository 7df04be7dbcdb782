//! The three programs as users meet them: real processes, real kernel objects, real files.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops where it stands, and tells what happened"
)]

mod audit;
mod audit_file;
mod bench;
mod books;
mod changing;
mod command_line;
mod content;
mod copy;
mod crashes;
mod fake_server;
mod faults_crash;
mod faults_fake;
mod faults_files;
mod faults_gate;
mod faults_host;
mod faults_kill;
mod faults_memory;
mod faults_names;
mod faults_objects;
mod faults_output;
mod faults_queue;
mod faults_region;
mod faults_server;
mod faults_session;
mod faults_source;
mod faults_sweep;
mod faults_words;
mod full_disk;
mod hostile;
mod limits;
mod listing;
mod midway;
mod names;
mod nodes;
mod outcome;
mod outputs;
mod outputs_broken;
mod outputs_keep;
mod outputs_preserve;
mod outputs_sparse;
mod outputs_sync;
mod outputs_temporary;
mod outputs_verify;
mod peers;
mod processes;
mod raw_region;
mod regions;
mod regressions;
mod reserved;
mod resume;
mod resume_others;
mod resume_outputs;
mod resume_parts;
mod resume_steps;
mod rule_book;
mod sandbox;
mod service;
mod signals;
mod sizes;
mod talk;
mod transfer;
mod trees;
mod trees_undone;
mod users;
mod users_files;
mod users_namespace;
mod users_relay;
mod users_third;
mod world;
