//! `/api/overview`: who sees what of it, that it is what the metrics say, and that history survives a restart.

use serde_json::{Value, json};
use slipstream_cimi::overview::work::{Overview, PLACE, Span};
use slipstream_job_engine::{Engine, Failure, JobHandle, Success};

use crate::commands::run;
use crate::support::{InProcess, Raw, Up, cookie, document, eventually};

async fn succeed(_job: JobHandle) -> Result<Success, Failure> {
    Ok(Success::default())
}

async fn fail(_job: JobHandle) -> Result<Success, Failure> {
    Err(Failure::new("401 Unauthorized\nby the test"))
}

async fn overview(engine: &Engine, span: Span) -> Overview {
    engine.client().view_with(PLACE, &[("span", span.as_str())]).await.expect("answered")
}

#[tokio::test]
async fn everybody_sees_how_many_jobs_are_theirs_and_administrators_the_rest() {
    let engine = InProcess::new().await;
    let jane = document(json!({"username": "jane", "password": "a secret of jane"}));
    engine.client.add("user", &jane, None).await.expect("added");
    for owner in ["jane", "john", "john"] {
        let acl = json!({"owner": {"principal": owner, "type": "USER"}});
        let job = document(json!({"action": format!("zebra of {owner}"), "acl": acl}));
        engine.client.add("job", &job, None).await.expect("added");
    }
    let login = json!({"sessionTemplate": {
        "href": "session-template/internal", "username": "jane", "password": "a secret of jane",
    }});
    let session = Raw::new("POST", "/api/session").json(&login).send(&*engine.transport).await;
    let jane = session.headers["set-cookie"].to_str().expect("text").to_owned();
    let administrator = cookie(&*engine.transport).await;
    let ask = async |cookie: &str, query: &str| {
        Raw::new("GET", &format!("/api/overview{query}")).header("cookie", cookie).send(&*engine.transport).await
    };
    let anonymous = ask("", "").await;
    assert_eq!((anonymous.status, &anonymous.body["message"]), (403, &json!("credentials required")));
    let seen = ask(&jane, "?span=90d").await;
    assert_eq!((seen.status, &seen.body["jobs"]), (200, &json!({"QUEUED": 1})), "{}", seen.text);
    assert!(seen.body.get("work").is_none() && !seen.text.contains("zebra"), "{}", seen.text);
    let seen = ask(&administrator, "").await.body;
    assert_eq!((&seen["jobs"], &seen["span"]), (&json!({"QUEUED": 3}), &json!("15m")));
    assert_eq!(
        (&seen["work"]["total"]["added"], &seen["work"]["actions"][0]["name"]),
        (&json!(3), &json!("zebra of john"))
    );
    let attention = seen["work"]["attention"].as_array().expect("a list");
    let codes: Vec<&Value> = attention.iter().map(|row| &row["code"]).collect();
    assert_eq!(codes, ["no-executor", "no-executor"], "nobody has registered");
    let longest = &seen["work"]["longest"];
    assert_eq!(
        (&longest["running"], &longest["waiting"]["action"]),
        (&json!([]), &json!("zebra of jane")),
        "added first"
    );
    for span in ["15", "1h", "15m24h"] {
        let refused = ask(&administrator, &format!("?span={span}")).await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.body["message"], json!(format!("span is one of 15m, 24h, 90d, not '{span}'")));
    }
    // its documents are of kinds that no path leads to
    for kind in ["history-minute", "history-hour"] {
        assert_eq!(ask(&administrator, "").await.status, 200);
        let path = format!("/api/{kind}");
        let unknown = Raw::new("GET", &path).header("cookie", &administrator).send(&*engine.transport).await;
        assert_eq!((unknown.status, &unknown.body["message"]), (404, &json!("unknown resource")), "{kind}");
    }
}

