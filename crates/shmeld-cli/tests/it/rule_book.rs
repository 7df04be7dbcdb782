//! The strict rule book, as a bystander sees it: which system calls client and server make, and how much
//! memory they share. POSIX objects only, one page, one mapping, a futex call only to sleep or to wake.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{World, has_or_skip};

/// The system calls of a process and its threads, as strace writes them: one a line.
struct Trace(Vec<String>);

impl Trace {
    fn read(world: &World, name: &str) -> Self {
        let text = std::fs::read_to_string(world.root().join(name)).unwrap();
        // With -f each line begins with the number of the thread.
        let mut calls: Vec<String> = Vec::new();
        // Where each thread's call stands that another thread's call cut in two: it counts from its beginning.
        let mut unfinished: BTreeMap<&str, usize> = BTreeMap::new();
        for (thread, call) in text
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace))
        {
            let call = call.trim_start();
            let resumed = call
                .strip_prefix("<... ")
                .and_then(|rest| rest.split_once("resumed>"));
            if let (Some((_, rest)), Some(index)) = (resumed, unfinished.remove(thread)) {
                calls[index].push_str(rest);
                continue;
            }
            let begun = call.strip_suffix(" <unfinished ...>");
            if begun.is_some() {
                unfinished.insert(thread, calls.len());
            }
            calls.push(begun.unwrap_or(call).to_owned());
        }
        Trace(calls)
    }

    /// The names of all calls.
    fn names(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .filter_map(|call| call.split_once('('))
            .map(|(name, _)| name)
            .collect()
    }

    fn calls(&self, name: &str) -> Vec<&str> {
        let start = format!("{name}(");
        self.0
            .iter()
            .map(String::as_str)
            .filter(|call| call.starts_with(&start))
            .collect()
    }

    /// The mappings that other processes can see.
    fn shared_mappings(&self) -> Vec<&str> {
        self.calls("mmap")
            .into_iter()
            .filter(|call| call.contains("MAP_SHARED"))
            .collect()
    }

    #[track_caller]
    fn expect(&self, names: &[&str]) {
        for name in names {
            assert!(!self.calls(name).is_empty(), "no {name} among {:?}", self.names());
        }
    }

    #[track_caller]
    fn refuse(&self, names: &[&str]) {
        for name in names {
            let found = self.calls(name);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

/// Other ways for processes to talk, or to share memory. Sockets and pipes between the two are among them.
const FOREIGN: [&str; 16] = [
    "socket",
    "socketpair",
    "connect",
    "accept4",
    "shmget",
    "shmat",
    "semget",
    "semop",
    "semtimedop",
    "msgget",
    "msgsnd",
    "msgrcv",
    "memfd_create",
    "process_vm_readv",
    "process_vm_writev",
    "vmsplice",
];
/// Other ways to wait than a futex.
const OTHER_WAITS: [&str; 10] = [
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "pause",
    "nanosleep",
    "clock_nanosleep",
    "rt_sigtimedwait",
];

/// One transfer through a page with both sides under strace; returns the traces of server and client.
fn traced_transfer(world: &World, sizes: &[usize]) -> (Trace, Trace) {
    traced_transfer_through("4096", world, sizes)
}

fn traced_transfer_through(region: &str, world: &World, sizes: &[usize]) -> (Trace, Trace) {
    let names: Vec<String> = sizes.iter().map(|size| format!("f{size}")).collect();
    for (name, size) in names.iter().zip(sizes) {
        world.put_random(name, *size);
    }
    let strace = |trace| ["strace", "-f", "-qq", "-s", "200", "-o", trace];
    let server = world
        .server()
        .arg("--once")
        .wrapped(&strace("server.trace"))
        .start();
    server.wait_for_stderr("serving");
    let client = world.client().args(["--region", region, "-o"]);
    let client = client.arg(world.output("")).args(&names);
    client.wrapped(&strace("client.trace")).run().expect_code(0);
    server.finish().expect_code(0);
    for (name, size) in names.iter().zip(sizes) {
        world.assert_output(name, &crate::content::of(name, *size));
    }
    (
        Trace::read(world, "server.trace"),
        Trace::read(world, "client.trace"),
    )
}

#[test]
fn one_page_is_shared_once_whatever_the_size_of_the_files() {
    if !has_or_skip("strace") {
        return;
    }
    for sizes in [&[10][..], &[300_000, 0, 5_000]] {
        let world = World::new("page");
        let (server, client) = traced_transfer(&world, sizes);
        for (who, trace) in [("server", &server), ("client", &client)] {
            let shared = trace.shared_mappings();
            assert_eq!(shared.len(), 1, "{who}: {shared:?}");
            assert!(
                shared[0].contains("4096, PROT_READ|PROT_WRITE, MAP_SHARED"),
                "{who}: {shared:?}"
            );
            trace.refuse(&["mremap"]);
        }
        world.finish();
    }
}

#[test]
fn requests_go_through_a_posix_queue_and_nothing_else() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("queue");
    let (server, client) = traced_transfer(&world, &[100, 40_000]);
    client.expect(&["mq_open", "mq_timedsend"]);
    server.expect(&["mq_open", "mq_timedreceive", "mq_unlink"]);
    client.refuse(&["mq_timedreceive", "mq_unlink"]);
    server.refuse(&["mq_timedsend"]);
    for trace in [&server, &client] {
        trace.refuse(&FOREIGN);
    }
    // Two requests and CLOSE: the requests carry no bytes of files, and all have the highest priority.
    let sent = client.calls("mq_timedsend");
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent.iter().all(|call| call.contains(", 32767, ")), "{sent:?}");
    world.finish();
}

