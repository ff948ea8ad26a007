//! A table `[[distributor]]` of a configuration file, with all that is wrong in it.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use slipstream_cimi::job::LOWEST_PRIORITY;
use slipstream_cimi::resource::is_id;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::distributor::configured::Configured;
use crate::distributor::rounds::{CATCH_UP_LIMIT, Missed};
use crate::distributor::schedule::Schedule;
use crate::process::written::{NotADuration, Wrong, duration};

/// What the table says, or all that is wrong in it.
pub(super) fn distributor(written: Spanned<DeValue<'_>>) -> Result<Configured, Vec<Wrong>> {
    let place = written.span().start;
    let DeValue::Table(table) = written.into_inner() else {
        return Err(vec![Wrong::at(place, "a distributor is a table, write [[distributor]]")]);
    };
    let mut fields = Fields { place, table, known: Vec::new(), wrong: Vec::new() };
    let (name, action) = (fields.required::<Name>("name"), fields.required::<Text>("action"));
    let (election, target, priority) =
        (fields.field::<Name>("election"), fields.field("target"), fields.field("priority"));
    let schedule = fields.schedule();
    let missed = fields.field("missed").unwrap_or_default();
    fields.refuse_others();
    let (Some(name), Some(action), Some(schedule), []) = (name, action, schedule, &fields.wrong[..]) else {
        return Err(fields.wrong);
    };
    let action = action.0;
    Ok(Configured {
        name: name.0,
        election: election.map_or_else(|| action.clone(), |election| election.0),
        action,
        target: target.map(|Target(target)| target),
        priority: priority.map(|Priority(priority)| priority),
        schedule,
        missed: match missed {
            Policy::Skip => Missed::Skip,
            Policy::Coalesce => Missed::Coalesce,
            Policy::CatchUp => Missed::CatchUp { limit: CATCH_UP_LIMIT },
        },
    })
}

/// What is left of a table, and what was wrong so far.
struct Fields<'a> {
    place: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
    wrong: Vec<Wrong>,
}

impl Fields<'_> {
    fn field<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        self.known.push(name);
        let value = self.table.remove(name)?;
        let place = value.span().start;
        let read = T::deserialize(ValueDeserializer::from(value));
        read.map_err(|error| self.wrong.push(Wrong::at(place, error.message()))).ok()
    }

    fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        if !self.table.contains_key(name) {
            self.wrong.push(Wrong::at(self.place, format!("missing field `{name}`")));
        }
        self.field(name)
    }

    fn schedule(&mut self) -> Option<Schedule> {
        let has = ["every", "cron", "time-zone"].map(|name| self.table.contains_key(name));
        let (every, cron) = (self.field::<Interval>("every"), self.field::<String>("cron"));
        let zone = self.field::<String>("time-zone");
        let wrong = match has {
            [true, false, false] => return every.map(|Interval(schedule)| schedule),
            [false, true, _] => match Schedule::cron(&cron?, zone.as_deref().unwrap_or("UTC")) {
                Ok(schedule) => return Some(schedule),
                Err(error) => error.to_string(),
            },
            [true, false, true] => "`time-zone` goes with `cron` only, remove it".to_owned(),
            [true, true, _] => "`every` and `cron` exclude each other, remove one".to_owned(),
            [false, false, _] => "it has no schedule, write `every = \"1 h\"` or `cron = \"0 3 * * *\"`".to_owned(),
        };
        self.wrong.push(Wrong::at(self.place, wrong));
        None
    }

    fn refuse_others(&mut self) {
        let known: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
        for name in self.table.keys() {
            let message = format!("unknown field `{}`, expected one of {}", name.get_ref(), known.join(", "));
            self.wrong.push(Wrong::at(name.span().start, message));
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    Skip,
    #[default]
    Coalesce,
    CatchUp,
}

/// Part of a node's path and of a key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a name, use up to {LONGEST} lower-case letters, digits, `_` and `-`"))
        }
    }
}

/// Name and target make a key together, which is not longer than 255 characters.
const LONGEST: usize = 100;

/// What jobs work on: the server takes ids only, and it is part of a key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Target(String);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() <= LONGEST && is_id(&text) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not the id of a resource of up to {LONGEST} characters, such as `credential/abc`"))
        }
    }
}

/// The name of an action.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(format!("invalid `{text}`, use ASCII characters without blanks"))
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Priority(u16);

impl TryFrom<i64> for Priority {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let priority = u16::try_from(number).ok().filter(|priority| *priority <= LOWEST_PRIORITY);
        priority.map(Self).ok_or_else(|| format!("{number} is not a priority, use 0 (first) to 999 (last)"))
    }
}

struct Interval(Schedule);

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |reason: &dyn fmt::Display| {
            D::Error::custom(format!("`{text}` is not an interval ({reason}), write it like \"15s\" or \"1 day\""))
        };
        let duration = duration(&text).map_err(|error| match error {
            NotADuration::Calendar => D::Error::custom(format!(
                "`{text}` is not an interval, because months and years differ in length: write it in days, or as `cron`, \
                 such as \"0 0 1 * *\" for the first of each month"
            )),
            error => wrong(&error),
        })?;
        Schedule::every(duration).map(Self).map_err(|error| wrong(&error))
    }
}
