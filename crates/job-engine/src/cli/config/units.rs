//! Units as systemd reads them: the command line of a service, its environment, and how long a stop may take.

use std::path::PathBuf;
use std::time::Duration;

use super::Part;
use crate::cli::options::parse_duration;

const SERVER: &str = include_str!("../../../../../packaging/root/usr/lib/systemd/system/slipstream-job-server.service");
const EXECUTOR: &str =
    include_str!("../../../../../packaging/root/usr/lib/systemd/system/slipstream-job-executor.service");
const DISTRIBUTOR: &str =
    include_str!("../../../../../packaging/root/usr/lib/systemd/system/slipstream-job-distributor@.service");

/// Holds the options that an administrator gives a unit.
pub const ARGUMENTS: &str = "DAEMON_ARGS";
/// What stands for a unit's instance in its file.
const INSTANCE: &str = "%i";

/// What the unit of a service says, as it is in the packages.
#[derive(Debug)]
pub struct Unit {
    /// `slipstream-job-executor.service`
    pub name: String,
    /// The command line without the program.
    words: Vec<String>,
    /// Variables that the unit sets.
    pub environment: Vec<(String, String)>,
    /// The file with more of them, which count more.
    pub environment_file: Option<PathBuf>,
    /// Whose rights it has; without one those of whoever starts it.
    pub user: Option<String>,
    /// How long systemd waits for the end of the service.
    pub stop_limit: Duration,
}

