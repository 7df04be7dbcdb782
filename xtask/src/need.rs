//! What a check needs from the machine, and what happens where the machine does not have it: one clear line
//! and success, or failure where everything is required (`SHMELD_REQUIRE=all`, as in CI).

/// Tells that a check was left out because `what` is missing.
/// # Errors
/// If `SHMELD_REQUIRE=all`: then nothing may be left out.
pub fn skip(what: &str) -> Result<(), String> {
    decide(what, std::env::var("SHMELD_REQUIRE").as_deref() == Ok("all"))
}

fn decide(what: &str, all_required: bool) -> Result<(), String> {
    if all_required {
        return Err(format!("needs {what}, and SHMELD_REQUIRE=all allows no skipping"));
    }
    println!("skipped: needs {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::decide;

    #[test]
    fn missing_tool_is_a_skip_unless_everything_is_required() {
        assert_eq!(decide("a unicorn", false), Ok(()));
        let reason = decide("a unicorn", true).expect_err("required");
        assert!(reason.contains("a unicorn"), "{reason}");
    }
}
