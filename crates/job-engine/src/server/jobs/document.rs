//! What adding, editing, stopping and showing do to a job's document. Pure: no store, no clock (specification 5.2 to
//! 5.4, with the quirks of specification 8 mended).

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use slipstream_cimi::acl;
use slipstream_cimi::dialect::{self, JOB};
use slipstream_cimi::overview::ledger::EXECUTOR;
use slipstream_cimi::overview::retries::RETRY_OF;
use slipstream_cimi::resource::format_time;
use slipstream_cimi::{Document, State, job};
use slipstream_store::StoredDocument;

use crate::process::clock::Age;

/// Jobs written to within this time are left alone: whoever wrote may still be putting the entry.
pub const UNTOUCHED: SignedDuration = SignedDuration::from_secs(10);
/// Attributes of a job that only the server sets, besides those of every resource.
const DERIVED_ATTRIBUTES: [&str; 5] = ["started", "duration", "timeOfStatusChange", RETRY_OF, EXECUTOR];
/// The attribute that says in which order jobs are taken. The entry has it in its name: no edit takes it out, and one that
/// changes it moves the entry.
pub const PRIORITY: &str = "priority";
/// Where a reader finds the queue entry.
pub(crate) const ENTRY_PROPERTY: &str = "zookeeper-path";
/// Longest status message in characters; what is longer keeps its first and last half (quirk 10).
const LONGEST_MESSAGE: usize = 100_000;

/// The document of a new job, from what the client sent. Whether it is valid is not decided here.
#[must_use]
pub fn new_document(id: &str, sent: Document, now: Timestamp) -> Document {
    let mut document = Document::new();
    document.insert("id".to_owned(), json!(id));
    document.insert("resourceURI".to_owned(), json!(JOB.resource_uri));
    document.insert("created".to_owned(), json!(format_time(now)));
    document.insert("updated".to_owned(), json!(format_time(now)));
    document.extend(without_service_attributes(sent));
    document.insert("state".to_owned(), json!(State::Queued));
    document.entry("progress").or_insert(json!(0));
    document.entry("priority").or_insert(json!(job::LOWEST_PRIORITY));
    let acl = document.shift_remove("acl");
    document.insert("acl".to_owned(), acl.map_or_else(acl::default_acl, acl::with_administrator_rule));
    if let Some(target) = document.get("targetResource").cloned() {
        let affected = document.entry("affectedResources").or_insert_with(|| json!([]));
        if let Some(affected) = affected.as_array_mut()
            && !affected.contains(&target)
        {
            affected.push(target);
        }
    }
    shorten_message(&mut document);
    if document.contains_key("statusMessage") {
        document.insert("timeOfStatusChange".to_owned(), json!(format_time(now)));
    }
    document
}

/// What an edit does to a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Attributes that go, of which some may be set anew.
    remove: Vec<String>,
    /// Attributes with their new values, at top level.
    set: Document,
}

impl Patch {
    /// Merges `changes` in at top level, after `remove` is taken out, and brings everything derived from state and
    /// message up to date. Whether that is valid is not decided here.
    #[must_use]
    pub fn new(stored: &StoredDocument, changes: Document, remove: &[String], now: Timestamp) -> Self {
        let stays =
            |name: &str| dialect::UNDELETABLE_ATTRIBUTES.contains(&name) || [PRIORITY, RETRY_OF].contains(&name);
        let may_go = |name: &&String| !stays(name);
        let remove = remove.iter().filter(may_go).cloned().collect();
        let mut set = without_service_attributes(changes);
        if let Some(acl) = set.get_mut("acl") {
            *acl = acl::with_administrator_rule(acl.take());
        }
        shorten_message(&mut set);
        let mut patch = Self { remove, set };
        patch.derive(stored, now);
        patch.set.insert("updated".to_owned(), json!(format_time(now)));
        patch
    }

    /// The attributes that it sets because somebody asked for it.
    pub fn asked(&self) -> impl Iterator<Item = (&String, &Value)> + Clone {
        let is_derived = |name: &str| name == "updated" || DERIVED_ATTRIBUTES.contains(&name);
        self.set.iter().filter(move |(name, _)| !is_derived(name))
    }

