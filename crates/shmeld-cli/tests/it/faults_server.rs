//! Servers that lie in their records: it costs the client its transfer, with a clear message and exit code 4, and never leaves a wrong
//! output (rows R5, R9 and R13 of the fault catalogue from the client's side).

use crate::fake_server::{
    FakeServer, NAME, SIZE, SLOT_BYTES, assert_all_are_noticed, begin, bytes, data, done, end, entry, hole,
    meet, raw_record, record, slot,
};
use crate::world::World;

#[test]
fn records_that_are_none_are_noticed() {
    assert_all_are_noticed(
        "no-records",
        &[
            (
                "a kind that does not exist",
                |victim| slot(victim, &[record(9, 0, 0, 0, b"")]),
                "unknown kind",
            ),
            (
                "the largest kind",
                |victim| slot(victim, &[record(u16::MAX, 0, 0, 0, b"")]),
                "unknown kind",
            ),
            (
                "a status that does not exist",
                |victim| slot(victim, &[record(7, 999, 0, 0, b"")]),
                "unknown status",
            ),
            (
                "longer than its slot",
                |victim| slot(victim, &[raw_record(2, 0, SLOT_BYTES as u32 - 31, 1, 0, 0, b"")]),
                "longer than its slot",
            ),
            (
                "of the largest length",
                |victim| slot(victim, &[raw_record(3, 0, u32::MAX, 1, 0, 0, b"")]),
                "longer than its slot",
            ),
            (
                "a pad of the largest length",
                |victim| slot(victim, &[raw_record(1, 0, u32::MAX - 7, 1, 0, 0, b"")]),
                "longer than its slot",
            ),
            (
                "for another request",
                |victim| slot(victim, &[raw_record(7, 0, 0, 2, 0, 0, b"")]),
                "nobody asked for",
            ),
            (
                "for no request",
                |victim| slot(victim, &[raw_record(8, 0, 0, 0, 0, 0, b"")]),
                "nobody asked for",
            ),
            (
                "an entry cut short",
                |victim| slot(victim, &[record(2, 0, 0, SIZE, &entry(NAME, SIZE)[..47])]),
                "protocol",
            ),
            (
                "an entry with a longer name",
                |victim| {
                    let mut lying = entry(NAME, SIZE);
                    lying[36] += 1;
                    slot(victim, &[record(2, 0, 0, SIZE, &lying)]);
                },
                "protocol",
            ),
            (
                "an entry whose lengths wrap",
                |victim| {
                    let mut lying = entry(NAME, SIZE);
                    lying[36..44].copy_from_slice(&[0xff; 8]);
                    slot(victim, &[record(2, 0, 0, SIZE, &lying)]);
                },
                "protocol",
            ),
        ],
    );
}

#[test]
fn records_in_an_order_that_cannot_be_are_noticed() {
    assert_all_are_noticed(
        "no-order",
        &[
            (
                "bytes of no file",
                |victim| slot(victim, &[data(0, b"x")]),
                "out of order",
            ),
            (
                "a hole in no file",
                |victim| slot(victim, &[hole(0, 1)]),
                "out of order",
            ),
            (
                "the end of no file",
                |victim| slot(victim, &[end(0)]),
                "out of order",
            ),
            (
                "a file within a file",
                |victim| slot(victim, &[begin(SIZE), begin(SIZE)]),
                "out of order",
            ),
            (
                "DONE within a file",
                |victim| slot(victim, &[begin(SIZE), data(0, &bytes()), done()]),
                "out of order",
            ),
            (
                "an entry within a file",
                |victim| slot(victim, &[begin(SIZE), record(6, 0, 0, 0, &entry("x", 0))]),
                "out of order",
            ),
        ],
    );
}

#[test]
fn bytes_that_do_not_make_the_file_are_noticed() {
    assert_all_are_noticed(
        "no-file",
        &[
            (
                "a gap",
                |victim| slot(victim, &[begin(SIZE), data(1, &bytes()[1..]), end(SIZE), done()]),
                "out of order",
            ),
            (
                "an overlap",
                |victim| {
                    slot(
                        victim,
                        &[
                            begin(SIZE),
                            data(0, &bytes()),
                            data(50, &bytes()[50..]),
                            end(SIZE),
                            done(),
                        ],
                    )
                },
                "out of order",
            ),
            (
                "more than the size",
                |victim| slot(victim, &[begin(SIZE), data(0, &[7; 101]), end(SIZE), done()]),
                "beyond the size",
            ),
            (
                "a hole beyond the size",
                |victim| slot(victim, &[begin(SIZE), hole(0, SIZE + 1), end(SIZE), done()]),
                "beyond the size",
            ),
            (
                "a hole that wraps",
                |victim| {
                    slot(
                        victim,
                        &[begin(SIZE), data(0, b"x"), hole(1, u64::MAX), end(SIZE), done()],
                    )
                },
                "beyond the size",
            ),
            (
                "less than the size",
                |victim| slot(victim, &[begin(SIZE), data(0, &bytes()[..99]), end(SIZE), done()]),
                "END before",
            ),
            (
                "another size at the end",
                |victim| slot(victim, &[begin(SIZE), data(0, &bytes()), end(SIZE - 1), done()]),
                "END before",
            ),
        ],
    );
}

#[test]
fn answers_to_something_else_are_noticed() {
    assert_all_are_noticed(
        "no-answer",
        &[
            (
                "two sizes at the start",
                |victim| slot(victim, &[record(2, 0, 0, 1, &entry(NAME, SIZE))]),
                "contradicts",
            ),
            (
                "a start in the middle",
                |victim| slot(victim, &[record(2, 0, 1, SIZE, &entry(NAME, SIZE))]),
                "contradicts",
            ),
            (
                "a size that no file has",
                |victim| slot(victim, &[begin(u64::MAX)]),
                "contradicts",
            ),
            (
                "an answer without the file",
                |victim| slot(victim, &[record(7, 0, 0, 0, b"")]),
                "without what was asked for",
            ),
            (
                "an entry for the file",
                |victim| slot(victim, &[record(6, 0, 0, SIZE, &entry(NAME, SIZE)), done()]),
                "more than was asked for",
            ),
        ],
    );
}

/// The client said "0 files" and ended with 0: an answer without the file was no failure. Nor was one that the server called cancelled,
/// although nobody had asked for that.
#[test]
fn answer_that_is_cancelled_unasked_is_no_success() {
    let world = World::new("unasked");
    let server = FakeServer::start(&world);
    for (items, records) in [
        (0, vec![]),
        (
            1,
            vec![begin(SIZE), data(0, &bytes()[..9]), record(5, 11, SIZE, 0, b"")],
        ),
    ] {
        let outcome = meet(&world, &server, &[], |victim, _| {
            victim.attach();
            slot(victim, &[records.concat(), record(7, 11, items, items, b"")]);
        });
        outcome.expect_code(1).expect_said("(CANCELLED)");
        world.assert_no_output();
    }
    server.stop();
    world.finish();
}

/// What came first was whole; what came in its place is not believed.
#[test]
fn second_file_for_one_name_does_not_replace_the_first() {
    let world = World::new("second-file");
    let server = FakeServer::start(&world);
    let outcome = meet(&world, &server, &[], |victim, _| {
        victim.attach();
        let first = [begin(SIZE), data(0, &bytes()), end(SIZE)].concat();
        slot(victim, &[first, begin(SIZE), hole(0, SIZE), end(SIZE), done()]);
    });
    outcome.expect_code(4).expect_said("more than was asked for");
    world.assert_output(NAME, &bytes());
    server.stop();
    world.finish();
}
