//! Decoders of others that panic are caught, and the user hears what it means. What they would print on the way, in words for whoever wrote
//! them, is for nobody: it tells where this program was built, at any length, and looks as if it had ended.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is being waited for.
    static IS_AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// What `decode` gives, or `None` if it panics; nothing of what it changed may be believed then.
pub(super) fn caught<T>(decode: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_AWAITED.get() {
                others(panic);
            }
        }));
    });
    let before = IS_AWAITED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    IS_AWAITED.set(before);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_panic_of_a_decoder_is_caught_and_silent() {
        assert_eq!(caught(|| 7), Some(7));
        assert_eq!(caught(|| -> u8 { panic!("of a decoder") }), None);
        assert!(!IS_AWAITED.get(), "later ones are told");
    }
}
