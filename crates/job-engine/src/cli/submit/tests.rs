use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use serde_json::Value;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::{Transport, lease};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: SubmitArguments,
}

fn parsed(arguments: &[&str]) -> Result<SubmitArguments, clap::Error> {
    let all = ["submit"].iter().chain(arguments);
    Command::try_parse_from(all).map(|command| command.arguments)
}

/// Loses the first answers; keeps the keys that it was asked under.
struct Lossy {
    losses: usize,
    keys: Mutex<Vec<String>>,
}

#[async_trait]
impl Transport for Lossy {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let key = request.headers()[lease::IDEMPOTENCY_HEADER].to_str()?.to_owned();
        let asked = {
            let mut keys = self.keys.lock().unwrap();
            keys.push(key);
            keys.len()
        };
        if asked <= self.losses {
            return Err("connection reset".into());
        }
        let body = json!({"status": 201, "message": "job/0a created", "resource-id": "job/0a"});
        Ok(Response::builder().status(201).body(Bytes::from(body.to_string()))?)
    }
}

async fn added(losses: usize, key: Option<&str>) -> (anyhow::Result<String>, Vec<String>) {
    let transport = Arc::new(Lossy { losses, keys: Mutex::default() });
    let client = Client::new(transport.clone(), None);
    let answer = add(&client, &Document::new(), key.map(str::to_owned)).await;
    let keys = transport.keys.lock().unwrap().clone();
    (answer, keys)
}

#[tokio::test(start_paused = true)]
async fn an_add_whose_answers_are_lost_is_repeated_under_one_key() {
    let (id, keys) = added(3, None).await;
    assert_eq!(id.unwrap(), "job/0a");
    assert_eq!(keys.len(), 4);
    assert!(Uuid::parse_str(&keys[0]).is_ok() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let (_, others) = added(0, None).await;
    assert_ne!(others[0], keys[0], "another submit is another job");
}

#[tokio::test(start_paused = true)]
async fn a_given_key_is_the_key() {
    let (id, keys) = added(1, Some("mine")).await;
    assert_eq!(id.unwrap(), "job/0a");
    assert_eq!(keys, ["mine", "mine"]);
}

#[tokio::test(start_paused = true)]
async fn an_add_that_is_never_answered_ends_as_an_error() {
    let (answer, keys) = added(usize::MAX, None).await;
    assert_eq!(keys.len(), PAUSES.len() + 1);
    // so that whoever submits it again does not add it twice
    assert!(answer.unwrap_err().to_string().ends_with(&format!("--key {}", keys[0])));
}

#[test]
fn only_a_missing_answer_to_the_add_leaves_doubt() {
    let missing = |request: &str| Error::Unreachable { request: request.to_owned(), source: "reset".into() };
    assert!(leaves_doubt(&missing("POST /api/job")));
    assert!(!leaves_doubt(&missing("POST /api/session")));
}

#[test]
fn the_document_has_what_the_arguments_say() {
    let document = |arguments: &[&str]| Value::Object(parsed(arguments).unwrap().document());
    assert_eq!(document(&["noop"]), json!({"action": "noop"}));
    assert_eq!(
        document(&["noop", "--target", "credential/a", "--priority", "0"]),
        json!({"action": "noop", "targetResource": {"href": "credential/a"}, "priority": 0}),
    );
}

#[test]
fn priorities_run_from_0_to_999() {
    for good in ["0", "999"] {
        assert!(parsed(&["noop", "--priority", good]).is_ok(), "{good}");
    }
    for wrong in ["-1", "1000", "65536", "high", ""] {
        assert!(parsed(&["noop", &format!("--priority={wrong}")]).is_err(), "{wrong}");
    }
}
