//! Real pictures through `image request` and `image provide`, compared pixel by pixel with what Pillow makes of the same files.

use std::path::{Path, PathBuf};

use crate::content;
use crate::peers::{PEERS, python_with_or_skip};
use crate::processes::{Outcome, Program};
use crate::world::World;

/// A Python with Pillow, and the photographs of scikit-image, of which nothing is imported.
fn pillow_or_skip() -> Option<PathBuf> {
    let check = "import PIL, importlib.util; importlib.util.find_spec('skimage').submodule_search_locations";
    python_with_or_skip(check, "pillow, and scikit-image (--no-deps will do)")
}

/// `pictures.py WHAT FOLDERS`
fn pictures(world: &World, python: &Path, what: &str, folders: &[PathBuf]) -> Outcome {
    let script = Path::new(PEERS).join("pictures.py");
    let program = world.tool(python.to_str().unwrap()).arg("-B").arg(script);
    program.arg(what).args(folders).run()
}

/// `shmeld image provide CHANNEL SOURCE -n COUNT`
fn provide(world: &World, count: usize) -> Program {
    let program = world
        .shmeld("image")
        .arg("provide")
        .arg(&world.name()[1..])
        .arg(world.source(""));
    program.args(["-n", &count.to_string(), "--timeout", "60s"])
}

/// `shmeld image request CHANNEL -o OUTPUT --timeout 60s ARGUMENTS`
fn request(world: &World, arguments: &[&str]) -> Program {
    let program = world.shmeld("image").arg("request").arg(&world.name()[1..]);
    let program = program.arg("-o").arg(world.output("")).args(["--timeout", "60s"]);
    program.args(arguments)
}

/// A world whose source tree has pictures of every format, depth and number of channels; and their names, which have no extension.
fn gallery(world: &World, python: &Path) -> Vec<String> {
    let made = pictures(world, python, "make", &[world.source("")]).expect_code(0);
    let names: Vec<String> = made.stdout_text().lines().map(str::to_owned).collect();
    assert!(names.len() > 50, "{names:?}");
    std::fs::write(world.root().join("names"), made.stdout_text()).unwrap();
    names
}

/// Lossless formats exactly, JPEG within two levels.
fn assert_as_pillow(world: &World, python: &Path, count: usize) {
    let folders = [world.source(""), world.output("")];
    let compared = pictures(world, python, "compare", &folders).expect_code(0);
    assert_eq!(
        compared.stdout_text().trim(),
        format!("{count} compared, 0 differ")
    );
}

/// The requester is there first. Sixty files of six formats; two of them have 16 bits a channel, which is said once a file.
#[test]
fn every_picture_arrives_as_pillow_decodes_it() {
    let Some(python) = pillow_or_skip() else { return };
    let world = World::new("pictures");
    let names = gallery(&world, &python);
    let requester = request(&world, &["--names-from", "names", "--format", "raw"]).start();
    let provider = provide(&world, names.len()).run().expect_code(0);
    requester.finish().expect_code(0);
    assert_as_pillow(&world, &python, names.len());
    let deep = "made-16-png.png: its 16 bits a channel became 8";
    assert_eq!(provider.stderr.matches(deep).count(), 1, "{}", provider.stderr);
    world.finish();
}

/// The provider is there first, and goes on after a name that it does not have.
#[test]
fn ten_names_by_chance_and_one_that_is_missing() {
    let Some(python) = pillow_or_skip() else { return };
    let world = World::new("random-pictures");
    gallery(&world, &python);
    let provider = provide(&world, 12).start();
    provider.wait_for_stderr("providing");

    let missing = request(&world, &["nobody", "coffee", "--format", "raw"]).run();
    missing
        .expect_code(1)
        .expect_said("image nobody: there is neither nobody nor nobody.*");
    let by_chance = ["--names-from", "names", "--random", "-n", "10", "--format", "raw"];
    request(&world, &by_chance).run().expect_code(0);
    provider.finish().expect_code(0);

    let files = content::names_below(&world.output(""));
    let raw = files
        .iter()
        .filter(|name| name.extension().is_some_and(|it| it == "raw"))
        .count();
    // The same may have been chosen twice.
    assert!((2..=11).contains(&raw), "{raw}");
    assert_as_pillow(&world, &python, raw);
    world.finish();
}