#[test]
fn client_waits_for_bytes_by_futex_only() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("futex");
    let (server, client) = traced_transfer(&world, &[200_000]);
    // The runtime of Rust looks at standard input, output and error once, with a time-out of 0.
    let waits = |call: &&&str| !call.contains(", 0) = ");
    for name in OTHER_WAITS {
        let calls = client.calls(name);
        assert_eq!(calls.iter().find(waits), None, "{name}");
    }
    client.refuse(&["flock"]);
    for trace in [&server, &client] {
        // Locks are asked for and looked at, never waited for.
        let waits: Vec<_> = trace
            .calls("fcntl")
            .into_iter()
            .filter(|call| call.contains("SETLKW"))
            .collect();
        assert!(waits.is_empty(), "{waits:?}");
    }
    world.finish();
}

#[test]
fn object_of_the_region_is_one_page_and_gone_before_the_first_byte_is_written() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("object");
    let (server, client) = traced_transfer(&world, &[20_000]);
    let allocated = client.calls("fallocate");
    assert!(
        allocated.iter().any(|call| call.contains(", 0, 0, 4096)")),
        "{allocated:?}"
    );
    let linked = client.calls("linkat");
    assert!(
        linked[0].contains("/dev/shm/shmeld.") || linked[0].contains("\"shmeld."),
        "{linked:?}"
    );
    let named: String = linked[0]
        .split("shmeld.")
        .nth(1)
        .unwrap()
        .chars()
        .take(32)
        .collect();
    let unlinked = client
        .0
        .iter()
        .position(|call| call.starts_with("unlink") && call.contains(&named));
    let written = client
        .0
        .iter()
        .position(|call| call.starts_with("pwrite64(") && call.contains("20000"));
    assert!(
        unlinked.is_some() && unlinked < written,
        "{unlinked:?} {written:?}"
    );
    // The server opens it once to map it and once more to look at the client's lease.
    let opened: Vec<_> = server
        .0
        .iter()
        .filter(|call| call.starts_with("open") && call.contains(&named))
        .collect();
    let safe = |call: &&&String| {
        ["O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"]
            .iter()
            .all(|flag| call.contains(flag))
    };
    assert_eq!(
        (opened.len(), opened.iter().filter(safe).count()),
        (2, 2),
        "{opened:?}"
    );
    world.finish();
}

#[test]
fn every_file_is_opened_beneath_the_root_by_the_kernel_itself() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("beneath");
    let (server, _) = traced_transfer(&world, &[77]);
    let opened = server.calls("openat2");
    assert!(
        opened
            .iter()
            .any(|call| call.contains("RESOLVE_BENEATH") && call.contains("\"f77\"")),
        "{opened:?}"
    );
    world.finish();
}

#[test]
fn larger_region_is_the_same_code_with_one_larger_mapping() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("larger");
    let bytes = world.put_random("file", 3_000_000);
    world.start_server();
    let client = world
        .client()
        .args(["--region", "1M", "file", "-o"])
        .arg(world.output(""));
    client
        .wrapped(&["strace", "-f", "-qq", "-o", "trace"])
        .run()
        .expect_code(0);
    world.assert_output("file", &bytes);
    let trace = Trace::read(&world, "trace");
    let shared = trace.shared_mappings();
    assert!(
        shared.len() == 1 && shared[0].contains("1048576, PROT_READ|PROT_WRITE, MAP_SHARED"),
        "{shared:?}"
    );
    trace.refuse(&FOREIGN);
    world.finish();
}

#[test]
fn large_slot_costs_at_most_three_system_calls_on_each_side() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("calls");
    let (server, client) = traced_transfer_through("1M", &world, &[32 << 20]);
    for (trace, moves) in [(&server, "pread64("), (&client, "pwrite64(")] {
        let is_slot = |call: &String| call.starts_with(moves) && call.contains(" 253952");
        let first = trace.0.iter().position(is_slot).unwrap();
        let last = trace.0.iter().rposition(is_slot).unwrap();
        let slots = trace.0.iter().filter(|call| is_slot(call)).count();
        assert!(slots > 100, "{slots} slots");
        assert!(
            last - first <= 3 * slots,
            "{} calls for {slots} slots",
            last - first
        );
    }
    world.finish();
}

/// Each time a slot of the page had come, the client looked at the server's lease: 70,000 system calls in 256 MiB.
#[test]
fn slots_that_come_need_no_look_at_a_lease() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("leases");
    // 280 slots.
    let (server, client) = traced_transfer(&world, &[1 << 20]);
    for trace in [&server, &client] {
        let looks = trace
            .calls("fcntl")
            .iter()
            .filter(|call| call.contains("GETLK"))
            .count();
        assert!(looks < 100, "{looks} looks");
    }
    world.finish();
}
