use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::overview::explain::Code;
use slipstream_cimi::overview::ledger::RefusedWrite;
use slipstream_cimi::{Lease, Transport};

use super::super::super::terminal::Screen;
use super::*;

const PLAIN_80: Screen = Screen { width: Some(80), colours: false };

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    time("2026-11-24T12:00:00Z")
}

fn attempt(zxid: i64, executor: &str, ended: Option<(&str, Outcome)>) -> Attempt {
    Attempt {
        lease: (zxid > 0).then_some(Lease { generation: 1, zxid }),
        executor: executor.to_owned(),
        begun: time("2026-11-24T11:59:48.123Z"),
        ended: ended.map(|(ended, _)| time(ended)),
        outcome: ended.map(|(_, outcome)| outcome),
        output: Vec::new(),
    }
}

#[test]
fn attributes_are_readable() {
    let Value::Object(document) = json!({
        "id": "job/0a", "resourceURI": "http://sixsq.com/slipstream/1/Job",
        "created": "2026-11-24T11:59:00.000Z", "state": "RUNNING", "progress": 40, "action": "noop",
        "statusMessage": "first line\nsecond\u{1b}[2J line", "duration": 12,
        "targetResource": {"href": "credential/a"},
        "affectedResources": [{"href": "credential/a"}, {"href": "credential/b"}],
        "acl": {"owner": {"type": "ROLE", "principal": "ADMIN"},
                "rules": [{"type": "USER", "principal": "jane", "right": "VIEW"}]},
        "properties": {"zookeeper-path": "/job/entries/entry-999-0000000001", "a": "b"},
        "operations": [{"rel": "edit", "href": "job/0a"},
                       {"rel": "http://schemas.dmtf.org/cimi/2/action/stop", "href": "job/0a/stop"},
                       {"rel": "stop", "href": "job/0a/stop"}],
        "unheardOf": [1, {"x": true}],
    }) else {
        panic!("not an object")
    };
    let expected = "\
job/0a
  action             noop
  state              RUNNING
  progress           40%
  statusMessage      first line
                     second\\u001b[2J line
  targetResource     credential/a
  created            2026-11-24T11:59:00.000Z (1m ago)
  duration           12s
  resourceURI        http://sixsq.com/slipstream/1/Job
  affectedResources  credential/a, credential/b
  acl                owner ADMIN, jane VIEW
  properties         zookeeper-path: /job/entries/entry-999-0000000001
                     a: b
  operations         edit, stop
  unheardOf          1, x: true";
    assert_eq!(render_attributes(&document, now(), PLAIN_80), expected);
    let coloured = render_attributes(&document, now(), Screen { colours: true, ..PLAIN_80 });
    assert!(coloured.contains("\u{1b}[36m") && coloured.contains("RUNNING\u{1b}[0m"), "{coloured}");
    assert_eq!(console::strip_ansi_codes(&coloured), expected);
}

#[test]
fn a_long_value_stays_in_its_column() {
    let Value::Object(document) = json!({
        "id": "job/0a", "action": "orchestrate-".repeat(7), "state": "FAILED",
        "statusMessage": "the first machine did not answer within a minute,\n  and neither did the others",
    }) else {
        panic!("not an object")
    };
    let expected = "\
job/0a
  action         orchestrate-orchestrate-orchestrate-
                 orchestrate-orchestrate-orchestrate-
                 orchestrate-
  state          FAILED
  statusMessage  the first machine did not answer
                 within a minute,
                   and neither did the others";
    assert_eq!(render_attributes(&document, now(), Screen { width: Some(53), ..PLAIN_80 }), expected);
}

#[test]
fn the_ledger_of_a_job_that_nobody_took_is_short() {
    let expected = "\
ledger
  entry           none
  lease           none
  held by         nobody
  lost attempts   0
  refused writes  0";
    assert_eq!(render_ledger(&Ledger::default(), None, now(), PLAIN_80), expected);
    let claim = claimed(&Value::Null).ok();
    let shown = render_ledger(&Ledger::default(), claim, now(), PLAIN_80);
    assert_eq!(shown, expected.replace("  lost attempts", "  claim           none\n  lost attempts"));
}

#[test]
fn the_ledger_shows_attempts_who_holds_it_and_refused_writes_at_80_columns() {
    let refused = |zxid, state| RefusedWrite {
        lease: Lease { generation: 1, zxid },
        executor: "host-a".to_owned(),
        time: time("2026-11-24T11:59:50Z"),
        state,
    };
    let ledger = Ledger {
        entry: Some("/job/entries/entry-999-0000000001".to_owned()),
        lease: Some(Lease { generation: 1, zxid: 99 }),
        lost: 1,
        lost_together: 0,
        attempts: vec![
            attempt(7, "host-a", Some(("2026-11-24T11:59:49Z", Outcome::Lost))),
            attempt(0, "an executor without leases", Some(("2026-11-24T11:59:50Z", Outcome::Released))),
            attempt(99, "host-b", None),
        ],
        refused: vec![refused(7, None), refused(7, Some(State::Success))],
        refused_total: 31,
    };
    let expected = "\
ledger
  entry           /job/entries/entry-999-0000000001
  lease           1.99
  held by         host-b, for 11s
  claim           host-b on machine-b
  lost attempts   1
  refused writes  31

attempts, oldest first
  #  LEASE  EXECUTOR        BEGUN                 ENDED                 OUTCOME
  1  1.7    host-a          2026-11-24T11:59:48Z  2026-11-24T11:59:49Z  lost
  2  none   an executor     2026-11-24T11:59:48Z  2026-11-24T11:59:50Z  released
            without leases
  3  1.99   host-b          2026-11-24T11:59:48Z                        running

latest writes refused because a later claim has the job
  TIME                  LEASE  EXECUTOR  WISH
  2026-11-24T11:59:50Z  1.7    host-a    no change of state
  2026-11-24T11:59:50Z  1.7    host-a    SUCCESS";
    let mut claim = json!({"claimant": "0123456789abcdef", "zxid": 99, "executor": "host-b", "host": "machine-b"});
    assert_eq!(render_ledger(&ledger, claimed(&claim).ok(), now(), PLAIN_80), expected);
    claim["executor"] = Value::Null;
    assert_eq!(claimed(&claim).ok().as_deref(), Some("foreign 0123456789abcdef"));
}

#[test]
fn a_job_whose_last_attempt_ended_is_held_by_nobody() {
    let attempts = vec![attempt(7, "host-a", Some(("2026-11-24T11:59:49Z", Outcome::Finished)))];
    let shown = render_ledger(&Ledger { attempts, ..Ledger::default() }, None, now(), PLAIN_80);
    assert!(shown.contains("held by         nobody"), "{shown}");
    assert!(shown.ends_with("finished"), "{shown}");
}

/// Refuses everything with this status.
struct Refusing(u16);

#[async_trait]
impl Transport for Refusing {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let body = json!({"status": self.0, "message": "no", "resource-id": "job/0a/ledger"});
        Ok(Response::builder().status(self.0).body(Bytes::from(body.to_string()))?)
    }
}