    /// Those of these attributes that are missing once this is applied to `stored`.
    #[must_use]
    pub fn lacks<'n>(&self, stored: &StoredDocument, names: &[&'n str]) -> Vec<&'n str> {
        if self.remove.is_empty() && stored.has_all(names) {
            return Vec::new();
        }
        let is_there = |name: &str| self.set.contains_key(name) || stored.contains_key(name) && !self.removes(name);
        names.iter().copied().filter(|name| !is_there(name)).collect()
    }

    /// The state once this is applied to `stored`.
    #[must_use]
    pub fn state(&self, stored: &StoredDocument) -> State {
        match self.set.get("state") {
            Some(state) => state.as_str().and_then(State::from_text).unwrap_or(State::Queued),
            None if self.removes("state") => State::Queued,
            None => state_of(stored),
        }
    }

    /// Makes the document what it is to be.
    pub fn apply(self, document: &mut StoredDocument) {
        document.change(&self.remove, self.set);
    }

    fn removes(&self, name: &str) -> bool {
        self.remove.iter().any(|removed| removed == name)
    }

    fn derive(&mut self, stored: &StoredDocument, now: Timestamp) {
        let state = self.state(stored);
        let [before, message, started] = stored.values(["state", "statusMessage", "started"]);
        let changes = |name: &str, before: Option<&Value>| {
            before != self.set.get(name).or(before.filter(|_| !self.removes(name)))
        };
        let has_changed = changes("state", before.as_deref()) || changes("statusMessage", message.as_deref());
        // no edit sets it
        let started = started.filter(|_| !self.removes("started"));
        if state == State::Running && started.is_none() {
            self.set.insert("started".to_owned(), json!(format_time(now)));
        }
        if has_changed {
            self.set.insert("timeOfStatusChange".to_owned(), json!(format_time(now)));
        }
        if state.is_final() {
            self.set.insert("progress".to_owned(), json!(100));
            if let Some(started) = started.and_then(|started| started.as_str()?.parse().ok()) {
                // between two clocks of which one was wrong nothing is known to have passed
                let seconds = match Age::of(started, now) {
                    Age::Past(age) => age.as_secs(),
                    Age::Ahead(_) | Age::Unbelievable(_) => 0,
                };
                self.set.insert("duration".to_owned(), json!(seconds));
            }
        }
    }
}

/// The state that a stored document is in. A store holds only documents that were checked.
#[must_use]
pub fn state_of(document: &StoredDocument) -> State {
    document.text("state").and_then(|state| State::from_text(&state)).unwrap_or(State::Queued)
}

/// The action of a job.
#[must_use]
pub fn action_of(document: &StoredDocument) -> Cow<'_, str> {
    document.text("action").unwrap_or_default()
}

/// The priority under which a job is queued.
#[must_use]
pub fn priority_of(document: &StoredDocument) -> u16 {
    let priority = document.value("priority").and_then(|priority| u16::try_from(priority.as_u64()?).ok());
    priority.unwrap_or(job::LOWEST_PRIORITY)
}

/// The time in this attribute, `created` or `updated`.
#[must_use]
pub fn time_of(document: &StoredDocument, attribute: &str) -> Timestamp {
    let time = document.text(attribute).and_then(|text| text.parse().ok());
    time.unwrap_or(Timestamp::MIN)
}

/// The document as a reader sees it: with the path of its entry.
#[must_use]
pub fn shown(mut document: Document, entry: Option<&str>) -> Document {
    show_entry(&mut document, entry);
    document
}

/// Puts the path of the entry where a reader finds it.
pub(super) fn show_entry(document: &mut Document, entry: Option<&str>) {
    let Some(entry) = entry else { return };
    let properties = document.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(ENTRY_PROPERTY.to_owned(), json!(entry));
    }
}

/// As [`shown`], without a copy of the document.
pub struct Shown<'a> {
    /// The stored document.
    pub document: &'a Document,
    /// Path of the entry.
    pub entry: Option<&'a str>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { document, entry: Some(entry) } = self else { return self.document.serialize(serializer) };
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in *document {
            match value {
                Value::Object(properties) if name == "properties" => {
                    let mut properties = properties.clone();
                    properties.insert(ENTRY_PROPERTY.to_owned(), json!(entry));
                    members.serialize_entry(name, &properties)?;
                }
                _ => members.serialize_entry(name, value)?,
            }
        }
        if !document.contains_key("properties") {
            members.serialize_entry("properties", &json!({ENTRY_PROPERTY: entry}))?;
        }
        members.end()
    }
}

