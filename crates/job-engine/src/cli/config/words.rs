//! The words of a command line, all that is wrong among them at once.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

/// Words that are no part of what somebody gave a unit: the program's name, and the command.
const FIRST: usize = 2;

/// The words that can be understood, what they say, and what is wrong with the others. It is nothing if it cannot be told
/// which those are.
pub fn sound(command: &Command, mut words: Vec<String>) -> (Vec<String>, Option<ArgMatches>, Vec<String>) {
    let mut faults = Vec::new();
    loop {
        match command.clone().try_get_matches_from(&words) {
            Ok(parsed) => return (words, Some(parsed), faults),
            Err(error) => {
                faults.push(wrong(&error));
                // each time there is a word less
                if !take_out(&mut words, &error) {
                    return (words, None, faults);
                }
            }
        }
    }
}

/// What the parser says, without a word that belongs to no option: it may be the rest of a password.
pub fn wrong(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::UnknownArgument
        && context(error, ContextKind::InvalidArg).is_none_or(|word| !word.starts_with("--"))
    {
        return "a word belongs to no option: put a value with blanks between quotation marks".to_owned();
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// Whether the word that is wrong was found; an option goes with its value.
fn take_out(words: &mut Vec<String>, error: &clap::Error) -> bool {
    let value = context(error, ContextKind::InvalidValue).filter(|value| !value.is_empty());
    // `--threads <N>`
    let option = context(error, ContextKind::InvalidArg).and_then(|option| option.split(' ').next());
    let Some(wrong) = value.or(option) else { return false };
    let is_it = |word: &String| match word.split_once('=') {
        Some((option, of_option)) => option == wrong || of_option == wrong,
        None => false,
    };
    let place = words.iter().skip(FIRST).position(|word| word == wrong || is_it(word));
    let Some(place) = place.map(|place| place + FIRST) else { return false };
    let word = words.remove(place);
    if value.is_some() && !is_it(&word) && place > FIRST && words[place - 1].starts_with("--") {
        words.remove(place - 1);
    }
    true
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;
    use crate::cli::settings::without_required;

    fn told(line: &str) -> (String, Vec<String>) {
        let words = ["slipstream-job", "executor"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let (words, parsed, faults) = sound(&without_required(Arguments::command()), words);
        assert!(parsed.is_some(), "{line}: {faults:?}");
        (words[2..].join(" "), faults)
    }

    #[test]
    fn all_words_that_are_wrong_are_told_at_once() {
        let line = "--threads=none --colour=red --grace soon --name kenny --zk-scheme kerberos --nothing --t 0";
        let (rest, faults) = told(line);
        assert_eq!(rest, "--name kenny");
        let expected = ["'none'", "'--colour'", "'soon'", "'kerberos'", "'--nothing'", "'0'"];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for expected in expected {
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
        }
    }

    #[test]
    fn a_word_behind_a_password_is_not_told() {
        let (rest, faults) = told("--ss-pass correct horse battery");
        assert_eq!((&*rest, faults.len()), ("--ss-pass correct", 2));
        assert!(!faults.concat().contains("horse") && !faults.concat().contains("battery"), "{faults:?}");
    }
}