#[tokio::test]
async fn a_job_is_shown_without_its_ledger_to_whoever_may_not_see_it() {
    for (status, reason) in [(403, Some(NOT_SHOWN)), (404, Some(NO_LEDGER)), (405, Some(NO_LEDGER)), (500, None)] {
        let client = Client::new(Arc::new(Refusing(status)), None);
        let read = read_ledger(&client, "job/0a").await;
        assert_eq!(read.ok().and_then(Result::err), reason, "{status}");
    }
}

#[test]
fn a_job_says_why_it_waits() {
    let until = Some("2026-11-24T12:00:00Z".parse().unwrap());
    let reason = |text: &str| Reason {
        code: Code::Released,
        text: text.to_owned(),
        since: None,
        until: None,
        executor: None,
        href: None,
        blocks: false,
    };
    let text = "no executor has its action, the job fails unless one has it by 2026-11-24T12:15:00Z";
    let waits = [Reason { executor: Some("Kenny".to_owned()), until, ..reason(text) }, reason("held by nobody\u{1b}")];
    let expected = "\
waits because
  Kenny       no executor has its action, the job fails unless one has it by
              2026-11-24T12:15:00Z (looks again at 2026-11-24T12:00:00Z)
  the server  held by nobody\\u001b";
    assert_eq!(render_waits(&waits, now(), PLAIN_80), expected, "in whole, however narrow the screen");
}

#[test]
fn what_an_attempt_printed_last_is_below_the_attempts() {
    let printed = Attempt {
        output: ["Traceback:", "  File \"a.py\"", "\traise  Oops", "psql: \u{1b}[31mno such\nrole"]
            .map(str::to_owned)
            .into(),
        ..attempt(9, "node-1", Some(("2026-11-24T11:59:50Z", Outcome::Finished)))
    };
    let ledger = Ledger { attempts: vec![attempt(8, "node-0", None), printed], ..Ledger::default() };
    let shown = render_ledger(&ledger, None, now(), Screen { width: Some(80), colours: false });
    let expected = "

last output of attempt 2
  Traceback:
    File \"a.py\"
      raise  Oops
  psql: \\u001b[31mno such\\nrole";
    assert!(shown.ends_with(expected), "{shown}");
}
