//! [`check`]: whether a file is a program that this system can start.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::programs::environment::DEFAULT_PATH;

/// How much of a file is looked at: Linux reads as much of a first line (`BINPRM_BUF_SIZE`).
const BEGIN: u64 = 256;
const ELF: &[u8] = b"\x7fELF";

/// The first line of a script: who reads it.
#[derive(Debug, PartialEq, Eq)]
struct Shebang {
    interpreter: PathBuf,
    /// What comes behind it; Linux passes it as one argument.
    argument: Option<OsString>,
}

/// Whether this file can be started; answers what is wrong, for people. Scripts' interpreters are looked for, those behind
/// `env` in `path`.
pub(super) fn check(program: &Path, path: &OsStr) -> Result<(), String> {
    let found = std::fs::metadata(program).map_err(|error| format!("cannot look at it: {error}"))?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(format!("it is not executable: chmod +x {}", program.display()));
    }
    let first = begin_of(program).map_err(|error| format!("cannot read it: {error}"))?;
    if first.starts_with(ELF) {
        return Ok(());
    }
    let Some(shebang) = shebang(&first)? else {
        return Err("it is no program: begin it with a line such as #!/bin/sh".to_owned());
    };
    let Shebang { interpreter, argument } = shebang;
    if !is_executable(&interpreter) {
        return Err(format!("its interpreter {} is not there", interpreter.display()));
    }
    match argument.as_deref().and_then(|argument| named_by_env(&interpreter, argument)) {
        Some(name) if find(&name, path).is_none() => {
            Err(format!("its interpreter {} is not found in PATH", name.display()))
        }
        _ => Ok(()),
    }
}

/// Whether it begins as a script does.
pub(super) fn is_script(file: &Path) -> bool {
    begin_of(file).is_ok_and(|first| first.starts_with(b"#!"))
}

/// The file that a name without a slash means in a `PATH`; a name with one means itself.
pub(super) fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| is_executable(path));
    }
    let path = if path.is_empty() { OsStr::new(DEFAULT_PATH) } else { path };
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn begin_of(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::new();
    File::open(file)?.take(BEGIN).read_to_end(&mut first)?;
    Ok(first)
}

/// The first line of a script, if it is one (`execve(2)`).
fn shebang(first: &[u8]) -> Result<Option<Shebang>, String> {
    let Some(rest) = first.strip_prefix(b"#!") else { return Ok(None) };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err("its lines end as on Windows, with a carriage return: save it with Unix line ends".to_owned());
    }
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (interpreter, argument) = (&line[..end], line[end..].trim_ascii());
    if interpreter.is_empty() {
        return Err("its first line #! names no interpreter".to_owned());
    }
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Ok(Some(Shebang {
        interpreter: text(interpreter).into(),
        argument: (!argument.is_empty()).then(|| text(argument)),
    }))
}

/// The program that `env` is to start, if the interpreter is `env`.
fn named_by_env(interpreter: &Path, argument: &OsStr) -> Option<OsString> {
    if interpreter.file_name()? != "env" {
        return None;
    }
    let words = argument.as_bytes().split(u8::is_ascii_whitespace);
    let mut words = words.filter(|word| !word.is_empty() && !word.starts_with(b"-") && !word.contains(&b'='));
    words.next().map(|word| OsStr::from_bytes(word).to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_first_line_names_an_interpreter_and_one_argument() {
        let rows: [(&[u8], _); 5] = [
            (b"#!/bin/sh\necho", Some(("/bin/sh", None))),
            (b"#! /bin/sh -eu \n", Some(("/bin/sh", Some("-eu")))),
            (b"#!/usr/bin/env -S python3 -u", Some(("/usr/bin/env", Some("-S python3 -u")))),
            (b"echo", None),
            (b"", None),
        ];
        for (first, expected) in rows {
            let expected = expected.map(|(interpreter, argument)| Shebang {
                interpreter: interpreter.into(),
                argument: argument.map(OsString::from),
            });
            assert_eq!(shebang(first).unwrap(), expected, "{first:?}");
        }
        assert!(shebang(b"#!/bin/sh\r\necho").unwrap_err().contains("Unix line ends"));
        assert!(shebang(b"#! \n").unwrap_err().contains("names no interpreter"));
    }

    #[test]
    fn env_is_asked_whom_it_starts() {
        for (interpreter, argument, expected) in [
            ("/usr/bin/env", "python3", Some("python3")),
            ("/usr/bin/env", "-S LANG=C python3 -u", Some("python3")),
            ("/usr/bin/env", "-i", None),
            ("/bin/sh", "python3", None),
        ] {
            assert_eq!(named_by_env(Path::new(interpreter), OsStr::new(argument)), expected.map(OsString::from));
        }
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        for (content, mode, expected) in [
            ("#!/bin/sh\n", 0o755, None),
            ("#!/bin/sh\n", 0o644, Some("it is not executable: chmod +x")),
            ("#!/usr/bin/env sh\n", 0o755, None),
            ("#!/usr/bin/env no-such-shell\n", 0o755, Some("its interpreter no-such-shell is not found in PATH")),
            ("#!/no/such/shell\n", 0o755, Some("its interpreter /no/such/shell is not there")),
            ("echo\n", 0o755, Some("it is no program")),
            ("", 0o755, Some("it is no program")),
            ("\u{7f}ELF\u{2}", 0o755, None),
        ] {
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let refused = check(&file, OsStr::new("")).err();
            let fits = |expected: &str| refused.as_deref().is_some_and(|refused| refused.starts_with(expected));
            assert!(expected.map_or(refused.is_none(), fits), "{content:?}: {refused:?}");
        }
        assert_eq!(check(folder.path(), OsStr::new("")).unwrap_err(), "it is no file");
        assert!(check(&folder.path().join("b"), OsStr::new("")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_name_is_looked_for_in_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(OsStr::new("mine"), folder.path().as_os_str()), Some(file.clone()));
        assert_eq!(find(OsStr::new("mine"), OsStr::new("")), None);
        assert_eq!(find(file.as_os_str(), OsStr::new("")), Some(file));
        assert!(find(OsStr::new("sh"), OsStr::new("")).is_some());
    }
}
