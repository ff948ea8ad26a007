//! The words of a command line, all that is wrong among them at once.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::cli::secrets::without_login;
use crate::cli::settings::keys;

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
                let fault = told(&error, &words);
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
                // each time there is a word less
                if !take_out(&mut words, &error) {
                    return (words, None, faults);
                }
            }
        }
    }
}

/// The same as [`wrong`], where an option of one letter may be the beginning of a longer word.
fn told(error: &clap::Error, words: &[String]) -> String {
    let option = context(error, ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    match option.filter(|option| is_letter(option) && words.iter().any(|word| word == option)) {
        Some(option) => format!("unexpected argument '{option}' found: options begin with two dashes"),
        None => wrong(error),
    }
}

/// `-v`
fn is_letter(option: &str) -> bool {
    option.starts_with('-') && option.chars().count() == 2 && option != "--"
}

/// What the parser says, without a word that belongs to no option: it may be the rest of a password.
pub fn wrong(error: &clap::Error) -> String {
    if is_question(error) {
        return "it asks for help, with which nothing starts: remove --help or -h".to_owned();
    }
    if error.kind() == ErrorKind::UnknownArgument
        && context(error, ContextKind::InvalidArg).is_none_or(|word| !word.starts_with("--"))
    {
        return "a word belongs to no option: put a value with blanks between quotation marks".to_owned();
    }
    let mut text = error.to_string();
    if let (Some(option), Some(value)) = (option(error), context(error, ContextKind::InvalidValue))
        && keys::is_address(option.trim_start_matches('-'))
    {
        text = text.replace(value, &without_login(value));
    }
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// Whether somebody does not want to start anything.
fn is_question(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::DisplayHelp
}

/// `--threads` of `--threads <N>`.
fn option(error: &clap::Error) -> Option<&str> {
    context(error, ContextKind::InvalidArg)?.split(' ').next()
}

/// What a usage error shows of an address is without its login.
pub fn hide(mut error: clap::Error) -> clap::Error {
    let is_of_address = option(&error).is_some_and(|option| keys::is_address(option.trim_start_matches('-')));
    let value = context(&error, ContextKind::InvalidValue).filter(|_| is_of_address).map(without_login);
    if let Some(value) = value {
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    error
}

/// Whether the word that is wrong was found; an option goes with its value.
fn take_out(words: &mut Vec<String>, error: &clap::Error) -> bool {
    let value = context(error, ContextKind::InvalidValue).filter(|value| !value.is_empty());
    if is_question(error) {
        let asks = |word: &String| word == "-h" || (word.len() > 2 && "--help".starts_with(&**word));
        let place = words.iter().skip(FIRST).position(asks);
        return place.map(|place| words.remove(place + FIRST)).is_some();
    }
    let Some(wrong) = value.or(option(error)) else { return false };
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

    fn all_of(line: &str) -> (String, Vec<String>) {
        let words = ["slipstream-job", "executor"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let (words, parsed, faults) = sound(&without_required(Arguments::command()), words);
        assert!(parsed.is_some(), "{line}: {faults:?}");
        (words[2..].join(" "), faults)
    }

    #[test]
    fn all_words_that_are_wrong_are_told_at_once() {
        let line = "--threads=none --colour=red --grace soon --name kenny --zk-scheme kerberos --nothing --t 0";
        let (rest, faults) = all_of(line);
        assert_eq!(rest, "--name kenny");
        let expected = ["'none'", "'--colour'", "'soon'", "'kerberos'", "'--nothing'", "'0'"];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for expected in expected {
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
        }
    }

    #[test]
    fn a_question_and_an_option_of_one_letter_are_told_as_what_they_are() {
        for question in ["--help", "-h", "--he"] {
            let (rest, faults) = all_of(&format!("--threads=none {question} --name kenny"));
            assert_eq!((&*rest, faults.len()), ("--name kenny", 2), "{question}: {faults:?}");
            assert!(faults.iter().any(|fault| fault.starts_with("it asks for help")), "{faults:?}");
        }
        let (rest, faults) = all_of("-v --name kenny");
        assert_eq!((&*rest, faults.concat().starts_with("unexpected argument '-v' found")), ("--name kenny", true));
    }

    #[test]
    fn a_login_in_an_address_is_not_told() {
        let (_, faults) = all_of("--statsd super:secret@h:x --admin-listen=super:secret@h:1");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(!faults.concat().contains("secret") && faults.concat().contains("'h:x'"), "{faults:?}");
    }

    #[test]
    fn a_value_that_two_options_have_is_told_of_the_one_that_cannot_have_it() {
        let (_, faults) = all_of("--name 0 --threads 0");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_word_behind_a_password_is_not_told() {
        let (rest, faults) = all_of("--ss-pass correct horse battery");
        assert_eq!((&*rest, faults.len()), ("--ss-pass correct", 1));
        assert!(!faults.concat().contains("horse") && !faults.concat().contains("battery"), "{faults:?}");
    }
}