/// What only the server sets is dropped without a word, as the original does.
fn without_service_attributes(mut sent: Document) -> Document {
    sent.retain(|name, _| {
        !dialect::SERVICE_ATTRIBUTES.contains(&name.as_str()) && !DERIVED_ATTRIBUTES.contains(&name.as_str())
    });
    if let Some(properties) = sent.get_mut("properties").and_then(Value::as_object_mut) {
        properties.shift_remove(ENTRY_PROPERTY);
        if properties.is_empty() {
            sent.shift_remove("properties");
        }
    }
    sent
}

fn shorten_message(document: &mut Document) {
    let Some(Value::String(message)) = document.get_mut("statusMessage") else { return };
    if message.len() <= LONGEST_MESSAGE {
        return;
    }
    let characters: Vec<char> = message.chars().collect();
    if characters.len() > LONGEST_MESSAGE {
        let half = LONGEST_MESSAGE / 2;
        let first: String = characters[..half].iter().collect();
        let last: String = characters[characters.len() - half..].iter().collect();
        *message = format!("{first}\n...\n{last}");
    }
}

/// Whether a job was written to less than `span` before now, so that whoever wrote may still be putting its entry. A time
/// that is ahead says nothing of the sort, by however little: the job gets an entry, and if another one was under way all
/// the same, the one of the two that is recorded counts.
#[must_use]
pub fn is_written_within(job: &StoredDocument, span: SignedDuration, now: Timestamp) -> bool {
    Age::of(time_of(job, "updated"), now).is_within(span)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const ID: &str = "job/0a";

    fn document(value: Value) -> Document {
        let Value::Object(document) = value else { panic!("not an object") };
        document
    }

    fn added(sent: Value) -> Document {
        new_document(ID, document(sent), Timestamp::UNIX_EPOCH)
    }

    fn edited(stored: &Document, changes: Value, second: i64) -> Document {
        merged(stored, changes, &[], Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second))
    }

    fn merged(stored: &Document, changes: Value, remove: &[String], now: Timestamp) -> Document {
        let mut merged = StoredDocument::from(stored.clone());
        let patch = Patch::new(&merged, document(changes), remove, now);
        let state = patch.state(&merged);
        patch.apply(&mut merged);
        assert_eq!(state_of(&merged), state, "what is said before it is done");
        merged.into_document()
    }

    #[test]
    fn an_add_takes_no_service_attribute_from_the_client() {
        let job = added(json!({
            "id": "job/mine", "resourceURI": "x", "created": "x", "updated": "x", "operations": [], "state": "SUCCESS",
            "started": "x", "duration": 3, "timeOfStatusChange": "x", "retryOf": {"href": "job/0b"}, "action": "noop",
            "properties": {"zookeeper-path": "/etc"},
        }));
        assert_eq!(job["id"], ID);
        assert_eq!(job["resourceURI"], JOB.resource_uri);
        assert_eq!(job["created"], "1970-01-01T00:00:00.000Z");
        assert_eq!(job["state"], "QUEUED");
        for absent in ["operations", "started", "duration", "timeOfStatusChange", "retryOf", "properties"] {
            assert!(!job.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn an_add_fills_in_what_is_missing() {
        let job = added(json!({"action": "noop", "targetResource": {"href": "dummy"}}));
        assert_eq!((&job["progress"], &job["priority"]), (&json!(0), &json!(999)));
        assert_eq!(job["affectedResources"], json!([{"href": "dummy"}]));
        assert_eq!(job["acl"], acl::default_acl());
        let twice = added(json!({"targetResource": {"href": "d"}, "affectedResources": [{"href": "d"}]}));
        assert_eq!(twice["affectedResources"], json!([{"href": "d"}]));
    }

    #[test]
    fn running_sets_started_once_and_final_sets_progress_and_duration() {
        let queued = added(json!({"action": "noop"}));
        let running = edited(&queued, json!({"state": "RUNNING"}), 10);
        assert_eq!(running["started"], "1970-01-01T00:00:10.000Z");
        let again = edited(&running, json!({"state": "RUNNING"}), 20);
        assert_eq!(again["started"], running["started"]);
        let done = edited(&again, json!({"state": "SUCCESS"}), 75);
        assert_eq!((&done["progress"], &done["duration"]), (&json!(100), &json!(65)));
    }

    #[test]
    fn a_job_that_never_started_has_no_duration() {
        let failed = edited(&added(json!({"action": "x"})), json!({"state": "FAILED"}), 10);
        assert!(!failed.contains_key("duration"));
        assert_eq!(failed["progress"], 100);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_duration_below_zero() {
        let running = edited(&added(json!({"action": "x"})), json!({"state": "RUNNING"}), 100);
        assert_eq!(edited(&running, json!({"state": "SUCCESS"}), 40)["duration"], 0);
    }

    #[test]
    fn administrators_keep_their_right_whatever_access_control_is_sent() {
        let acl = json!({"owner": {"principal": "jane", "type": "USER"}});
        let rule = json!([{"type": "ROLE", "principal": "ADMIN", "right": "ALL"}]);
        let job = added(json!({"action": "x", "acl": acl}));
        assert_eq!((&job["acl"]["owner"], &job["acl"]["rules"]), (&acl["owner"], &rule));
        let job = edited(&added(json!({"action": "x"})), json!({"acl": acl}), 1);
        assert_eq!((&job["acl"]["owner"], &job["acl"]["rules"]), (&acl["owner"], &rule));
    }

    #[test]
    fn time_of_status_change_moves_only_with_state_or_message() {
        let queued = added(json!({"action": "noop", "statusMessage": "hello"}));
        let progress = edited(&queued, json!({"progress": 5}), 10);
        assert_eq!(progress["timeOfStatusChange"], queued["timeOfStatusChange"]);
        let message = edited(&progress, json!({"statusMessage": "world"}), 20);
        assert_eq!(message["timeOfStatusChange"], "1970-01-01T00:00:20.000Z");
        let state = edited(&message, json!({"state": "RUNNING"}), 30);
        assert_eq!(state["timeOfStatusChange"], "1970-01-01T00:00:30.000Z");
    }

    #[test]
    fn an_edit_keeps_service_attributes_and_takes_the_priority() {
        let queued = added(json!({"action": "noop", "priority": 5}));
        let edit = edited(
            &queued,
            json!({"priority": 1, "id": "job/other", "created": "x", "resourceURI": "x", "operations": []}),
            10,
        );
        for kept in ["id", "created", "resourceURI"] {
            assert_eq!(edit[kept], queued[kept], "{kept}");
        }
        assert_eq!(edit["priority"], 1);
        assert_eq!(edit["updated"], "1970-01-01T00:00:10.000Z");
    }

    #[test]
    fn select_removes_attributes_but_not_service_attributes() {
        let queued = added(json!({"action": "noop", "name": "n", "description": "d"}));
        let remove: Vec<String> = ["name", "id", "acl", "created", "priority"].map(str::to_owned).to_vec();
        let edit = merged(&queued, json!({"description": "e"}), &remove, Timestamp::UNIX_EPOCH);
        assert!(!edit.contains_key("name"));
        assert_eq!(edit["description"], "e");
        for kept in ["id", "acl", "created", "priority"] {
            assert!(edit.contains_key(kept), "{kept}");
        }
    }

    #[test]
    fn long_messages_keep_both_ends() {
        let long = format!("{}{}{}", "a".repeat(60_000), "b".repeat(60_000), "é");
        let by_edit = edited(&added(json!({"action": "x"})), json!({"statusMessage": long}), 1);
        let by_add = added(json!({"action": "x", "statusMessage": long}));
        for job in [by_edit, by_add] {
            let message = job["statusMessage"].as_str().expect("a text");
            assert_eq!(message.chars().count(), LONGEST_MESSAGE + 5);
            assert!(message.starts_with("aaa") && message.contains("\n...\n") && message.ends_with('é'));
        }
        let whole = "é".repeat(LONGEST_MESSAGE);
        assert_eq!(added(json!({"action": "x", "statusMessage": whole}))["statusMessage"], whole, "not bytes");
    }

    #[test]
    fn a_reader_sees_the_entry_beside_the_authors_properties() {
        let entry = Some("/job/entries/entry-999-0000000001");
        for sent in [json!({"properties": {"a": "b"}, "name": "n"}), json!({"properties": 7}), json!({"name": "n"})] {
            let document = added(sent);
            for entry in [entry, None] {
                let shown = serde_json::to_string(&shown(document.clone(), entry)).expect("a document");
                let text = serde_json::to_string(&Shown { document: &document, entry }).expect("a document");
                assert_eq!(text, shown);
            }
        }
        let job = shown(added(json!({"properties": {"a": "b"}})), entry);
        assert_eq!(job["properties"], json!({"a": "b", "zookeeper-path": "/job/entries/entry-999-0000000001"}));
    }
}
