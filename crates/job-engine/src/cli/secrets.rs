//! Passwords: where they are read, and how those in arguments and environment are kept from everybody else.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow, bail};
use clap::builder::{StringValueParser, TypedValueParser};
use rustix::io::{FdFlags, fcntl_setfd};
use secrecy::SecretString;

use crate::instance::password;
use crate::process::password_file;
use crate::process::password_file::LONGEST_PASSWORD;

/// The option of the original engines.
const OPTION: &str = "--ss-pass";
/// What every prefix of it begins with that is no other option's.
const SHORTEST_PREFIX: &str = "--ss-p";
/// The option that names a file instead.
const FILE_OPTION: &str = "--ss-pass-file";

/// The environment variable with `ZooKeeper`'s password. No option has it: arguments can be read by everybody.
pub(super) const ZK_PASSWORD_VARIABLE: &str = "SLIPSTREAM_ZK_PASS";
/// The one that names a file with it instead.
pub(super) const ZK_PASSWORD_FILE_VARIABLE: &str = "SLIPSTREAM_ZK_PASS_FILE";

/// Variables that hold passwords, each with the one that names a file instead.
const VARIABLES: [(&str, &str); 3] = [
    ("SLIPSTREAM_PASS", "SLIPSTREAM_PASS_FILE"),
    (ZK_PASSWORD_VARIABLE, ZK_PASSWORD_FILE_VARIABLE),
    (password::PASSWORD_VARIABLE, password::PASSWORD_FILE_VARIABLE),
];
/// Where the units of the original engines have the arguments.
const UNIT_WORDS: &str = "DAEMON_ARGS";

/// Takes any text as an argument, and does not show it again.
pub fn parser() -> impl TypedValueParser<Value = SecretString> {
    StringValueParser::new().map(SecretString::from)
}

/// The administrator's password, if the environment says what it is or in which file it stands.
pub fn administrators() -> anyhow::Result<Option<SecretString>> {
    match variable(password::PASSWORD_FILE_VARIABLE) {
        Some(file) => from_file(Path::new(&file)).map(Some),
        None => Ok(std::env::var(password::PASSWORD_VARIABLE).ok().map(SecretString::from)),
    }
}

/// An address without user and password, which do not belong there, so that nobody is shown them.
pub fn without_login(address: &str) -> String {
    let Some((before, host)) = address.rsplit_once('@') else { return address.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => format!("{scheme}://{host}"),
        _ => host.to_owned(),
    }
}

/// `ZooKeeper`'s password, if the environment says what it is.
pub fn zookeepers() -> Option<SecretString> {
    std::env::var(ZK_PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()).map(SecretString::from)
}

/// The password in the first line of a file.
pub fn from_file(path: &Path) -> anyhow::Result<SecretString> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    first_line(file).with_context(|| format!("no password in {}", path.display()))
}

/// The password in the first line.
pub fn first_line(source: impl Read) -> anyhow::Result<SecretString> {
    password_file::first_line(source).context("the first line cannot be read")?.context("the first line is empty")
}

/// A password that is an argument of this process everybody on this machine can read; one in its environment is handed on
/// to every child, and shows to whoever may look at the process for as long as it lives. If there is one, this starts the
/// program again, in its own place, with pipes that hold the passwords instead; it returns only if there is nothing to
/// hide.
pub fn hide() -> anyhow::Result<()> {
    let (mut arguments, found) = without_password(std::env::args_os().skip(1));
    let variables: Vec<_> = VARIABLES.iter().filter_map(|(name, file)| Some((*name, *file, variable(name)?))).collect();
    // the words of a unit's command line, which may be arguments of this process too
    let has_words = variable(UNIT_WORDS).is_some_and(|words| words.to_string_lossy().contains(SHORTEST_PREFIX));
    if found.is_none() && variables.is_empty() && !has_words {
        return Ok(());
    }
    // without /proc, which tells it, nobody sees the environment either
    let program = match std::env::current_exe() {
        Err(_) if found.is_none() => return Ok(()),
        program => program.context("cannot find this program")?,
    };
    let mut command = Command::new(program);
    command.arg0(std::env::args_os().next().unwrap_or_default()).env_remove(UNIT_WORDS);
    let mut pipes = Vec::new();
    for (name, file, password) in variables {
        command.env_remove(name);
        // a file counts more
        if variable(file).is_none() {
            let pipe = filled_pipe(&password).with_context(|| format!("cannot hide {name}"))?;
            command.env(file, pipe_path(&pipe));
            pipes.push(pipe);
        }
    }
    if let Some(Found { position, password }) = found {
        let pipe = filled_pipe(&password)?;
        arguments.insert(position, format!("{FILE_OPTION}={}", pipe_path(&pipe)).into());
        pipes.push(pipe);
    }
    let error = command.args(arguments).exec();
    Err(anyhow!(error).context(format!("cannot hide the password: give it with {FILE_OPTION}")))
}

