//! One file a command. Parts of `bench` and `demo` are public for the comparison in benches/compare, which measures the same way.

pub mod bench;
pub mod bench_arena;
pub mod bench_cpu;
pub mod bench_document;
pub mod bench_lock_step;
pub mod bench_machine;
pub mod bench_memory;
pub mod bench_numbers;
pub mod bench_pairs;
pub mod bench_plot;
pub mod bench_race;
pub mod bench_report;
pub mod bench_text;
pub mod board;
pub mod cp;
pub mod demo;
mod demo_board;
mod demo_board_cast;
mod demo_compare;
mod demo_image;
mod demo_leftovers;
mod demo_material;
mod demo_meld;
mod demo_meld_layout;
mod demo_meld_object;
mod demo_meld_role;
mod demo_meld_wait;
mod demo_page;
pub mod demo_process;
mod demo_run;
pub mod demo_stage;
mod demo_story;
mod demo_tree;
pub mod documents;
pub mod get;
pub mod image;
mod image_provide;
mod image_request;
pub mod ipc;
mod ipc_attach;
mod ipc_bytes;
mod ipc_change;
mod ipc_clean;
mod ipc_create;
mod ipc_doctor;
mod ipc_ls;
mod ipc_object;
mod ipc_show;
mod ipc_show_object;
mod ipc_table;
mod ipc_top;
mod ipc_top_draw;
mod ipc_top_model;
mod ipc_top_sample;
mod ipc_tree;
pub mod ls;
pub mod serve;
pub mod status;

use shmeld::file::{ClientOptions, OutputOptions};
use shmeld::os::process;

use crate::args::{ClientArgs, OutputArgs};
use crate::program::Program;
use crate::values::{RegionSize, Wait};

/// The region that `auto` means for more than a little. Measured on tmpfs and ext4: from 768 KiB to 2 MiB nothing changes, smaller ones
/// are slower because the sides wait for each other more often, larger ones because they no longer fit the second-level cache.
const REGION_BYTES: u64 = 1 << 20;

/// What the options of a client mean to the library. `wait` is the command's default.
fn client_options(program: &Program, args: &ClientArgs, region: RegionSize, wait: Wait) -> ClientOptions {
    let (region_bytes, or_one_page) = match region {
        RegionSize::Auto => (REGION_BYTES, true),
        RegionSize::Bytes(bytes) => (bytes, false),
    };
    ClientOptions {
        name: args.name.clone(),
        wait: args.wait.unwrap_or(wait).0,
        server_uids: args.server_uid.clone(),
        region_bytes,
        or_one_page,
        interrupt: program.interrupt(),
        ..ClientOptions::default()
    }
}

/// From here on the process has the user's umask again: what is made now gets its mode at once.
fn output_options(program: &Program) -> OutputOptions {
    // Directories are filled before they get their modes: the owner's bits must not be missing meanwhile.
    let process_umask = program.umask & 0o077;
    process::set_umask(process_umask);
    OutputOptions {
        umask: program.umask,
        process_umask: Some(process_umask),
        ..OutputOptions::default()
    }
}

/// The same for what a transfer makes.
fn transfer_options(program: &Program, args: &OutputArgs) -> OutputOptions {
    OutputOptions {
        preserve: args.preserve,
        no_clobber: args.no_clobber,
        sync: args.sync,
        ..output_options(program)
    }
}
