//! What each command says below its options in the long help: examples, then exit codes.
//!
//! A line of an example is a command, two blanks or more, and what it is for. The tests parse each of them.

/// Examples, one a literal, and the exit codes in the words of the command.
macro_rules! after {
    ($codes:ident: $($example:literal)+) => {
        concat!("Examples:\n", $("  ", $example, "\n",)+ "\n", $codes!())
    };
}

/// Of commands that move files.
macro_rules! of_files {
    () => {
        "Exit codes:\n  \
         0    done\n  \
         1    something asked for was not delivered\n  \
         2    usage\n  \
         3    system or server: none within --wait, already running, a limit\n  \
         4    the peer died or broke the protocol\n  \
         129, 130, 143    ended by a signal"
    };
}

/// Of a message board.
macro_rules! of_boards {
    () => {
        "Exit codes:\n  \
         0    done\n  \
         1    not all readers have the message, or this reader came too late\n  \
         2    usage\n  \
         3    system, a key in use, or no message within --timeout\n  \
         4    the poster died or somebody broke the protocol\n  \
         129, 130, 143    ended by a signal"
    };
}

/// Of a channel of images.
macro_rules! of_images {
    () => {
        "Exit codes:\n  \
         0    done\n  \
         1    an image was not delivered\n  \
         2    usage\n  \
         3    system, a channel in use, or no other side within --timeout\n  \
         4    the other side died, was silent or broke the protocol\n  \
         129, 130, 143    ended by a signal"
    };
}

/// Of commands for objects.
macro_rules! of_objects {
    () => {
        "Exit codes:\n  \
         0    done\n  \
         1    not all that was asked for was done or shown\n  \
         2    usage\n  \
         3    system: a limit, or a call that the kernel refused\n  \
         129, 130, 143    ended by a signal"
    };
}

/// Of commands that only look at this machine, and of those that only write text.
macro_rules! of_looks {
    () => {
        "Exit codes:\n  \
         0    done\n  \
         1    something failed, or would fail\n  \
         2    usage\n  \
         3    system\n  \
         129, 130, 143    ended by a signal"
    };
}

/// How a segment is named.
macro_rules! addresses {
    () => {
        concat!(
            "Addresses:\n  \
             sysv:0xKEY         a key, also decimal; sysv:0 makes a segment without one\n  \
             sysv:#ID           the shmid of ipcs -m\n  \
             sysv:ftok:PATH:ID  the key that ftok makes of a file and a number from\n                     \
             1 to 255 or a character\n  \
             posix:/name        an object of /dev/shm\n\n",
            of_objects!()
        )
    };
}

/// How any object is named.
macro_rules! all_addresses {
    () => {
        concat!(
            "Addresses, as shmeld ipc ls shows them:\n  \
             posix:/name, sem:/name, mq:/name\n  \
             sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID    segments; sysv-sem: and sysv-msg:\n  \
             \x20                                          are for semaphores and queues\n  \
             memfd:#INODE, unlinked-posix:#INODE        what has lost its name and lives\n  \
             \x20                                          because somebody has it\n\n",
            of_objects!()
        )
    };
}

/// What a table of objects says.
macro_rules! columns {
    () => {
        concat!(
            "Columns:\n  \
             STATE  live: somebody has it; stale: it is ours, and whoever had it is dead;\n         \
             unheld: nobody has it, and whether anybody needs it is not known;\n         \
             unknown: that cannot be seen from here\n  \
             USED   bytes in use; of semaphores = and their values\n  \
             HELD   by how many processes, of System V segments how many attachments;\n         \
             - where nobody counts\n  \
             AGE    since its owner, mode or contents changed\n\n\
             What permission hides is hidden, or >= what can be seen. A narrow terminal\n\
             gets the columns that it has room for; a pipe gets all of them, with tabs,\n\
             sizes in bytes and ages in seconds.\n\n",
            of_objects!()
        )
    };
}

pub const SHMELD: &str = after!(of_files:
    "shmeld demo                       each step of a transfer, told"
    "shmeld cp -r photos /mnt/backup   copy files, both processes in one command"
    "shmeld serve photos               offer files; in another terminal:"
    "shmeld get -r holiday             fetch them"
    "shmeld ipc ls                     all shared memory, semaphores and queues");

pub const SHM_SERVER: &str = after!(of_files:
    "shm_server photos                 offer what is beneath photos"
    "shm_server --once                 end with the first client"
    "shm_server --name lab --group video data");