/// An environment variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn pipe_path(pipe: &PipeReader) -> String {
    format!("/dev/fd/{}", pipe.as_raw_fd())
}

/// A password among arguments.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Where among the others its option stood first.
    position: usize,
    password: OsString,
}

/// All arguments but the option and its value, as often as it stands there; the last one counts.
fn without_password(arguments: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Option<Found>) {
    let (mut kept, mut found) = (Vec::new(), None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        let (option, attached) = match text.split_once('=') {
            Some((option, value)) => (option, Some(OsString::from(value))),
            None => (text, None),
        };
        if !(option.starts_with(SHORTEST_PREFIX) && OPTION.starts_with(option)) {
            let is_last_option = text == "--";
            kept.push(argument);
            if is_last_option {
                kept.extend(arguments.by_ref());
            }
            continue;
        }
        let position = found.map_or(kept.len(), |Found { position, .. }| position);
        let password = attached.or_else(|| arguments.next()).unwrap_or_default();
        found = Some(Found { position, password });
    }
    // one of no characters is none, which is said later
    (kept, found.filter(|found| !found.password.is_empty()))
}

/// A pipe with the password in it, which outlives the program's replacement.
fn filled_pipe(password: &OsStr) -> anyhow::Result<PipeReader> {
    let bytes = password.as_encoded_bytes();
    // more than the pipe holds would wait for a reader that never comes
    if bytes.len() > LONGEST_PASSWORD || bytes.contains(&b'\n') {
        bail!("a password is one line of up to {LONGEST_PASSWORD} bytes");
    }
    let fill = || {
        let (reader, mut writer) = pipe()?;
        writer.write_all(bytes)?;
        fcntl_setfd(&reader, FdFlags::empty())?;
        Ok::<_, std::io::Error>(reader)
    };
    fill().context("cannot hide the password")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn split(line: &str) -> (String, Option<(usize, String)>) {
        let (kept, found) = without_password(line.split(' ').map(OsString::from));
        let kept: Vec<String> = kept.into_iter().map(|word| word.into_string().unwrap()).collect();
        (kept.join(" "), found.map(|found| (found.position, found.password.into_string().unwrap())))
    }

    #[test]
    fn a_password_is_the_first_line_and_not_empty() {
        for (text, expected) in [
            ("secret", Some("secret")),
            ("secret\n", Some("secret")),
            ("secret\r\nsecond\n", Some("secret")),
            (" with blanks \n", Some(" with blanks ")),
            ("", None),
            ("\nsecond", None),
        ] {
            let read = first_line(text.as_bytes()).ok();
            assert_eq!(read.as_ref().map(ExposeSecret::expose_secret), expected, "{text:?}");
        }
    }

    #[test]
    fn the_option_is_taken_out_in_every_spelling_and_nothing_else_is() {
        for (line, kept, found) in [
            ("jobs --ss-user super", "jobs --ss-user super", None),
            ("jobs --ss-pass super --ss-user super", "jobs --ss-user super", Some((1, "super"))),
            ("jobs --ss-pass=a=b --json", "jobs --json", Some((1, "a=b"))),
            ("executor --ss-p x", "executor", Some((1, "x"))),
            ("executor --ss-pas=x --name x", "executor --name x", Some((1, "x"))),
            ("executor --ss-pass x --name y --ss-pa=z", "executor --name y", Some((1, "z"))),
            ("executor --ss-pass-file x", "executor --ss-pass-file x", None),
            ("executor --ss-", "executor --ss-", None),
            ("executor --ss-pass", "executor", None),
            ("executor --ss-pass=", "executor", None),
            ("submit -- --ss-pass x", "submit -- --ss-pass x", None),
        ] {
            let found = found.map(|(position, password): (usize, &str)| (position, password.to_owned()));
            assert_eq!(split(line), (kept.to_owned(), found), "{line}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_login() {
        for (address, shown) in [
            ("http://h:1/x", "http://h:1/x"),
            ("http://super:secret@h:1", "http://h:1"),
            ("https://super:se@cret/x@h", "https://h"),
            ("u:s@a:2181,u:s@b:2181", "b:2181"),
            ("u:s://x@h", "h"),
        ] {
            assert_eq!(without_login(address), shown);
        }
    }

    #[test]
    fn a_password_of_several_lines_is_refused_and_not_shown() {
        for bad in ["secret\nsecond".to_owned(), "secret".repeat(1000)] {
            let refused = format!("{:#}", filled_pipe(bad.as_ref()).unwrap_err());
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
