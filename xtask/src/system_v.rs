//! System V objects that came to stay: segments, sets and queues have no names that tell whose they are, so a view taken before the tests
//! is compared with what is there afterwards.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The kinds: the file in `/proc/sysvipc`, the column of the number, what it is called, and how `ipcrm` is told to remove it.
const KINDS: [Kind; 3] = [
    Kind {
        file: "shm",
        number: "shmid",
        name: "segment",
        cure: "ipcrm -m",
    },
    Kind {
        file: "sem",
        number: "semid",
        name: "set of semaphores",
        cure: "ipcrm -s",
    },
    Kind {
        file: "msg",
        number: "msqid",
        name: "message queue",
        cure: "ipcrm -q",
    },
];
/// The bit in the mode of a segment that was removed and goes with its last user.
const MARKED: u32 = 0o1000;

struct Kind {
    file: &'static str,
    number: &'static str,
    name: &'static str,
    cure: &'static str,
}

/// What was there at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct View(BTreeSet<Object>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    file: String,
    /// Never given to another object before some thousands have come and gone.
    number: String,
    key: String,
}

impl View {
    /// All that is there now; `None` where the kernel does not tell.
    pub fn of_all() -> Option<Self> {
        Self::of(|_| true)
    }

    /// What is there now and can have been left by a test. Root runs tests as several users, everybody else only as itself. A segment whose
    /// creator lives is in use, by our tests or by anybody else, and one that is marked has been removed.
    pub fn of_abandoned(uid: u32) -> Option<Self> {
        Self::of(|row| row.is_abandoned(uid, is_alive))
    }

    fn of(counts: impl Fn(&Row) -> bool) -> Option<Self> {
        let mut objects = BTreeSet::new();
        for kind in &KINDS {
            let table = fs::read_to_string(Path::new("/proc/sysvipc").join(kind.file)).ok()?;
            let rows = read(kind, &table).into_iter().filter(&counts);
            objects.extend(rows.map(|row| row.object));
        }
        Some(Self(objects))
    }

    /// What is here and not in `before`, a line for each.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let told = |object: &Object| {
            let kind = KINDS.iter().find(|kind| kind.file == object.file)?;
            let (name, cure, number) = (kind.name, kind.cure, &object.number);
            Some(format!(
                "System V {name} {number}, key {} ({cure} {number})",
                object.key
            ))
        };
        self.0.difference(&before.0).filter_map(told).collect()
    }

    /// As text for a file: a line for each object.
    pub fn save(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, object| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{} {} {}", object.file, object.number, object.key);
            text
        })
    }

    /// What [`View::save`] made; lines of another kind are passed over.
    pub fn load(text: &str) -> Self {
        let object = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [file, number, key] => Some(Object {
                file: file.to_owned(),
                number: number.to_owned(),
                key: key.to_owned(),
            }),
            _ => None,
        };
        Self(text.lines().filter_map(object).collect())
    }
}

/// What a table of `/proc/sysvipc` says of an object.
struct Row {
    object: Object,
    creator_uid: u32,
    /// Of segments only.
    creator_pid: Option<String>,
    mode: u32,
}

impl Row {
    fn is_abandoned(&self, uid: u32, is_alive: impl Fn(&str) -> bool) -> bool {
        let is_ours = uid == 0 || self.creator_uid == uid;
        is_ours && self.mode & MARKED == 0 && !self.creator_pid.as_deref().is_some_and(is_alive)
    }
}

fn read(kind: &Kind, table: &str) -> Vec<Row> {
    let mut lines = table.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |name: &str| {
            let index = columns.iter().position(|column| *column == name)?;
            fields.get(index).copied()
        };
        // The kernel writes the key as a signed number.
        let key = field("key")?.parse::<i32>().ok()?.cast_unsigned();
        Some(Row {
            object: Object {
                file: kind.file.to_owned(),
                number: field(kind.number)?.to_owned(),
                key: format!("{key:#010x}"),
            },
            creator_uid: field("cuid")?.parse().ok()?,
            creator_pid: field("cpid").map(str::to_owned),
            mode: u32::from_str_radix(field("perms")?, 8).ok()?,
        })
    };
    lines.filter_map(row).collect()
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[cfg(test)]
mod tests {
    use super::{KINDS, View, read};

    const SEGMENTS: &str = "\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      ctime
1073741824          7   600                  4096    10    10      0     0     0     0     0          0 1795302299
        -1          8   660                    27    11    11      1  1000  1000  1000  1000          0 1795302299
         0          9  1600                  4096    10    10      1     0     0     0     0          0 1795302299
";
    const SETS: &str = "\
       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
      4660         12   600          5     0     0     0     0 1795302299 1795302299
";

    fn view(uid: u32, segments: &str, sets: &str) -> View {
        let rows = read(&KINDS[0], segments).into_iter().chain(read(&KINDS[1], sets));
        let abandoned = rows.filter(|row| row.is_abandoned(uid, |pid| pid == "12"));
        View(abandoned.map(|row| row.object).collect())
    }

    #[test]
    fn what_is_new_is_named_with_its_key_and_its_cure() {
        let before = view(0, "", SETS);
        let told = view(0, SEGMENTS, SETS).since(&before);
        assert_eq!(
            told,
            [
                "System V segment 7, key 0x40000000 (ipcrm -m 7)",
                "System V segment 8, key 0xffffffff (ipcrm -m 8)",
            ]
        );
        assert_eq!(before.since(&view(0, SEGMENTS, SETS)), [""; 0]);
        assert_eq!(
            view(0, "", SETS).since(&view(0, "", "")),
            ["System V set of semaphores 12, key 0x00001234 (ipcrm -s 12)"]
        );
    }

    #[test]
    fn other_users_and_who_lives_keep_theirs() {
        assert_eq!(view(1000, SEGMENTS, SETS).since(&view(0, "", "")).len(), 1);
        let living = SEGMENTS.replace(" 11 ", " 12 ");
        assert_eq!(view(1000, &living, SETS), View::load(""));
    }

    #[test]
    fn a_view_survives_its_file_and_mangled_lines_are_passed_over() {
        let view = view(0, SEGMENTS, SETS);
        assert_eq!(View::load(&view.save()), view);
        assert_eq!(View::load("shm\n\nshm 1\n"), View::load(""));
        assert!(read(&KINDS[0], "\nx y\n").is_empty());
    }
}
