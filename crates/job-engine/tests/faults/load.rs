//! [`Load`]: somebody who adds jobs all the while.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use slipstream_cimi::{Client, Document};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::roles::STEP;
use crate::support::LIMIT;

/// Adds jobs until it is ended.
pub struct Load {
    goes_on: watch::Sender<bool>,
    acknowledged: AbortOnDropHandle<Vec<String>>,
}

impl Load {
    /// Jobs of lengths that follow from the seed, one in each period.
    pub fn begin(client: &Client, seed: u64, period: Duration) -> Self {
        let goes_on = watch::Sender::new(true);
        let work = tokio::spawn(add_all(client.clone(), seed, period, goes_on.subscribe()));
        Self { goes_on, acknowledged: AbortOnDropHandle::new(work) }
    }

    /// Adds no more, and answers the ids of all jobs once each add was acknowledged.
    pub async fn end(self) -> Vec<String> {
        self.goes_on.send_replace(false);
        self.acknowledged.await.expect("adding does not panic")
    }
}

async fn add_all(client: Client, seed: u64, period: Duration, goes_on: watch::Receiver<bool>) -> Vec<String> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut adds = JoinSet::new();
    let mut next = tokio::time::interval(period);
    let mut number = 0;
    while *goes_on.borrow() {
        next.tick().await;
        let key = format!("seed {seed} job {number}");
        number += 1;
        let job = step("loud", length(&mut chance));
        adds.spawn(add(client.clone(), job, key, period));
    }
    adds.join_all().await
}

/// Repeats an add, once in each period, until it is acknowledged.
async fn add(client: Client, job: Document, key: String, period: Duration) -> String {
    let begun = Instant::now();
    let mut next = tokio::time::interval(period);
    loop {
        next.tick().await;
        match client.add("job", &job, Some(&key)).await {
            Ok(id) => return id,
            Err(error) => assert!(begun.elapsed() < LIMIT, "`{key}` is not added: {error}"),
        }
    }
}

/// Most are short, and some outlast a session.
fn length(chance: &mut StdRng) -> Duration {
    Duration::from_millis(match chance.random_range(0..100) {
        0..70 => chance.random_range(20..200),
        70..92 => chance.random_range(400..1000),
        _ => chance.random_range(2500..4000),
    })
}

/// A job of the action with a record.
pub fn step(kind: &str, length: Duration) -> Document {
    let target = format!("{kind}/{}", length.as_millis());
    match json!({"action": STEP, "targetResource": {"href": target}}) {
        Value::Object(document) => document,
        other => panic!("not an object: {other}"),
    }
}