pub const SERVE: &str = after!(of_files:
    "shmeld serve photos               offer what is beneath photos"
    "shmeld serve --once               end with the first client"
    "shmeld serve --name lab --group video data");

pub const SHM_CLIENT: &str = after!(of_files:
    "shm_client cat.jpg notes.txt      fetch two files into this directory"
    "shm_client -o - notes.txt         print a file"
    "shm_client -T filelist.txt -n 100 -o out/"
    "shm_client -r --region 1M -o out/ holiday");
pub const GET: &str = after!(of_files:
    "shmeld get cat.jpg notes.txt      fetch two files into this directory"
    "shmeld get -o - notes.txt         print a file"
    "shmeld get -rp -o out/ holiday    a directory, with modes and times"
    "shmeld get --resume disk.img      go on where the last one ended");

pub const CP: &str = after!(of_files:
    "shmeld cp disk.img /mnt/backup/"
    "shmeld cp -rp photos /mnt/backup  a directory, with modes and times"
    "shmeld cp --verify a b            check a digest end to end");
pub const LS: &str = after!(of_files:
    "shmeld ls                         what the server offers at the top"
    "shmeld ls -lr holiday             all below a directory, with sizes"
    "shmeld ls '*.jpg'                 what fits a pattern");
pub const STATUS: &str = after!(of_files:
    "shmeld status                     sessions, files, bytes, refusals"
    "shmeld status --wait 5s           wait until a server can be used"
    "shmeld status --openmetrics       for Prometheus");

pub const BOARD: &str = after!(of_boards:
    "shmeld board post --key 0x5678 --readers 3 'the build is done'"
    "shmeld board read --key 0x5678");
pub const POST: &str = after!(of_boards:
    "shmeld board post --key 0x5678 --readers 3 'the build is done'"
    "shmeld board post --ftok Makefile:7 --timeout 1m -"
    "shmeld board post --key 5678 --ack '*' hello    for the client of textbooks");
pub const READ: &str = after!(of_boards:
    "shmeld board read --key 0x5678"
    "shmeld board read --ftok Makefile:7 --timeout forever");

pub const IMAGE: &str = after!(of_images:
    "shmeld image provide cameras frames/"
    "shmeld image request cameras front rear -o out/");
pub const REQUEST: &str = after!(of_images:
    "shmeld image request cameras front rear -o out/"
    "shmeld image request cameras --names-from list.txt --random -n 100 --print");
pub const PROVIDE: &str = after!(of_images:
    "shmeld image provide cameras frames/      until Ctrl-C"
    "shmeld image provide cameras frames/ -n 10 --timeout 1m");

pub const IPC: &str = after!(of_objects:
    "shmeld ipc ls --holders           all objects, and who has them"
    "shmeld ipc clean --dry-run        what is proven stale"
    "shmeld ipc doctor                 what would make shmeld fail here");
pub const IPC_LS: &str = after!(columns:
    "shmeld ipc ls --holders           all objects, and who has them"
    "shmeld ipc ls --kind sysv --sort size"
    "shmeld ipc ls --stale --explain   what can go, with the proof"
    "shmeld ipc ls --json              one object a line");
pub const CLEAN: &str = after!(of_objects:
    "shmeld ipc clean --dry-run --explain    what would go, with the proof"
    "shmeld ipc clean"
    "shmeld ipc clean --any-stale --older 1h");
pub const TOP: &str = after!(of_looks:
    "shmeld ipc top                    ? tells the keys, q ends it"
    "shmeld ipc top --mine --sort size");
pub const DOCTOR: &str = after!(of_looks:
    "shmeld ipc doctor                 findings, each with its cure"
    "shmeld ipc doctor -q && shmeld serve");
pub const SHOW: &str = concat!(
    "Examples:\n  \
     shmeld ipc show posix:/frames mq:/shmeld.default\n  \
     shmeld ipc show sysv:#3 --json\n\n",
    all_addresses!()
);
pub const CREATE: &str = after!(addresses:
    "shmeld ipc create posix:/frames --size 8M"
    "shmeld ipc create sysv:0x5678 --size 4096 --mode 600 --exclusive");
pub const OPEN: &str = after!(addresses:
    "shmeld ipc open sysv:0x5678 --size 4096");
pub const ATTACH: &str = after!(addresses:
    "shmeld ipc attach sysv:0x5678 --read-only --for 10s");
