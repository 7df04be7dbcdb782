//! Who transfers files: ours, programs of others, and the roles of this program.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shmeld_cli::commands::bench_arena::Arena;
use shmeld_cli::commands::bench_numbers::Sample;
use shmeld_cli::commands::bench_race::{Contestant, Placement, Race, time};
use shmeld_cli::commands::demo_process::{Owned, Trouble, spawn};

use crate::runner::{Arrival, Runner};
use crate::tools::NGINX;

/// How long a rival's server may take to come up, or to end.
const SERVER_LIMIT: Duration = Duration::from_secs(10);
/// What socat moves at a time, as much as a slot of ours holds; its default is 8 KiB.
const SOCAT_BYTES: &str = "262144";

fn large_file(arena: &Arena<'_>) -> Arrival {
    Arrival::Files(vec![(arena.source(), arena.output())])
}

/// `shmeld get` of the large file from a server that stands ready. No region is the program's own choice.
pub fn get<'a>(
    arena: &'a Arena<'a>,
    placement: Placement,
    region_bytes: Option<u64>,
) -> Result<Runner<'a>, Trouble> {
    get_file(
        arena,
        placement,
        region_bytes,
        Arena::SOURCE,
        Some(arena.output()),
    )
}

/// The same without an output: `shmeld get -o /dev/null`.
pub fn get_in_place<'a>(
    arena: &'a Arena<'a>,
    placement: Placement,
    region_bytes: u64,
) -> Result<Runner<'a>, Trouble> {
    get_file(arena, placement, Some(region_bytes), Arena::SOURCE, None)
}

pub fn get_file<'a>(
    arena: &'a Arena<'a>,
    placement: Placement,
    region_bytes: Option<u64>,
    name: &str,
    output: Option<PathBuf>,
) -> Result<Runner<'a>, Trouble> {
    let mut race = Race::prepare(arena, placement)?;
    let source = arena.directory().join(name);
    let target = output.clone().unwrap_or_else(|| PathBuf::from("/dev/null"));
    let mut command = race.get(name, &target);
    let mut shown = "shmeld get".to_owned();
    if let Some(bytes) = region_bytes {
        command.args(["--region", &bytes.to_string()]);
        shown += if bytes == 4096 {
            " --region 4096"
        } else {
            " --region 1MiB"
        };
    }
    if output.is_none() {
        shown += " -o /dev/null";
    }
    Ok(Runner {
        name: shown,
        bytes: length(&source)?,
        server: Some(race.server_pid()),
        arrival: output.map_or(Arrival::Nothing, |output| Arrival::Files(vec![(source, output)])),
        run: Box::new(move || race.time_client(&mut command)),
    })
}

fn length(path: &Path) -> Result<u64, String> {
    let found = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(found.len())
}

/// The textbook's transfer, on a short file.
pub fn lock_step<'a>(arena: &'a Arena<'a>, placement: Placement) -> Runner<'a> {
    let mut race = Race::without_server(arena, placement);
    Runner {
        name: "lock-step semaphores".to_owned(),
        bytes: arena.short_bytes(),
        server: None,
        arrival: Arrival::Files(vec![(arena.short_source(), arena.output())]),
        run: Box::new(move || race.transfer(Contestant::LockStep)),
    }
}

/// A rival that is one process: its arguments, then source and output.
pub fn program<'a>(arena: &'a Arena<'a>, cpu: Option<u32>, words: &[&str]) -> Runner<'a> {
    file_by_program(
        arena,
        cpu,
        words,
        &arena.source(),
        length(&arena.source()).unwrap_or_default(),
    )
}

pub fn file_by_program<'a>(
    arena: &'a Arena<'a>,
    cpu: Option<u32>,
    words: &[&str],
    source: &Path,
    bytes: u64,
) -> Runner<'a> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(source).arg(arena.output());
    Runner {
        name: words.join(" "),
        bytes,
        server: None,
        arrival: Arrival::Files(vec![(source.to_owned(), arena.output())]),
        run: Box::new(move || time(arena, &mut command, cpu, || ())),
    }
}

/// A rival that this program plays: it makes the output from the source, or only reads the source.
pub fn role<'a>(arena: &'a Arena<'a>, cpu: Option<u32>, role: &str, name: &str) -> Runner<'a> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["role", role]).arg(arena.source());
    let makes_output = role != "read";
    if makes_output {
        command.arg(arena.output());
    }
    Runner {
        name: name.to_owned(),
        bytes: arena.bytes,
        server: None,
        arrival: if makes_output {
            large_file(arena)
        } else {
            Arrival::Nothing
        },
        run: Box::new(move || time(arena, &mut command, cpu, || ())),
    }
}

/// A command that makes the directory `output` from `tree`.
pub fn tree<'a>(
    arena: &'a Arena<'a>,
    name: &str,
    bytes: u64,
    tree: &Path,
    mut command: Command,
) -> Runner<'a> {
    Runner {
        name: name.to_owned(),
        bytes,
        server: None,
        arrival: Arrival::Tree(tree.to_owned(), arena.output()),
        run: Box::new(move || time(arena, &mut command, None, || ())),
    }
}