impl Unit {
    pub fn of(part: &Part) -> Self {
        let (text, template, instance) = match part {
            Part::Up => return Self::of_up(),
            Part::Server => (SERVER, "slipstream-job-server.service", ""),
            Part::Executor => (EXECUTOR, "slipstream-job-executor.service", ""),
            Part::Distributor(name) => (DISTRIBUTOR, "slipstream-job-distributor@%i.service", &**name),
        };
        let of_instance = |text: &str| text.replace(INSTANCE, instance);
        let values = |key: &str| {
            let value = |line: &str| Some(of_instance(line.strip_prefix(key)?.strip_prefix('=')?));
            text.lines().filter_map(value).collect::<Vec<_>>()
        };
        let one = |key: &str| values(key).pop().expect("each unit of the packages has it");
        let variables = values("Environment").into_iter().filter_map(|set| {
            let (name, value) = set.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Self {
            name: of_instance(template),
            words: one("ExecStart").split(' ').skip(1).map(str::to_owned).collect(),
            environment: variables.collect(),
            environment_file: Some(one("EnvironmentFile").trim_start_matches('-').into()),
            user: values("User").pop(),
            stop_limit: parse_duration(&format!("{}s", one("TimeoutStopSec"))).expect("it is a number of seconds"),
        }
    }

    /// As somebody would start it by hand, here and now.
    fn of_up() -> Self {
        Self {
            name: "slipstream-job up".to_owned(),
            words: vec!["up".to_owned()],
            environment: std::env::vars().collect(),
            environment_file: None,
            user: None,
            stop_limit: Duration::MAX,
        }
    }

    /// The words after the program's, with these in the place of `$DAEMON_ARGS`.
    pub fn command_line(&self, arguments: &[String]) -> Vec<String> {
        let mark = format!("${ARGUMENTS}");
        let mut words = Vec::new();
        for word in &self.words {
            if *word == mark {
                words.extend_from_slice(arguments);
            } else {
                words.push(word.clone());
            }
        }
        words
    }
}

/// The variables of an environment file (`systemd.exec(5)`, `EnvironmentFile=`), in their order.
pub fn variables(text: &str) -> Vec<(String, String)> {
    let mut reader = Reader::default();
    text.chars().for_each(|character| reader.take(character));
    reader.end_of_variable();
    reader.variables
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Start,
    Comment,
    Name,
    /// Before a value, or behind the closing quotation mark of its part.
    BeforeValue,
    Value,
    Escape,
    SingleQuotes,
    DoubleQuotes,
    EscapeInQuotes,
}

/// A state machine over characters, as systemd's own.
#[derive(Default)]
struct Reader {
    within: Within,
    name: String,
    value: String,
    /// Length of the value up to its last character that is not a blank outside quotation marks.
    solid: usize,
    variables: Vec<(String, String)>,
}

impl Reader {
    fn take(&mut self, character: char) {
        use Within::{BeforeValue, Comment, DoubleQuotes, Escape, EscapeInQuotes, Name, SingleQuotes, Start, Value};
        self.within = match (self.within, character) {
            (Comment | Name, '\n') => {
                self.name.clear();
                Start
            }
            (Start, blank) if blank.is_ascii_whitespace() => Start,
            // an equals sign at the start of a line names nothing
            (Start, '#' | ';' | '=') | (Comment, _) => Comment,
            (Start | Name, character) if character != '=' => {
                self.name.push(character);
                Name
            }
            (Start | Name, _) | (SingleQuotes, '\'') | (DoubleQuotes, '"') => BeforeValue,
            (BeforeValue | Value, '\n') => {
                self.end_of_variable();
                Start
            }
            (BeforeValue, blank) if blank.is_ascii_whitespace() => BeforeValue,
            (BeforeValue, '\'') => SingleQuotes,
            (BeforeValue, '"') | (EscapeInQuotes, '\n') => DoubleQuotes,
            (BeforeValue | Value, '\\') => Escape,
            (DoubleQuotes, '\\') => EscapeInQuotes,
            (Escape, '\n') => Value,
            (Value, blank) if blank.is_ascii_whitespace() => {
                self.value.push(blank);
                Value
            }
            (EscapeInQuotes, character) => {
                if !"\"\\`$".contains(character) {
                    self.value.push('\\');
                }
                self.solid(character);
                DoubleQuotes
            }
            (within @ (SingleQuotes | DoubleQuotes), character) => {
                self.solid(character);
                within
            }
            (BeforeValue | Value | Escape, character) => {
                self.solid(character);
                Value
            }
        };
    }

    fn solid(&mut self, character: char) {
        self.value.push(character);
        self.solid = self.value.len();
    }

    fn end_of_variable(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        value.truncate(std::mem::take(&mut self.solid));
        if !matches!(self.within, Within::Start | Within::Comment | Within::Name) {
            let name = name.trim_end().to_owned();
            self.variables.retain(|(known, _)| *known != name);
            self.variables.push((name, value));
        }
    }
}

/// The words that systemd makes of a variable that stands by itself on a command line: quotation marks group, a backslash
/// takes the next character as it is, nothing else is replaced.
pub fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            mark if quote == Some(mark) => quote = None,
            mark @ ('"' | '\'') if quote.is_none() => {
                quote = Some(mark);
                word.get_or_insert_default();
            }
            blank if blank.is_ascii_whitespace() && quote.is_none() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// The words that the original's shell made of it: a shell takes no quotation marks out of what it has replaced.
fn words_of_a_shell(value: &str) -> Vec<String> {
    value.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The options that the original's shell would have read differently. Their values are not told: one may be a password, or may
/// have been taken for one.
pub fn read_differently(value: &str) -> Vec<String> {
    let (ours, theirs) = (by_option(&words(value)), by_option(&words_of_a_shell(value)));
    let values = |of: &[(String, Vec<String>)], option: &str| -> Vec<String> {
        of.iter().filter(|(one, _)| one == option).flat_map(|(_, all)| all.clone()).collect()
    };
    let mut named: Vec<String> = Vec::new();
    for (option, _) in &ours {
        if !named.contains(option) && values(&ours, option) != values(&theirs, option) {
            named.push(option.clone());
        }
    }
    let name = |option: String| if option.starts_with("--") { option } else { "an argument".to_owned() };
    named.into_iter().map(name).collect()
}

/// Options with what follows them.
fn by_option(words: &[String]) -> Vec<(String, Vec<String>)> {
    let mut options: Vec<(String, Vec<String>)> = Vec::new();
    for word in words {
        match (word.split_once('='), options.last_mut()) {
            (Some((option, value)), _) if option.starts_with("--") => {
                options.push((option.to_owned(), vec![value.to_owned()]));
            }
            (None, _) if word.starts_with("--") => options.push((word.clone(), Vec::new())),
            (_, Some((_, values))) => values.push(word.clone()),
            (_, None) => options.push((word.clone(), Vec::new())),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn one(text: &str) -> String {
        let read = variables(text);
        assert_eq!(read.len(), 1, "{text}: {read:?}");
        assert_eq!(read[0].0, "A");
        read[0].1.clone()
    }

    /// `systemd.exec(5)`, and what systemd 252 does.
    #[test]
    fn environment_files_are_read_as_systemd_does() {
        for (text, expected) in [
            ("A=b", "b"),
            ("  A =  b c  \n", "b c"),
            ("# A=x\n; A=y\n\nA=b # c", "b # c"),
            ("A='b \"c\"' ", "b \"c\""),
            ("A=\"b c\" 'd'e", "b cde"),
            ("A=\"b\\\"c\\\\d\\$e\\f\"", "b\"c\\d$e\\f"),
            ("A='b\\c'", "b\\c"),
            ("A=b\\ c\\\nd", "b cd"),
            ("A=\"b\\\nc\nd\"", "bc\nd"),
            ("A=b'c'", "b'c'"),
            ("A=\"b  \"  ", "b  "),
            ("A=x\nA=b", "b"),
            ("no variable\nA=b", "b"),
            ("A=", ""),
            ("A=$HOME %h", "$HOME %h"),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn words_are_grouped_and_nothing_is_replaced() {
        for (value, expected) in [
            ("--a b  --c=d", &["--a", "b", "--c=d"][..]),
            (
                "--name \"M. Garrison\" --glob=* --cash=a$HOME --back=a\\ b",
                &["--name", "M. Garrison", "--glob=*", "--cash=a$HOME", "--back=a b"],
            ),
            ("--name='a \"b\"'c \"\" 'd", &["--name=a \"b\"c", "", "d"]),
            ("'a\\'b' \\", &["a'b", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn what_the_originals_shell_read_differently_is_named() {
        let value = "--name \"M. Garrison\" --threads=8 --ss-user=a\\ b --zk-hosts 'a'";
        assert_eq!(read_differently(value), ["--name", "--ss-user", "--zk-hosts"]);
        assert_eq!(read_differently("--a b --c=d * $HOME"), [""; 0]);
        assert_eq!(read_differently("--threads=8 \"--ss-pass=s3cret\" 'x y'"), ["--threads", "--ss-pass"]);
        assert_eq!(read_differently("'s3cret x' y 's3cret x' --a"), ["an argument"]);
    }

    #[test]
    fn the_units_of_the_packages_are_understood() {
        let unit = Unit::of(&Part::Server);
        let line = unit.command_line(&["--listen=:1".to_owned()]).join(" ");
        assert_eq!(line, "server --listen=:1");
        let unit = Unit::of(&Part::Distributor("jobs_cleanup".to_owned()));
        assert_eq!(unit.command_line(&[]), ["distributor", "jobs_cleanup"]);
        assert_eq!(unit.name, "slipstream-job-distributor@jobs_cleanup.service");
        assert_eq!(unit.environment_file.as_deref(), Some(Path::new("/etc/default/slipstream-job-distributor")));
        assert!(unit.environment[0].1.ends_with("/distributor/jobs_cleanup"), "{unit:?}");
        assert_eq!(unit.user.as_deref(), Some("slipstream"));
        assert_eq!(Unit::of(&Part::Executor).stop_limit, Duration::from_mins(3));
    }
}
