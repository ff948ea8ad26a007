//! Jobs: their attributes (specification 5) and their states as a pure state machine.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::dialect::JOB;
use crate::resource::{Document, Link, Operation, is_id, serialize_any_time, serialize_time};

/// Priorities run from here (first) …
pub const HIGHEST_PRIORITY: u16 = 0;
/// … to here (last), which is also what a job without one gets.
pub const LOWEST_PRIORITY: u16 = 999;

/// Attribute of a job with what its action is told besides the target: a JSON object (extension).
pub const PAYLOAD: &str = "payload";

/// How far a job is (specification 5.1, column "S").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Waits for an executor.
    Queued,
    /// An executor runs its action.
    Running,
    /// The action ended well.
    Success,
    /// The action failed, or the job was given up.
    Failed,
    /// Somebody asked for it to stop; only foreign servers and clients write this.
    Stopping,
    /// It was stopped and will not be run.
    Stopped,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Stopping, Self::Success, Self::Failed, Self::Stopped];

    /// Final is final (decision 13): nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Stopped)
    }

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
        }
    }

    /// The state of this text, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether a job in this state may be edited into `next` (quirk 6). A state may follow itself: a
    /// job found RUNNING is begun again, and edits may repeat the state. Only STOPPED → SUCCESS or FAILED, which old
    /// executors need, is not decided here but by the server's `judge`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use State::{Failed, Queued, Running, Stopped, Stopping, Success};
        match (self, next) {
            (Queued | Running, Queued | Running | Success | Failed | Stopping | Stopped)
            | (Stopping, Stopping | Success | Failed | Stopped) => true,
            (Stopping, Queued | Running) => false,
            (Success | Failed | Stopped, _) => self == next,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A job as a client reads it. Attributes that this version does not know are kept in `others`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// `job/<uuid>`.
    pub id: String,
    /// How far it is.
    pub state: State,
    /// Name of the action that does it. Old servers store jobs without one.
    pub action: String,
    /// Percent, 0 to 100.
    pub progress: u8,
    /// What the action works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_resource: Option<Link>,
    /// All that the action touched; the target is among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub affected_resources: Vec<Link>,
    /// What the action returned, if it returned a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_code: Option<i64>,
    /// The last thing that the action, or the engine, said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When state or message last changed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_any_time")]
    pub time_of_status_change: Option<Timestamp>,
    /// The job that made this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_job: Option<String>,
    /// The jobs that this one made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nested_jobs: Vec<String>,
    /// 0 to 999, lower first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// When it was first RUNNING.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_any_time")]
    pub started: Option<Timestamp>,
    /// Whole seconds from `started` to the final state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    /// When it was added.
    #[serde(serialize_with = "serialize_time")]
    pub created: Timestamp,
    /// When it was last written.
    #[serde(serialize_with = "serialize_time")]
    pub updated: Timestamp,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What may be done with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// `acl`, `properties`, `resourceURI` and what this version does not know.
    #[serde(flatten)]
    pub others: Document,
}

impl Job {
    /// Reads a job out of a document.
    pub fn from_document(document: Document) -> Result<Self, serde_json::Error> {
        Self::from_members(document.into_iter().map(|(name, value)| (Cow::Owned(name), Cow::Owned(value))))
    }