/// socat reads, socat writes, a unix socket between them. The sender stands ready before the clock starts.
pub fn socat<'a>(arena: &'a Arena<'a>, sockets: &Path) -> Runner<'a> {
    let socket = sockets.join("socat");
    Runner {
        name: "socat, unix socket".to_owned(),
        bytes: arena.bytes,
        server: None,
        arrival: large_file(arena),
        run: Box::new(move || run_socat(arena, &socket)),
    }
}

fn run_socat(arena: &Arena<'_>, socket: &Path) -> Result<Sample, Trouble> {
    let words = ["-u", "-b", SOCAT_BYTES];
    // A sender that failed may have left its own.
    let _ = fs::remove_file(socket);
    let mut sender = Command::new("socat");
    sender
        .args(words)
        .arg(format!("OPEN:{},rdonly", arena.source().display()));
    sender.arg(format!("UNIX-LISTEN:{}", socket.display()));
    let mut sender = Owned(spawn(sender.stdin(Stdio::null()), None)?.0);
    wait_until("socat", || socket.exists())?;
    let mut receiver = Command::new("socat");
    receiver
        .args(words)
        .arg(format!("UNIX-CONNECT:{},retry=9,interval=0.01", socket.display()));
    receiver.arg(format!("CREATE:{}", arena.output().display()));
    let sample = time(arena, &mut receiver, None, || ())?;
    let used = arena.site.meters.children;
    let before = used();
    let status = sender.wait(SERVER_LIMIT)?;
    if !status.success() {
        return Err(Trouble::Failed(format!("socat: the sender: {status}")));
    }
    Ok(Sample {
        writer_cpu: used() - before,
        ..sample
    })
}

fn wait_until(who: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + SERVER_LIMIT;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("{who} did not start in {SERVER_LIMIT:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A web server of our own on a unix socket, one process, `sendfile` on.
#[derive(Debug)]
struct Nginx(Owned);

impl Nginx {
    fn start(arena: &Arena<'_>, directory: &Path, socket: &Path) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("nginx: {error}");
        fs::create_dir_all(directory).map_err(fail)?;
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration(arena.directory(), directory, socket)).map_err(fail)?;
        let program = NGINX.find().ok_or_else(|| NGINX.complaint())?;
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"]);
        let child: Child = spawn(command.stdin(Stdio::null()), None)?.0;
        let nginx = Self(Owned(child));
        wait_until("nginx", || UnixStream::connect(socket).is_ok())?;
        Ok(nginx)
    }
}

fn configuration(root: &Path, directory: &Path, socket: &Path) -> String {
    let (root, directory, socket) = (root.display(), directory.display(), socket.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/temporary;\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr crit;\nevents {{}}\nhttp {{\n{temporary}  \
         access_log off;\n  sendfile on;\n  default_type application/octet-stream;\n  \
         server {{ listen unix:{socket}; root {root}; }}\n}}\n"
    )
}

/// curl fetches from nginx.
pub fn nginx<'a>(arena: &'a Arena<'a>, sockets: &Path) -> Result<Runner<'a>, Trouble> {
    let kind = if arena.is_on_tmpfs() { "tmpfs" } else { "disk" };
    let directory = sockets.join(format!("nginx-{kind}"));
    let socket = directory.join("socket");
    // A socket that an earlier row left behind would refuse the next server.
    let _ = fs::remove_file(&socket);
    let nginx = Nginx::start(arena, &directory, &socket)?;
    let pid = nginx.0.0.id();
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--unix-socket"]).arg(&socket);
    command
        .arg("-o")
        .arg(arena.output())
        .arg(format!("http://localhost/{}", Arena::SOURCE));
    Ok(Runner {
        name: "nginx + curl, unix socket".to_owned(),
        bytes: arena.bytes,
        server: Some(pid),
        arrival: large_file(arena),
        run: Box::new(move || {
            // It lives as long as this closure.
            let pid = nginx.0.0.id();
            let used = arena.site.meters.process;
            let before = used(pid);
            let sample = time(arena, &mut command, None, || ())?;
            Ok(Sample {
                writer_cpu: used(pid) - before,
                ..sample
            })
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_of_nginx_names_nothing_outside_of_its_directory_but_the_files() {
        let text = configuration(Path::new("/files"), Path::new("/own"), Path::new("/own/socket"));
        assert!(text.contains("listen unix:/own/socket; root /files;"), "{text}");
        assert!(text.contains("sendfile on;") && text.contains("daemon off;"));
        let paths = text
            .split([' ', ';', ':', '\n'])
            .filter(|word| word.starts_with('/'));
        assert!(
            paths
                .clone()
                .all(|path| path == "/files" || path.starts_with("/own/")),
            "{text}"
        );
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
