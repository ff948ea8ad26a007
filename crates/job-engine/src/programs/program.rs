//! [`Program`]: what is started, and what it may use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments. The program is an absolute path, or a name without a slash that is looked up in `PATH`.
    pub command: Vec<OsString>,
    /// The file that says so: the manifest, the executable itself, or the folder of class files.
    pub file: PathBuf,
    /// Variables that the manifest sets.
    pub env: BTreeMap<String, String>,
    /// Names of the executor's own variables that are passed on.
    pub pass_env: Vec<String>,
    /// What a process may use.
    pub limits: Limits,
}

/// Longest command that is shown, in characters.
const LONGEST_SHOWN: usize = 100;

/// A command as people write it, its begin if it is long.
#[must_use]
pub fn in_words(command: &[OsString]) -> String {
    let word = |word: &OsString| {
        let word = word.to_string_lossy().into_owned();
        let is_plain = !word.is_empty() && !word.contains(|sign: char| sign.is_whitespace() || "'\"".contains(sign));
        if is_plain { word } else { format!("{word:?}") }
    };
    let words = command.iter().map(word).collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// What a program and all its descendants may use; what uses more is killed, and its job FAILED.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory, in bytes.
    pub memory: Option<u64>,
    /// Processor time; of a host, for each job.
    pub cpu_time: Option<Duration>,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_in_one_line_of_a_bounded_length() {
        let shown = |words: &[&str]| in_words(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(shown(&["./greet", "--port", "3"]), "./greet --port 3");
        assert_eq!(shown(&["sh", "-c", "echo\n1", ""]), r#"sh -c "echo\n1" """#);
        assert_eq!(shown(&["ä".repeat(200).as_str()]), format!("{}…", "ä".repeat(100)));
    }
}