    /// Reads a job out of a document that somebody else goes on with.
    pub fn read(document: &Document) -> Result<Self, serde_json::Error> {
        Self::from_members(document.iter().map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(value))))
    }

    /// Reads a job out of the members of a document. Each is looked at once, as every attempt reads its job.
    pub fn from_members<'a>(
        members: impl Iterator<Item = (Cow<'a, str>, Cow<'a, Value>)>,
    ) -> Result<Self, serde_json::Error> {
        let (mut id, mut state, mut created, mut updated) = (None, None, None, None);
        let mut job = Self {
            id: String::new(),
            state: State::Queued,
            action: String::new(),
            progress: 0,
            target_resource: None,
            affected_resources: Vec::new(),
            return_code: None,
            status_message: None,
            time_of_status_change: None,
            parent_job: None,
            nested_jobs: Vec::new(),
            priority: None,
            started: None,
            duration: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
            name: None,
            description: None,
            operations: Vec::new(),
            others: Document::new(),
        };
        for (name, value) in members {
            let of = |error| attribute(&name, &error);
            match &*name {
                "id" => id = Some(read(value).map_err(of)?),
                "state" => state = Some(read(value).map_err(of)?),
                "action" => job.action = read(value).map_err(of)?,
                "progress" => job.progress = read(value).map_err(of)?,
                "targetResource" => job.target_resource = read(value).map_err(of)?,
                "affectedResources" => job.affected_resources = read(value).map_err(of)?,
                "returnCode" => job.return_code = read(value).map_err(of)?,
                "statusMessage" => job.status_message = read(value).map_err(of)?,
                "timeOfStatusChange" => job.time_of_status_change = read(value).map_err(of)?,
                "parentJob" => job.parent_job = read(value).map_err(of)?,
                "nestedJobs" => job.nested_jobs = read(value).map_err(of)?,
                "priority" => job.priority = read(value).map_err(of)?,
                "started" => job.started = read(value).map_err(of)?,
                "duration" => job.duration = read(value).map_err(of)?,
                "created" => created = Some(read(value).map_err(of)?),
                "updated" => updated = Some(read(value).map_err(of)?),
                "name" => job.name = read(value).map_err(of)?,
                "description" => job.description = read(value).map_err(of)?,
                "operations" => job.operations = read(value).map_err(of)?,
                _ => drop(job.others.insert(name.into_owned(), value.into_owned())),
            }
        }
        job.id = id.ok_or_else(|| missing("id"))?;
        job.state = state.ok_or_else(|| missing("state"))?;
        job.created = created.ok_or_else(|| missing("created"))?;
        job.updated = updated.ok_or_else(|| missing("updated"))?;
        Ok(job)
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_document(Document::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn read<T: DeserializeOwned>(value: Cow<'_, Value>) -> Result<T, serde_json::Error> {
    match value {
        Cow::Owned(value) => T::deserialize(value),
        Cow::Borrowed(value) => T::deserialize(value),
    }
}

fn attribute(name: &str, error: &serde_json::Error) -> serde_json::Error {
    serde_json::Error::custom(format_args!("attribute `{name}`: {error}"))
}

fn missing(name: &'static str) -> serde_json::Error {
    serde_json::Error::missing_field(name)
}

/// A job to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewJob {
    /// Name of the action that is to do it.
    pub action: String,
    /// Id of what the action works on.
    pub target: Option<String>,
    /// 0 (first) to 999 (last); without one the server puts it last.
    pub priority: Option<u16>,
    /// What the action is told besides (extension of this server).
    pub payload: Option<Document>,
    /// Who may do what with it; without one the server's default holds.
    pub acl: Option<Value>,
}

impl NewJob {
    /// As it is sent (specification 7.3).
    #[must_use]
    pub fn document(&self) -> Document {
        let mut document = Document::new();
        document.insert("action".to_owned(), json!(self.action));
        if let Some(target) = &self.target {
            document.insert("targetResource".to_owned(), json!({ "href": target }));
        }
        if let Some(priority) = self.priority {
            document.insert("priority".to_owned(), json!(priority));
        }
        if let Some(payload) = &self.payload {
            document.insert(PAYLOAD.to_owned(), Value::Object(payload.clone()));
        }
        if let Some(acl) = &self.acl {
            document.insert("acl".to_owned(), acl.clone());
        }
        document
    }
}

/// Whether the text has the syntax of a job's id (specification 5.1, `parentJob`), so that it cannot be the path of
/// anything else.
#[must_use]
pub fn is_job_id(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, _)| kind == JOB.name) && is_id(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::State::{self, Failed, Queued, Running, Stopped, Stopping, Success};
    use super::{Job, is_job_id};

    #[test]
    fn a_job_is_written_as_it_was_read() {
        let written = json!({
            "id": "job/1", "state": "RUNNING", "action": "a", "progress": 7, "started": "2026-11-28T06:00:00.120Z",
            "timeOfStatusChange": "2026-11-28T06:00:00.000Z", "created": "2026-11-28T05:59:59.000Z",
            "updated": "2026-11-28T06:00:01.999Z", "resourceURI": "x", "targetResource": { "href": "user/jane", "a": 1 },
        });
        let job: Job = serde_json::from_value(written.clone()).expect("it is a job");
        assert_eq!(serde_json::to_value(job).expect("its keys are texts"), written);
    }

    #[test]
    fn what_is_no_job_is_named() {
        let good = json!({"id": "job/1", "state": "QUEUED", "created": "2026-11-28T05:59:59Z",
                          "updated": "2026-11-28T05:59:59Z", "action": "a", "name": null, "more": {"a": [1]}});
        let job: Job = serde_json::from_value(good.clone()).expect("it is a job");
        assert_eq!((&*job.action, job.name.as_deref(), &job.others["more"]), ("a", None, &json!({"a": [1]})));
        let rows = [
            ("id", json!(null), "attribute `id`: invalid type: null"),
            ("state", json!("LOST"), "attribute `state`: unknown variant `LOST`"),
            ("progress", json!(256), "attribute `progress`: invalid value: integer `256`"),
            ("created", json!("yesterday"), "attribute `created`: "),
            ("affectedResources", json!([{"href": 1}]), "attribute `affectedResources`: invalid type: integer `1`"),
        ];
        for (name, value, said) in rows {
            let mut bad = good.clone();
            bad[name] = value;
            let error = serde_json::from_value::<Job>(bad).expect_err(name).to_string();
            assert!(error.starts_with(said), "{error}");
        }
        for name in ["id", "state", "created", "updated"] {
            let mut bad = good.as_object().expect("an object").clone();
            bad.shift_remove(name);
            let error = Job::read(&bad).expect_err(name).to_string();
            assert_eq!(error, format!("missing field `{name}`"));
        }
    }

    #[test]
    fn ids_of_jobs_are_ids_of_nothing_else() {
        for id in ["job/0a", "job/11111111-2222-3333-4444-555555555555"] {
            assert!(is_job_id(id), "{id}");
        }
        for text in ["job", "job/", "jobs/0a", "session/0a", "job/0a/stop", "job/../session", "job/0a?x", "0a", ""] {
            assert!(!is_job_id(text), "{text}");
        }
    }

    #[test]
    fn every_transition_is_as_the_table_says() {
        let allowed = [
            (Queued, vec![Queued, Running, Success, Failed, Stopping, Stopped]),
            (Running, vec![Queued, Running, Success, Failed, Stopping, Stopped]),
            (Stopping, vec![Stopping, Success, Failed, Stopped]),
            (Success, vec![Success]),
            (Failed, vec![Failed]),
            (Stopped, vec![Stopped]),
        ];
        for (from, nexts) in allowed {
            for next in State::ALL {
                assert_eq!(from.may_become(next), nexts.contains(&next), "{from} → {next}");
            }
        }
    }

    #[test]
    fn final_states_are_these_three() {
        let finals: Vec<State> = State::ALL.into_iter().filter(|state| state.is_final()).collect();
        assert_eq!(finals, [Success, Failed, Stopped]);
    }

    #[test]
    fn states_survive_printing() {
        for state in State::ALL {
            assert_eq!(State::from_text(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).expect("a state is a string"), state.as_str());
        }
        assert_eq!(State::from_text("queued"), None);
    }
}
