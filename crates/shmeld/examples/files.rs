//! A whole directory from one process to another, which can open nothing of it: `cargo run -p shmeld --example files FROM TO`. Without FROM and
//! TO it fetches these examples into a new directory. The program starts itself again as the server.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::{env, error::Error, iter};

use shmeld::ServerName;
use shmeld::file::wire::Op;
use shmeld::file::{
    Client, ClientOptions, Directory, DirectoryOptions, Event, Job, OutputOptions, Query, Server,
    ServerOptions, Target, Transfer,
};

fn main() -> Result<(), Box<dyn Error>> {
    shmeld::os::sigbus::install()?; // whoever cuts its memory off ends its session, and not this process
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.as_slice() {
        [role, from, name] if role.as_os_str() == "serve" => {
            serve(from, ServerName::new(&name.to_string_lossy())?)
        }
        [from, to] => fetch_from_another_process(from, to),
        [] => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
            fetch_from_another_process(&here, &env::temp_dir().join(id()))
        }
        _ => Err("usage: files [FROM TO]".into()),
    }
}

/// What nobody else uses.
fn id() -> String {
    format!("shmeld-example-files-{}", process::id())
}

/// Offers what is beneath a directory and nothing else, to this user's clients; until the first that fetches something is done.
fn serve(directory: &Path, name: ServerName) -> Result<(), Box<dyn Error>> {
    let source = Directory::open(directory, DirectoryOptions::default())?;
    let options = ServerOptions {
        name,
        once: true,
        ..ServerOptions::default()
    };
    Server::start(Arc::new(source), options)?.run()?;
    Ok(())
}

fn fetch_from_another_process(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    let mut server = command.arg("serve").arg(from).arg(id()).spawn()?;
    let fetched = fetch(ServerName::new(&id())?, to);
    if fetched.is_err() {
        let _ = server.kill(); // it may wait for a client for ever
    }
    server.wait()?;
    fetched
}

fn fetch(name: ServerName, to: &Path) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(ClientOptions {
        name,
        region_bytes: 1 << 20,      // of shared memory, ours; a page would do
        ..ClientOptions::default()  // which waits for a server, 30 s at most
    })?;
    let job = Job {
        query: Query::new(Op::Tree, "."),
        target: Target::Tree(to.to_owned()),
    };
    let mut transfer = Transfer::new(client, iter::once(job), OutputOptions::default());
    let mut missing = 0;
    while let Some(event) = transfer.next_event()? {
        match event {
            Event::Delivered { name, size } => println!("{} ({size} bytes)", name.escape_ascii()),
            Event::Refused { name, refusal } => {
                println!("{}: {refusal}", name.escape_ascii());
                missing += 1;
            }
            Event::Failed { name, error } => {
                println!("{}: {error}", name.escape_ascii());
                missing += 1;
            }
            _ => {}
        }
    }
    transfer.close();
    if missing > 0 {
        return Err(format!("{missing} are missing").into());
    }
    println!("{} is whole", to.display());
    Ok(())
}
