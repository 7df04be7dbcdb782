//! What `packaging/containers` claims: two containers with roots, processes, networks and files of their own, which have the IPC namespace and
//! /dev/shm in common and nothing else, as those of a pod.

use crate::island::Island;
use crate::processes::Program;
use crate::world::World;

/// Makes a root of its own around a program: the machine's libraries, the programs under test, one directory as /data.
const CONTAINER: &str = r#"
set -e
data=$1 programs=$2 root=$3; shift 3
mount -t tmpfs none "$root"
mkdir -p "$root/usr" "$root/data" "$root/programs" "$root/proc" "$root/tmp" "$root/dev/shm" "$root/dev/mqueue"
for name in bin lib lib64; do
    if [ -L "/$name" ]; then cp -a "/$name" "$root/$name"; elif [ -d "/$name" ]; then mkdir "$root/$name"; mount --bind "/$name" "$root/$name"; fi
done
mount --bind /usr "$root/usr"
mount --bind "$data" "$root/data"
mount --bind "$programs" "$root/programs"
mount --rbind /dev/shm "$root/dev/shm"
mount -t mqueue none "$root/dev/mqueue"
mount -t proc none "$root/proc"
exec chroot --userspec 1000:1000 "$root" "$@"
"#;

/// The program in a container of the pod, with `data` as its /data.
fn contained(world: &World, pod: &Island, data: &str, name: &str, words: &[&str]) -> Program {
    let root = world.root().join(name);
    std::fs::create_dir_all(&root).unwrap();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_shmeld"))
        .parent()
        .unwrap();
    let container = world
        .tool("unshare")
        .args([
            "--mount",
            "--pid",
            "--uts",
            "--net",
            "--fork",
            "--kill-child",
            "--",
        ])
        .args(["sh", "-c", CONTAINER, name, data])
        .arg(programs)
        .arg(root)
        .args(words);
    pod.with(container)
}

#[test]
fn containers_with_a_common_ipc_namespace_and_nothing_else_exchange_files_and_messages() {
    let world = World::new("pod");
    let Some(pod) = Island::or_skip(&world) else {
        return;
    };
    let bytes = world.put_random("file", 3_000_001);
    let (offered, received) = (world.source(""), world.output(""));
    std::fs::create_dir_all(&received).unwrap();
    world
        .tool("chown")
        .args(["-R", "1000:1000"])
        .args([&offered, &received])
        .run()
        .expect_code(0);
    let (offered, received) = (offered.to_str().unwrap(), received.to_str().unwrap());
    let server = ["/programs/shm_server", "--once", "/data"];
    let server = contained(&world, &pod, offered, "first", &server).start();
    let client = ["/programs/shm_client", "--wait", "30s", "-o", "/data/", "file"];
    contained(&world, &pod, received, "second", &client)
        .run()
        .expect_code(0);
    server.finish().expect_code(0);
    world.assert_output("file", &bytes);

    let post = [
        "/programs/shmeld",
        "board",
        "post",
        "--key",
        "0x77",
        "--readers",
        "1",
        "from the first",
    ];
    let poster = contained(&world, &pod, offered, "first", &post).start();
    let read = ["/programs/shmeld", "board", "read", "--key", "0x77"];
    let read = contained(&world, &pod, received, "second", &read)
        .run()
        .expect_code(0);
    assert_eq!(read.stdout_text(), "from the first");
    poster.finish().expect_code(0);

    let left = pod.with(world.ipc(&["ls", "--json", "--kind", "posix,sysv"]));
    let left = left.run().expect_code(0).json_lines();
    assert!(left.iter().all(|line| line["event"] != "object"), "{left:?}");
    pod.leave();
    world.finish();
}
