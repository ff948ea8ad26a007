//! A table `[[distributor]]` of a configuration file, with all that is wrong in it.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use slipstream_cimi::State;
use slipstream_cimi::filter::{Filter, FilterError};
use slipstream_cimi::job::LOWEST_PRIORITY;
use slipstream_cimi::resource::is_id;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::distributor::configured::Configured;
use crate::distributor::fan_out::{FanOut, JobTemplate, LONGEST_TARGET};
use crate::distributor::rounds::{CATCH_UP_LIMIT, Missed};
use crate::distributor::schedule::Schedule;
use crate::distributor::template::{Template, TextTemplate, is_path};
use crate::process::written::{NotADuration, Wrong, duration};

/// What the table says, or all that is wrong in it.
pub(super) fn distributor(written: Spanned<DeValue<'_>>) -> Result<Configured, Vec<Wrong>> {
    let place = written.span().start;
    let DeValue::Table(table) = written.into_inner() else {
        return Err(vec![Wrong::at(place, "a distributor is a table, write [[distributor]]")]);
    };
    let mut fields = Fields { place, table, known: Vec::new(), wrong: Vec::new() };
    let name = fields.required::<Name>("name");
    let election = fields.field::<Name>("election");
    let for_each = fields.for_each();
    let job = fields.job(for_each.is_some());
    let schedule = fields.schedule();
    let missed = fields.field("missed").unwrap_or_default();
    fields.refuse_others();
    let (Some(Name(name)), Some(job), Some(schedule), []) = (name, job, schedule, &fields.wrong[..]) else {
        return Err(fields.wrong);
    };
    Ok(Configured {
        name,
        election: election.map_or_else(|| job.action.clone(), |election| election.0),
        job,
        for_each: for_each.flatten(),
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

    /// The documents for which there are jobs: none where that is not written, and none within where it is wrong.
    fn for_each(&mut self) -> Option<Option<FanOut>> {
        let is_given = self.table.contains_key("for-each");
        let search = self.field::<Search>("for-each");
        let (unless, once_per) = (self.field::<Vec<State>>("unless"), self.field::<Path>("once-per"));
        let spread = self.field::<Share>("spread");
        if is_given {
            return Some(search.map(|search| FanOut {
                collection: search.collection.0,
                filter: search.filter.map(|filter| filter.0),
                unless: unless.unwrap_or_default(),
                once_per: once_per.map(|path| path.0),
                spread: spread.map(|share| share.0),
            }));
        }
        let given = [("unless", unless.is_some()), ("once-per", once_per.is_some()), ("spread", spread.is_some())];
        for (name, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let message = format!("`{name}` goes with `for-each` only, add that or remove it");
            self.wrong.push(Wrong::at(self.place, message));
        }
        None
    }

    /// What the jobs are; with a document each, they take values of it.
    fn job(&mut self, has_document: bool) -> Option<JobTemplate> {
        let action = self.required::<Text>("action");
        let at = ["target", "payload", "acl"].map(|name| self.place_of(name).unwrap_or(self.place));
        let target = self.field::<Target>("target").map(|target| target.0);
        let target = target.or_else(|| has_document.then(|| TextTemplate::of("id")));
        let payload = self.field::<Payload>("payload").map(|payload| payload.0);
        let acl = self.field::<Acl>("acl");
        let priority = self.field::<Priority>("priority").map(|priority| priority.0);
        let job = JobTemplate { action: action?.0, target, priority, payload, has_acl_of_document: acl.is_some() };
        if !has_document {
            let fields = [job.target.as_ref().map(TextTemplate::first_place), job.payload.as_ref().map(Template::first_place)];
            for (place, path) in at.into_iter().zip(fields.into_iter().map(Option::flatten)) {
                if let Some(path) = path {
                    let message = format!("`{{{path}}}` is a value of a document, and there is no `for-each`");
                    self.wrong.push(Wrong::at(place, message));
                }
            }
            if acl.is_some() {
                self.wrong.push(Wrong::at(at[2], "`acl` is that of a document, and there is no `for-each`"));
            }
        }
        Some(job)
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.table.get(name).map(|value| value.span().start)
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

/// What jobs work on: the server takes ids only, and it is part of a key. With places for values it is looked at later.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Target(TextTemplate);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let template = TextTemplate::parse(&text).map_err(|error| error.to_string())?;
        if template.first_place().is_some() || text.len() <= LONGEST_TARGET && is_id(&text) {
            Ok(Self(template))
        } else {
            Err(format!(
                "`{text}` is not the id of a resource of up to {LONGEST_TARGET} characters, such as `credential/abc`"
            ))
        }
    }
}

/// What the action is told besides: a table.
#[derive(Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
struct Payload(Template);

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Payload {
    type Error = String;

    fn try_from(members: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        Template::parse(serde_json::Value::Object(members)).map(Self).map_err(|error| error.to_string())
    }
}

/// Which documents are searched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    collection: Collection,
    filter: Option<Wanted>,
}

/// The name of a collection, as in the API's paths.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Collection(String);

impl TryFrom<String> for Collection {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_id(&text) && !text.contains('/') {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not the name of a collection, such as `credential` or `virtual-machine`"))
        }
    }
}

/// A filter that parses.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Wanted(String);

impl TryFrom<String> for Wanted {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        Filter::parse(&text).map(|_| Self(text))
    }
}

/// The path of an attribute.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Path(String);

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_path(&text) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not the path of an attribute, such as `key` or `connector/href`"))
        }
    }
}

/// A share of the time until the next round.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if share > 0.0 && share <= 1.0 {
            Ok(Self(share))
        } else {
            Err(format!("{share} is not a share of the time until the next round, use a number above 0 and up to 1, such as 0.6"))
        }
    }
}

/// Who may do what with the jobs.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Acl {
    OfDocument,
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
