//! Jobs as a site has them, each following from its number.

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_job_engine::internals::server::{Patch, new_document};
use slipstream_store::{Record, Revision, StoredDocument};
use uuid::Uuid;

/// Three in ten jobs are hers.
pub const BUSY_USER: &str = "jane";
/// She has three.
pub const RARE_USER: &str = "rachel";
/// Other users, who share one in ten jobs.
pub const USERS: u64 = 1_000;
/// The first few of them are most jobs'.
pub const ACTIONS: [&str; 24] = [
    "collect_virtual_machines",
    "collect_quotas",
    "nuvlabox_state_check",
    "start_deployment",
    "stop_deployment",
    "collect_storage_buckets",
    "cleanup_jobs",
    "cleanup_nuvlabox_snapshots",
    "cleanup_virtual_machines",
    "connector_test",
    "deployment_state",
    "dummy_test_action",
    "image_state",
    "credential_check",
    "update_deployment",
    "fetch_logs",
    "fetch_metrics",
    "backup",
    "restore",
    "send_notification",
    "synchronise_users",
    "register_module",
    "remove_module",
    "migrate",
];
/// How long ago the first job was created, the last one now.
pub const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// So many jobs.
pub struct Jobs {
    pub number: u64,
    pub end: Timestamp,
}

impl Jobs {
    pub fn new(number: u64) -> Self {
        Self { number, end: "2026-11-25T00:00:00Z".parse().expect("a date") }
    }

    /// Each target has some twenty jobs.
    pub fn targets(&self) -> u64 {
        self.number.div_ceil(20).max(1)
    }

    /// One in ten jobs has a parent, which has some twenty children.
    pub fn parents(&self) -> u64 {
        self.number.div_ceil(200).max(1)
    }

    pub fn id(number: u64) -> String {
        format!("job/{}", Uuid::from_u128(StdRng::seed_from_u64(number).random()))
    }

    /// Evenly over the period.
    pub fn created(&self, number: u64) -> Timestamp {
        let part = i128::from(number.min(self.number)) * PERIOD.as_millis() / i128::from(self.number.max(1));
        self.end - PERIOD + SignedDuration::from_millis(part.try_into().expect("less than the period"))
    }

    /// As it was added.
    pub fn queued(&self, number: u64) -> Record {
        let mut random = StdRng::seed_from_u64(number);
        let id = Self::id(number);
        let target = random.random_range(0..self.targets());
        let mut sent = json!({
            "action": action(&mut random),
            "targetResource": {"href": format!("credential/{target:08}-cloud-exoscale-ch-gva")},
            "executionMode": "push",
            "name": format!("job {number} of the site"),
            "description": "collects what the cloud says about this credential and writes it into the documents of its owner",
            "properties": {"distributor": "jobs of every day", "round": format!("{:x}", random.random::<u128>())},
        });
        if number.is_multiple_of(10) {
            sent["parentJob"] = json!(format!("job/parent-{:08}", random.random_range(0..self.parents())));
        }
        if number.is_multiple_of(5) {
            sent["priority"] = json!(random.random_range(0..500));
        }
        if let Some(acl) = acl(number, &mut random) {
            sent["acl"] = acl;
        }
        let document = new_document(&id, object(sent), self.created(number));
        Record {
            id,
            revision: Revision::default(),
            document: document.into(),
            ledger: json!({"entry": format!("/job/entries/entry-999-{number:010}")}),
        }
    }

    /// The document in another state, some seconds later.
    pub fn changed(&self, document: &StoredDocument, number: u64, state: &str) -> StoredDocument {
        let seconds = if state == "RUNNING" { 2 } else { 60 };
        let now = self.created(number) + SignedDuration::from_secs(seconds);
        let changes = match state {
            "RUNNING" => json!({"state": state, "progress": 10}),
            _ => json!({"state": state, "progress": 100, "returnCode": 0,
                        "statusMessage": "the cloud has 42 virtual machines, 3 of them new, 1 gone since the last time"}),
        };
        let mut edited = document.clone();
        Patch::new(document, object(changes), &[], now).apply(&mut edited);
        edited
    }

    /// As the site has it now: most are done.
    pub fn record(&self, number: u64) -> Record {
        let record = self.queued(number);
        let state = match StdRng::seed_from_u64(!number).random_range(0..100) {
            0..4 => return record,
            4 => "RUNNING",
            5..8 => "STOPPED",
            8..20 => "FAILED",
            _ => "SUCCESS",
        };
        let document = self.changed(&record.document, number, state);
        Record { document, ..record }
    }
}

/// The smaller of two: the first ones come most.
pub fn action(random: &mut StdRng) -> &'static str {
    let [one, other] = [(); 2].map(|()| random.random_range(0..ACTIONS.len()));
    ACTIONS[one.min(other)]
}

/// None for six in ten: they are the administrator's.
fn acl(number: u64, random: &mut StdRng) -> Option<Value> {
    let owner = match number % 10 {
        _ if number < 3 => RARE_USER.to_owned(),
        1..=3 => BUSY_USER.to_owned(),
        4 => user(random),
        _ => return None,
    };
    let mut rules = Vec::new();
    if number % 70 == 1 {
        rules.push(json!({"type": "ROLE", "principal": "USER", "right": "VIEW"}));
    }
    if number % 50 == 4 {
        rules.push(json!({"type": "USER", "principal": user(random), "right": "VIEW"}));
    }
    Some(json!({"owner": {"type": "USER", "principal": owner}, "rules": rules}))
}

pub fn user(random: &mut StdRng) -> String {
    format!("user-{:04}", random.random_range(0..USERS))
}

fn object(value: Value) -> Document {
    match value {
        Value::Object(document) => document,
        _ => Document::new(),
    }
}
