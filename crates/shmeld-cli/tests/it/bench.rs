//! `shmeld bench`: that it measures, says what it measured, and leaves nothing behind. How fast anything is is no test's business.

use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[test]
fn a_tiny_bench_measures_every_row_and_leaves_nothing_behind() {
    let world = World::new("bench");
    let outcome = world
        .shmeld("bench")
        .args(["--size", "1MiB", "--pairs", "1", "--json", "--out"])
        .arg(world.root().join("results/of today"))
        .run()
        .expect_code(0);
    let object: serde_json::Value = serde_json::from_str(&outcome.stdout_text()).unwrap();
    let written = std::fs::read_to_string(world.root().join("results/of today/bench.json")).unwrap();
    assert_eq!(written, outcome.stdout_text());
    let mode = |path| {
        let found = std::fs::metadata(world.root().join(path)).unwrap();
        found.permissions().mode()
    };
    std::fs::write(world.root().join("mine"), "").unwrap();
    assert_eq!(
        mode("results/of today/bench.json"),
        mode("mine"),
        "the user's umask"
    );
    let picture = std::fs::read_to_string(world.root().join("results/of today/bench.svg")).unwrap();
    assert!(
        picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"),
        "{picture}"
    );
    assert!(
        object["machine"]["cpus"].as_u64().is_some_and(|cpus| cpus > 0),
        "{object}"
    );
    assert_eq!(
        (&object["size"], &object["pairs"]),
        (&(1 << 20).into(), &1.into())
    );
    let rows = object["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{object}");
    for row in rows.iter().filter(|row| row["missing"].is_null()) {
        // One pair was asked for: quartiles mean nothing then, and no further pairs are run for their sake.
        assert_eq!(row["ratios"].as_array().unwrap().len(), 1, "{row}");
        assert!(row["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
        assert_eq!(row["steady"], false, "{row}");
        assert!(row["ours"]["peak_bytes"].as_u64().is_some(), "{row}");
        assert!(row["others_cpus"].as_f64().is_some(), "{row}");
    }
    world.finish();
}

/// A file stood where the results should go, which was said when everything had been measured.
#[test]
fn a_bench_that_cannot_write_its_results_says_so_before_it_measures() {
    let world = World::new("bench-out");
    std::fs::write(world.root().join("file"), "").unwrap();
    let outcome = world
        .shmeld("bench")
        .args(["--size", "1MiB", "--pairs", "1", "--out"])
        .arg(world.root().join("file/results"))
        .run()
        .expect_code(3)
        .expect_said("/file/results: not a directory (ENOTDIR)");
    assert_eq!(outcome.stdout_text(), "");
    world.finish();
}

#[test]
fn a_bench_of_no_bytes_is_refused() {
    let world = World::new("bench-zero");
    world
        .shmeld("bench")
        .args(["--size", "0"])
        .run()
        .expect_code(2)
        .expect_said("--size is at least 1");
    world.finish();
}