#[tokio::test]
async fn what_runs_longest_is_told_with_its_executor() {
    let folder = tempfile::tempdir().expect("a folder");
    let wait = |job: JobHandle| async move {
        job.cancelled().await;
        Ok(Success::default())
    };
    let engine = Engine::builder().folder(folder.path()).action("wait", wait).start().await.expect("it starts");
    let id = engine.submit("wait").await.expect("added");
    let longest = async || overview(&engine, Span::Quarter).await.work.expect("for administrators").longest;
    let running = eventually("it runs", async || longest().await.running.pop()).await;
    assert_eq!((&running.job, &*running.action), (&id, "wait"));
    let ledger = engine.client().operation(&id, "ledger").await.expect("read");
    let attempt = &ledger["attempts"][0];
    assert_eq!(
        (json!(running.executor), json!(running.since)),
        (attempt["executor"].clone(), attempt["begun"].clone())
    );
    let gone = eventually("nothing runs", async || longest().await.running.is_empty().then_some(()));
    engine.client().operation(&id, "stop").await.expect("stopped");
    gone.await;
    engine.stop().await.expect("it stops");
}

#[tokio::test]
async fn metrics_and_overview_say_the_same_and_a_restart_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = async || {
        let engine = Engine::builder().folder(folder.path()).action("succeed", succeed).action("fail", fail);
        engine.start().await.expect("it starts")
    };
    let engine = start().await;
    for action in ["succeed", "succeed", "fail", "fail", "fail", "fail", "fail"] {
        let id = engine.submit(action).await.expect("added");
        engine.wait(&id).await.expect("it ends");
    }
    let before = overview(&engine, Span::Quarter).await;
    let text = engine.metrics().await;
    let value = |series: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} in {text}"))
    };
    let work = before.work.clone().expect("for administrators");
    for action in &work.actions {
        let of = |name: &str, more: &str| value(&format!("slipstream_{name}{{action=\"{}\"{more}}}", action.name));
        assert_eq!(action.added, of("jobs_added_total", ""));
        assert_eq!(action.failed, of("jobs_ended_total", ",state=\"FAILED\""));
        assert_eq!(action.ended - action.failed, of("jobs_ended_total", ",state=\"SUCCESS\""));
        assert_eq!(action.wait.map(|wait| wait.count), Some(of("job_wait_seconds_count", "")));
        assert_eq!(
            action.run.map(|run| run.count),
            Some(of("attempts_total", ",outcome=\"finished\"") + action.failed)
        );
        assert_eq!(action.series.iter().sum::<u64>(), action.ended);
        assert_eq!(action.failed_series.iter().sum::<u64>(), action.failed);
    }
    assert_eq!((work.total.added, work.total.success, work.total.failed), (7, 2, 5));
    let failures = work.failures.iter().map(|alike| (&*alike.action, &*alike.message, alike.count)).collect::<Vec<_>>();
    assert_eq!(failures, [("fail", "401 Unauthorized", 5)]);
    let failing = work.attention.iter().find(|row| row.code == "failing").expect("told");
    assert!(
        failing.text.contains("fail fails: 5 of 5 in the last 15 minutes, \"401 Unauthorized\" 5 times"),
        "{failing:?}"
    );
    engine.stop().await.expect("it stops");
    let engine = start().await;
    for span in Span::ALL {
        let after = overview(&engine, span).await.work.expect("for administrators");
        assert_eq!((after.total.added, after.total.failed), (7, 5), "{span:?}");
        assert_eq!(after.total.run.map(|run| run.count), Some(7), "{span:?}");
        assert_eq!(after.failures, [], "single failures are those of the process");
    }
    engine.stop().await.expect("it stops");
}

#[tokio::test]
async fn the_command_shows_it_and_refuses_other_spans() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", "jobs_cleanup"]);
    let client = up.client();
    let id = client.add("job", &document(json!({"action": "noop"})), None).await.expect("added");
    eventually("it ends", async || (client.get(&id).await.ok()?["state"] == "SUCCESS").then_some(())).await;
    let shown = run(&up, &["overview", "--span", "24h"]).good();
    assert!(shown.contains("in the last 24 hours: 1 added, 1 ended, 0 of them FAILED (0.0 %)"), "{shown}");
    assert!(shown.contains("nothing needs attention"), "{shown}");
    let json = run(&up, &["overview", "--json"]).json();
    assert_eq!((&json["jobs"], &json["work"]["actions"][0]["name"]), (&json!({"SUCCESS": 1}), &json!("noop")));
    assert!(run(&up, &["overview", "--span", "1h"]).failed().contains("[possible values: 15m, 24h, 90d]"));
}
