//! What a helper process does: everything that changes or ends a whole process.
//!
//! A helper is this test binary again, see [`Helper`](crate::support::Helper). Each role lives beside the
//! tests that start it.

use crate::{
    lease, listing, semaphore, shared_memory, sigbus, sysv_limits, sysv_owner, sysv_reuse, sysv_segment,
    sysv_semaphore,
};

#[test]
#[ignore = "played by helper processes of other tests"]
fn play() {
    let Ok(role) = std::env::var("SHMELD_OS_TEST_ROLE") else {
        return;
    };
    let arguments = std::env::var("SHMELD_OS_TEST_ARGUMENTS").unwrap_or_default();
    let arguments: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
    match role.as_str() {
        "create_all_under_umask_077" => shared_memory::create_all_under_umask_077(arguments[0]),
        "fill_a_small_tmpfs" => shared_memory::fill_a_small_tmpfs(),
        "overfill_in_steps" => shared_memory::overfill_in_steps(),
        "meet_no_tmpfs" => shared_memory::meet_no_tmpfs(),
        "ignore_file_size_signal" => shared_memory::ignore_file_size_signal(),
        "post_later" => semaphore::post_later(arguments[0]),
        "hold_a_lease" => lease::hold_a_lease(arguments[0], arguments[1]),
        "leave_a_child_behind" => lease::leave_a_child_behind(arguments[0], arguments[1]),
        "drop_in_a_forked_child" => lease::drop_in_a_forked_child(),
        "list_queues" => listing::list_queues(),
        "guarded_region_vanishes" => sigbus::guarded_region_vanishes(),
        "many_threads_fault" => sigbus::many_threads_fault(),
        "fill_the_table" => sigbus::fill_the_table(),
        "foreign_fault_with_handler" => sigbus::foreign_fault_with_handler(),
        "foreign_fault_with_plain_handler" => sigbus::foreign_fault_with_plain_handler(),
        "foreign_fault_by_default" => sigbus::foreign_fault_by_default(),
        "sent_signal_by_default" => sigbus::sent_signal_by_default(),
        "sent_signal_ignored" => sigbus::sent_signal_ignored(),
        "sent_signal_with_handler" => sigbus::sent_signal_with_handler(),
        "unguarded_region_vanishes" => sigbus::unguarded_region_vanishes(),
        "attach_a_segment" => sysv_segment::attach_a_segment(arguments[0]),
        "hold_units" => sysv_semaphore::hold_units(arguments[0]),
        "hold_units_and_fork" => sysv_semaphore::hold_units_and_fork(arguments[0]),
        "change_objects_of_strangers" => {
            sysv_owner::change_objects_of_strangers(arguments[0], arguments[1], arguments[2]);
        }
        "read_values_of_changing_sets" => sysv_reuse::read_values_of_changing_sets(),
        "read_values_of_a_huge_set" => sysv_reuse::read_values_of_a_huge_set(),
        "attach_changing_segments" => sysv_reuse::attach_changing_segments(),
        "ask_for_the_number_of_an_attached_segment" => {
            sysv_reuse::ask_for_the_number_of_an_attached_segment()
        }
        "meet_small_limits" => sysv_limits::meet_small_limits(),
        other => panic!("unknown role {other}"),
    }
}
