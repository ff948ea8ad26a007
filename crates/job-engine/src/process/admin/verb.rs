//! What the admin socket can be asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::threads::Shown;
use crate::process::activity::{Activity, Phase};
use crate::process::{service_manager, telemetry};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// How the process is, as a [`Status`].
    Status,
    /// Take no more jobs.
    Drain,
    /// Take jobs again.
    Resume,
    /// Log this from now on.
    Log(String),
    /// What is going on, for people.
    Threads,
    /// The same as an object in JSON.
    ThreadsInJson,
}

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it runs as.
    pub role: String,
    /// What it is called.
    pub name: String,
    /// In words for people.
    pub words: String,
    /// It was asked to take no more jobs.
    pub draining: bool,
    /// It takes none, and none runs.
    pub drained: bool,
}

impl Status {
    /// Whether it can be asked to take no jobs.
    #[must_use]
    pub fn takes_jobs(&self) -> bool {
        takes_jobs(&self.role)
    }
}

fn takes_jobs(role: &str) -> bool {
    ["executor", "up"].contains(&role)
}

impl Verb {
    /// Does what is asked for and answers lines, or why it does not.
    pub(super) fn answer(&self, activity: &Activity) -> Result<Vec<String>, String> {
        match self {
            Self::Status => {
                let (role, name) = activity.role();
                let status = Status {
                    role: role.to_owned(),
                    name: name.to_owned(),
                    words: service_manager::status_of(activity),
                    draining: activity.is_draining(),
                    drained: activity.is_drained(),
                };
                line(&status)
            }
            Self::Drain | Self::Resume => {
                let (role, _) = activity.role();
                if !takes_jobs(role) {
                    return Err(format!("a {role} takes no jobs, only an executor does"));
                }
                if matches!(*activity.phase().borrow(), Phase::Stopping { .. }) {
                    return Err(format!("it takes no more jobs, it is {}", service_manager::status_of(activity)));
                }
                let is_draining = *self == Self::Drain;
                if is_draining != activity.is_draining() {
                    tracing::info!("asked by the admin socket to {}", if is_draining { "drain" } else { "resume" });
                }
                activity.drain(is_draining);
                Ok(vec![service_manager::status_of(activity)])
            }
            Self::Log(filter) => {
                telemetry::log_from_now_on(filter).map_err(|error| format!("{error:#}"))?;
                tracing::info!(filter, "asked by the admin socket to log this");
                Ok(Vec::new())
            }
            Self::Threads => Ok(Shown::of(activity).text()),
            Self::ThreadsInJson => line(&Shown::of(activity)),
        }
    }
}

/// An answer in JSON.
fn line(answer: &impl Serialize) -> Result<Vec<String>, String> {
    serde_json::to_string(answer).map(|line| vec![line]).map_err(|error| error.to_string())
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => formatter.write_str("status"),
            Self::Drain => formatter.write_str("drain"),
            Self::Resume => formatter.write_str("resume"),
            Self::Log(filter) => write!(formatter, "log {filter}"),
            Self::Threads => formatter.write_str("threads"),
            Self::ThreadsInJson => formatter.write_str("threads json"),
        }
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("status", "") => Ok(Self::Status),
            ("drain", "") => Ok(Self::Drain),
            ("resume", "") => Ok(Self::Resume),
            ("threads", "") => Ok(Self::Threads),
            ("threads", "json") => Ok(Self::ThreadsInJson),
            ("log", filter) if !filter.is_empty() => Ok(Self::Log(filter.to_owned())),
            _ => Err("this version does not know the question: use the program of the process".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn each_question_is_read_as_it_was_written() {
        for verb in [
            Verb::Status,
            Verb::Drain,
            Verb::Resume,
            Verb::Threads,
            Verb::ThreadsInJson,
            Verb::Log("warn,hyper=debug".to_owned()),
        ] {
            assert_eq!(verb.to_string().parse(), Ok(verb));
        }
        for line in ["", "drain now", "log", "log ", "exec sh"] {
            assert!(line.parse::<Verb>().is_err(), "{line}");
        }
    }

    #[test]
    fn only_who_takes_jobs_can_be_drained() {
        let activity = Activity::new();
        activity.has_role("server", "127.0.0.1:8201");
        assert_eq!(Verb::Drain.answer(&activity), Err("a server takes no jobs, only an executor does".to_owned()));
        let activity = Activity::new();
        activity.has_role("executor", "Kenny");
        drop(activity.slot(0));
        assert_eq!(Verb::Drain.answer(&activity), Ok(vec!["drained".to_owned()]));
        let status = Verb::Status.answer(&activity).unwrap().concat();
        let status: Status = serde_json::from_str(&status).unwrap();
        assert!(status.draining && status.drained && status.name == "Kenny", "{status:?}");
        assert!(Verb::Resume.answer(&activity).is_ok() && !activity.is_draining());
    }

    #[test]
    fn who_stops_is_neither_drained_nor_resumed() {
        let activity = Activity::new();
        activity.has_role("executor", "Kenny");
        activity.enter(Phase::Stopping { what: "jobs", end: Instant::now() });
        for verb in [Verb::Drain, Verb::Resume] {
            assert_eq!(verb.answer(&activity), Err("it takes no more jobs, it is stopping".to_owned()));
        }
        assert!(!activity.is_draining());
    }
}
