//! The examples do what they say.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::example::{example, told_by};

#[test]
fn meld_lets_two_processes_talk_in_either_order_and_leaves_nothing() {
    let Some(program) = example("meld") else { return };
    for (number, order) in [["a", "b"], ["b", "a"]].into_iter().enumerate() {
        let name = format!("/shmeld-example-{}-{number}", std::process::id());
        let start = |role: &str| -> Child {
            let mut command = Command::new(&program);
            command.args([role, &name]).stdout(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let outputs = order.map(start).map(|child| {
            let output = child
                .wait_with_output()
                .expect("it ends by itself within seconds");
            assert!(output.status.success(), "{order:?}: {output:?}");
            String::from_utf8(output.stdout).expect("text")
        });
        let told = outputs.concat();
        assert!(told.contains("A: B says 144\n"), "{told}");
        assert!(told.contains("B: A asks for the square of 12\n"), "{told}");
        assert!(!Path::new("/dev/shm").join(&name[1..]).exists(), "{name} is left");
    }
}

#[test]
fn ring_hands_every_number_from_one_process_to_the_other_and_hears_of_its_death() {
    let Some(told) = told_by("ring", &[]) else { return };
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "a ring of 4 slots of 258048 bytes each",
            "10000 messages came, each in its turn",
            "the other process is dead and nothing is left to read"
        ]
    );
}
