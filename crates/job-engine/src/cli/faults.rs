//! Several things that are wrong at once, told together.

use std::fmt;

use crate::config::{Config, Setting, Value};

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

/// A value that somebody has set.
#[derive(Clone)]
pub struct Said {
    /// As the files call it.
    pub key: String,
    /// The value.
    pub words: Vec<String>,
    /// Where it is set, for people.
    pub place: String,
}

impl Said {
    /// All that the files say.
    pub fn all(config: &Config) -> Vec<Self> {
        let told = config.settings.iter().map(|Setting { key, value, place, .. }| Self {
            key: key.clone(),
            words: match value {
                Value::Word(_) | Value::List(_) => value.words(),
                Value::Switch(_) | Value::Other => Vec::new(),
            },
            place: place.to_string(),
        });
        told.collect()
    }

    /// The longest of its words that a fault speaks of. Nobody looks for passwords, and a name of a user, which may be a part
    /// of anything, is not what is wrong.
    fn is_in(&self, fault: &str) -> Option<usize> {
        if ["pass", "-user"].iter().any(|end| self.key.ends_with(end)) {
            return None;
        }
        let is_part = |character: char| character.is_alphanumeric() || "-_".contains(character);
        let is_told = |word: &&String| {
            let mut found = fault.match_indices(&***word);
            word.len() > 2
                && found.any(|(place, _)| {
                    !fault[..place].ends_with(is_part) && !fault[place + word.len()..].starts_with(is_part)
                })
        };
        self.words.iter().filter(is_told).map(String::len).max()
    }
}

/// The same with the places of the values it is about: what is wrong with a value only beside others, or on this machine,
/// is found without them.
pub fn placed<T>(done: anyhow::Result<T>, told: &[Said]) -> anyhow::Result<T> {
    let error = match done {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let about = |fault: &str| {
        // of two that are as long the later one counts more
        let (_, told) =
            told.iter().filter_map(|one| Some((one.is_in(fault)?, one))).max_by_key(|(length, _)| *length)?;
        Some(format!(" (`{}` in {})", told.key, told.place))
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
    #[test]
    fn what_is_found_wrong_later_has_its_line_too() {
        let one = |key: &str, value: &str, line| Said {
            key: key.to_owned(),
            words: vec![value.to_owned()],
            place: format!("a.toml:{line}"),
        };
        let all = [
            one("ss-pass-file", "/a/p", 2),
            one("zk-ca", "/a/p2", 3),
            one("ss-pass", "cannot", 4),
            one("ss-pass-file", "/a/super.password", 5),
            one("actions-dir", "super", 6),
            one("ss-user", "jane", 7),
        ];
        let told = |text: &str| placed::<()>(Err(anyhow!("why").context(text.to_owned())), &all).unwrap_err();
        assert_eq!(
            format!("{:#}", told("cannot read /a/super.password")),
            "cannot read /a/super.password: why (`ss-pass-file` in a.toml:5)",
            "the longest is meant"
        );
        assert_eq!(format!("{:#}", told("no password of the user jane")), "no password of the user jane: why");
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
