//! The rivals that are programs of others, and how to get them.

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    pub program: &'static str,
    pub package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

pub const CP: Tool = tool("cp", "coreutils");
pub const RSYNC: Tool = tool("rsync", "rsync");
pub const TAR: Tool = tool("tar", "tar");
pub const SOCAT: Tool = tool("socat", "socat");
pub const NGINX: Tool = tool("nginx", "nginx-light");
pub const CURL: Tool = tool("curl", "curl");

impl Tool {
    /// What is said where it is not installed.
    pub fn complaint(self) -> String {
        format!("missing: {} (apt-get install {})", self.program, self.package)
    }

    /// Its path. nginx lies where only root's PATH leads.
    pub fn find(self) -> Option<std::path::PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let more = ["/usr/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
        std::env::split_paths(&path)
            .chain(more)
            .map(|directory| directory.join(self.program))
            .find(|file| file.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_named_with_its_package() {
        let unknown = tool("shmeld-nonesuch", "nonesuch");
        assert_eq!(unknown.find(), None);
        assert_eq!(
            unknown.complaint(),
            "missing: shmeld-nonesuch (apt-get install nonesuch)"
        );
        assert!(CP.find().is_some_and(|path| path.ends_with("cp")));
    }
}
