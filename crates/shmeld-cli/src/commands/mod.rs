//! One file a command.

pub mod bench;
pub mod cp;
pub mod demo;
pub mod documents;
pub mod get;
pub mod ls;
pub mod serve;
pub mod status;

use shmeld::file::{ClientOptions, OutputOptions};

use crate::args::{ClientArgs, OutputArgs};
use crate::program::Program;
use crate::values::Wait;

/// What the options of a client mean to the library. `wait` is the command's default.
fn client_options(program: &Program, args: &ClientArgs, region_bytes: u64, wait: Wait) -> ClientOptions {
    ClientOptions {
        name: args.name.clone(),
        wait: args.wait.unwrap_or(wait).0,
        server_uids: args.server_uid.clone(),
        region_bytes,
        interrupt: program.interrupt(),
        ..ClientOptions::default()
    }
}

fn output_options(program: &Program, args: &OutputArgs) -> OutputOptions {
    OutputOptions {
        umask: program.umask,
        preserve: args.preserve,
        no_clobber: args.no_clobber,
        sync: args.sync,
    }
}
