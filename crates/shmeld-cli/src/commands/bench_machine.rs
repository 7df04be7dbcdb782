//! What this machine is: figures without it mean nothing.

use std::fs;

/// See the module.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cpus: usize,
    pub model: String,
    /// Whether the CPUs say that they are a part of another machine.
    pub is_virtual: bool,
    pub kernel: String,
    pub memory_bytes: u64,
    /// The type of the file system of the rows "on disk", where there are such rows.
    pub disk: Option<String>,
}

impl Machine {
    /// Looks around. What cannot be found out is called unknown.
    #[must_use]
    pub fn look(disk: Option<String>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: u64 = value_of(&meminfo, "MemTotal")
            .and_then(|text| text.trim_end_matches(" kB").parse().ok())
            .unwrap_or_default();
        let release =
            fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned());
        let flags = value_of(&cpuinfo, "flags").unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: value_of(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            is_virtual: flags.split(' ').any(|flag| flag == "hypervisor"),
            // The version, without the name that its builder gave it.
            kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
            memory_bytes: kib * 1024,
            disk,
        }
    }

    /// All but the memory, in one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let kind = if self.is_virtual { "virtual " } else { "" };
        let disk = self
            .disk
            .as_deref()
            .map_or(String::new(), |disk| format!(", disk {disk}"));
        format!(
            "{} {kind}CPUs ({}), Linux {}{disk}",
            self.cpus, self.model, self.kernel
        )
    }
}

/// The value behind `key` and a colon.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_a_colon() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 1: x\nMemTotal:       24684084 kB\n";
        assert_eq!(value_of(text, "model name"), Some("A CPU @ 1: x"));
        assert_eq!(value_of(text, "MemTotal"), Some("24684084 kB"));
        assert_eq!(value_of(text, "nothing"), None);
    }

    #[test]
    fn machine_says_what_it_is_in_a_line() {
        let machine = Machine {
            cpus: 2,
            model: "A".to_owned(),
            is_virtual: true,
            kernel: "6.1".to_owned(),
            memory_bytes: 1,
            disk: Some("ext4".to_owned()),
        };
        assert_eq!(machine.in_words(), "2 virtual CPUs (A), Linux 6.1, disk ext4");
        assert!(Machine::look(None).in_words().contains("CPUs ("));
    }
}
