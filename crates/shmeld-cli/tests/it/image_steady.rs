//! What a frame costs once both sides know each other: no memory is asked for, no segment changes its length.

use crate::gallery::Gallery;
use crate::processes::Program;
use crate::world::has_or_skip;

const NAME: &str = "7-640x480x3";
const FRAMES: usize = 100;
/// Calls that make, map or size something, as strace knows them.
const COSTLY: &str =
    "trace=mmap,munmap,mremap,brk,ftruncate,fallocate,openat,openat2,close,linkat,unlink,unlinkat";

#[test]
fn steady_state_makes_maps_and_sizes_nothing() {
    let gallery = Gallery::new("image-steady");
    gallery.put(NAME);
    if !has_or_skip("strace") {
        return;
    }
    let log = |side: &str| gallery.world().root().join(side).to_str().unwrap().to_owned();
    let (asked, served) = (log("requester"), log("provider"));
    let calls = format!("{COSTLY},write");
    let traced = |program: Program, file: &str| {
        let program = program.args(["-n", &FRAMES.to_string()]);
        program
            .wrapped(&["strace", "-f", "-qq", "-o", file, "-e", &calls])
            .start()
    };
    let provider = traced(gallery.provide(), &served);
    let requester = gallery.world().shmeld("image");
    let requester = requester.args(["request", gallery.channel(), "--print", NAME]);
    let requester = traced(requester, &asked);
    requester.finish().expect_code(0);
    provider.finish().expect_code(0);
    // Each image is told by one `write`: what stands between two of the later ones is what a frame costs.
    assert_eq!(between_lines(&asked), [""; 0], "of the requester");
    // The provider opens the picture, and the file that says its shape.
    let costs = between_lines(&served);
    let foreign: Vec<_> = costs
        .iter()
        .filter(|call| !call.contains("open") && !call.contains("close("))
        .collect();
    assert!(foreign.is_empty(), "of the provider: {foreign:?}");
    gallery.finish();
}

/// The calls between the tenth line that was written and the last but ten.
fn between_lines(log: &str) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_telling = |line: &&str| line.contains(" write(") && line.contains(NAME);
    let told: Vec<usize> = (0..lines.len())
        .filter(|index| is_telling(&lines[*index]))
        .collect();
    assert_eq!(told.len(), FRAMES, "{text}");
    let calls = lines[told[10]..told[FRAMES - 10]]
        .iter()
        .filter(|line| !is_telling(line));
    calls.map(|line| (*line).to_owned()).collect()
}