pub const READ_BYTES: &str = after!(addresses:
    "shmeld ipc read posix:/frames --length 64 | xxd"
    "shmeld ipc read sysv:#3 -o segment.bin");
pub const WRITE: &str = after!(addresses:
    "shmeld ipc write sysv:0x5678 message.txt"
    "date | shmeld ipc write posix:/frames --offset 64");
pub const RESIZE: &str = after!(addresses:
    "shmeld ipc resize posix:/frames 16M");
pub const CHMOD: &str = after!(addresses:
    "shmeld ipc chmod sysv:0x5678 640");
pub const CHOWN: &str = after!(addresses:
    "shmeld ipc chown posix:/frames 1000:44");
pub const RM: &str = after!(addresses:
    "shmeld ipc rm sysv:#3 posix:/frames");

pub const DEMO: &str = after!(of_looks:
    "shmeld demo                       the file transfer, each step told"
    "shmeld demo meld --role a         in one terminal, and in another:"
    "shmeld demo meld --role b"
    "shmeld demo image                 a requester and a provider of images");
pub const BENCH: &str = after!(of_looks:
    "shmeld bench"
    "shmeld bench --size 1G --pairs 21 --out results");
pub const COMPLETIONS: &str = after!(of_looks:
    "shmeld completions bash > /etc/bash_completion.d/shmeld"
    "shmeld completions fish > shmeld.fish");
pub const MAN: &str = after!(of_looks:
    "shmeld man /usr/local/share/man/man1");

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
pub mod tests {
    use clap::{Command, CommandFactory, Parser};

    use crate::args::{ShmClient, ShmServer, Shmeld};

    /// The commands that people see, each with the words that lead to it.
    fn commands() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        let roots = [Shmeld::command(), ShmServer::command(), ShmClient::command()];
        let mut open: Vec<_> = roots.map(|root| (root.get_name().to_owned(), root)).into();
        while let Some((words, mut command)) = open.pop() {
            command.build();
            let below = command.get_subcommands().filter(|below| !below.is_hide_set());
            open.extend(below.map(|below| (format!("{words} {}", below.get_name()), below.clone())));
            found.push((words, command.term_width(80)));
        }
        found
    }

    /// The words of the command of ours in a line of a shell; what is behind two blanks is a comment.
    pub fn words(line: &str) -> Vec<String> {
        let line = line.trim().split("  ").next().unwrap();
        let ours = line
            .split(['|', '>'])
            .map(|part| part.split("&&").next().unwrap().trim());
        let ours = ours.into_iter().find(|part| part.starts_with("sh")).unwrap();
        let quoted = ours.split('\'').enumerate();
        quoted
            .flat_map(|(place, part)| match place % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_help_fits_80_columns_and_has_what_example_and_exit_codes() {
        let all = commands();
        assert!(all.len() > 30, "{} commands", all.len());
        for (name, mut command) in all {
            let text = command.render_long_help().to_string();
            for line in text.lines().chain(command.render_help().to_string().lines()) {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            assert!(
                text.starts_with(|first: char| first.is_uppercase()),
                "{name}: {text}"
            );
            assert!(
                text.contains("\nExamples:\n  ") && text.contains("\nExit codes:\n  0    done\n"),
                "{name}: {text}"
            );
        }
    }

    /// Whether the command line is one of ours, or why not.
    pub fn parsed(words: &[String]) -> Result<(), clap::Error> {
        match words[0].as_str() {
            "shm_server" => ShmServer::try_parse_from(words).map(drop),
            "shm_client" => ShmClient::try_parse_from(words).map(drop),
            _ => Shmeld::try_parse_from(words).map(drop),
        }
    }

    /// Insists that it is one. The group of an example is on some machines only.
    pub fn assert_understood(words: &[String]) {
        if let Err(error) = parsed(words) {
            assert!(words.contains(&"--group".to_owned()), "{words:?}: {error}");
        }
    }

    #[test]
    fn every_example_is_one_of_its_command_and_is_understood() {
        for (name, mut command) in commands() {
            let text = command.render_long_help().to_string();
            let (_, examples) = text.split_once("\nExamples:\n").unwrap();
            for line in examples.split("\n\n").next().unwrap().lines() {
                let words = words(line);
                assert!(words.join(" ").starts_with(&name), "{name}: {line}");
                assert_understood(&words);
            }
        }
    }
}
