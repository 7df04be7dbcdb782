//! The examples do what they say.

use crate::example::told_by;

#[test]
fn queue_hands_over_urgent_messages_first_and_then_the_others_in_order() {
    let Some(told) = told_by("queue", &[]) else { return };
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines[..4],
        ["3 messages wait", "urgent (9)", "first (0)", "second (0)"]
    );
    assert!(lines[4].ends_with(": timed out (ETIMEDOUT)"), "{told}");
}

#[test]
fn lease_is_free_when_its_holder_has_been_killed() {
    let Some(told) = told_by("lease", &[]) else { return };
    let (held, free) = told.split_once('\n').expect("two lines");
    assert!(
        held.contains("its holder lives") && free.contains("its holder is dead"),
        "{told}"
    );
}
