//! Several things that are wrong at once, told together.

use std::fmt;

use crate::config::{Setting, Value};

/// All of them, a line each.
#[derive(Debug, thiserror::Error)]
pub struct Faults(Vec<String>);

impl Faults {
    /// All of these.
    pub fn of(faults: &[impl ToString]) -> Self {
        Self(faults.iter().map(ToString::to_string).collect())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &self.0[..] {
            return formatter.write_str(fault);
        }
        write!(formatter, "{} faults", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(formatter, "\n  {fault}"))
    }
}

/// Both, or all that is wrong with either.
pub fn both<A, B>(one: anyhow::Result<A>, other: anyhow::Result<B>) -> anyhow::Result<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(one), Err(other)) => Err(Faults([listed(&one), listed(&other)].concat()).into()),
    }
}

/// What is wrong, one by one.
pub fn listed(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref() {
        Some(Faults(faults)) => faults.clone(),
        None => vec![format!("{error:#}")],
    }
}

/// The same with the lines of the files whose values it is about: what is wrong with a value only beside others, or on this
/// machine, is found without them.
pub fn placed<T>(done: anyhow::Result<T>, settings: &[Setting]) -> anyhow::Result<T> {
    let error = match done {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let about = |fault: &str| {
        let is_part = |character: char| character.is_alphanumeric() || "-_".contains(character);
        let is_told = |word: &String| {
            let mut found = fault.match_indices(&**word);
            word.len() > 2
                && found.any(|(place, _)| {
                    !fault[..place].ends_with(is_part) && !fault[place + word.len()..].starts_with(is_part)
                })
        };
        // where a password is said nobody looks for it
        let told =
            settings.iter().rev().filter(|setting| !setting.key.ends_with("pass")).find(|setting| {
                match &setting.value {
                    Value::Word(word) => is_told(word),
                    Value::List(words) => words.iter().any(is_told),
                    Value::Switch(_) | Value::Other => false,
                }
            });
        told.map(|setting| format!(" (`{}` in {})", setting.key, setting.place))
    };
    let (faults, places): (Vec<String>, Vec<Option<String>>) =
        listed(&error).into_iter().map(|fault| (fault.clone(), about(&fault))).unzip();
    if places.iter().all(Option::is_none) {
        return Err(error);
    }
    let with_place = |(fault, place): (String, Option<String>)| fault + &place.unwrap_or_default();
    Err(Faults(faults.into_iter().zip(places).map(with_place).collect()).into())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::config::Place;

    #[test]
    fn what_is_found_wrong_later_has_its_line_too() {
        let setting = |key: &str, value: &str, line| Setting {
            table: "peers",
            key: key.to_owned(),
            value: Value::Word(value.to_owned()),
            place: Place { path: "a.toml".into(), line },
        };
        let settings =
            [setting("ss-pass-file", "/a/p", 2), setting("zk-ca", "/a/p2", 3), setting("ss-pass", "cannot", 4)];
        let told = |text: &str| placed::<()>(Err(anyhow!("why").context(text.to_owned())), &settings).unwrap_err();
        assert_eq!(format!("{:#}", told("cannot read /a/p")), "cannot read /a/p: why (`ss-pass-file` in a.toml:2)");
        assert_eq!(format!("{:#}", told("cannot read /a/p2")), "cannot read /a/p2: why (`zk-ca` in a.toml:3)");
        assert_eq!(
            format!("{:#}", told("cannot read /a/p/b-c")),
            "cannot read /a/p/b-c: why (`ss-pass-file` in a.toml:2)"
        );
        assert_eq!(format!("{:#}", told("cannot read /a")), "cannot read /a: why");
    }

    #[test]
    fn what_is_wrong_is_told_together() {
        let wrong = |text: &str| -> anyhow::Result<()> { Err(anyhow!("why").context(text.to_owned())) };
        assert!(both(Ok(1), Ok(2)).is_ok_and(|found| found == (1, 2)));
        assert_eq!(format!("{:#}", both(wrong("a"), Ok(2)).unwrap_err()), "a: why");
        let three = both(both(wrong("a"), wrong("b")), wrong("c")).unwrap_err();
        assert_eq!(three.to_string(), "3 faults\n  a: why\n  b: why\n  c: why");
    }
}
