//! No lock of the C library lies in memory that a peer can write: the lists of a `pthread_mutex_t` would be a write to any address, and
//! `sem_post` ends the process when its words are forged. What both sides ring is operated by `wait` in shmeld-core.

use super::finding::Finding;
use super::lexer::Kind;
use super::source::Source;

/// The only file that calls the C library's semaphores: named ones, for those who expect them.
const SEMAPHORE_FILE: &str = "crates/shmeld-os/src/posix/semaphore.rs";
/// Semaphores of System V are objects of the kernel and lie in nobody's memory; C names their parts alike.
const SET_FILES: [&str; 2] = [
    "crates/shmeld-os/src/sysv/semaphore.rs",
    "crates/shmeld-os/src/sysv/operation.rs",
];
/// How the names of its locks begin.
const PREFIXES: [&str; 2] = ["pthread_", "sem_"];

pub fn check(source: &Source<'_>) -> Vec<Finding> {
    // Tests may need a lock of the C library to show what it does.
    if source.path == SEMAPHORE_FILE || SET_FILES.contains(&source.path) || source.path.contains("/tests/") {
        return Vec::new();
    }
    let is_lock = |text: &str| PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    let locks = source
        .code
        .iter()
        .filter(|token| token.kind == Kind::Word && is_lock(token.text));
    locks
        .map(|token| {
            let what = format!("`{}`, a lock of the C library", token.text);
            source.finding(
                token.line,
                what,
                "`wait` of shmeld-core, or std for memory of our own,",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{SEMAPHORE_FILE, Source, check};

    #[test]
    fn lock_of_the_c_library_is_found_wherever_it_is_called() {
        let text = "fn f() {\n unsafe { libc::pthread_mutex_lock(m) };\n unsafe { sem_post(s) };\n}\n";
        for path in ["crates/shmeld-core/src/wait.rs", "crates/shmeld-os/src/futex.rs"] {
            let lines: Vec<usize> = check(&Source::new(path, text))
                .iter()
                .map(|finding| finding.line)
                .collect();
            assert_eq!(lines, [2, 3], "{path}");
        }
        assert_eq!(check(&Source::new(SEMAPHORE_FILE, text)), []);
    }

    #[test]
    fn words_about_locks_pass() {
        let text =
            "/// `sem_post(s)`\n#[doc(alias = \"sem_post\")]\nfn post() { explain(\"pthread_create\") }\n";
        assert_eq!(check(&Source::new("crates/shmeld-core/src/wait.rs", text)), []);
    }
}
