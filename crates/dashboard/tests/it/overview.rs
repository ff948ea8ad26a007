//! The first page: what it shows to whom, and that it says in words where there is nothing.

use serde_json::{Value, json};

use super::html;
use super::scripted::{ADMINISTRATOR, USER, World};

const TIME: &str = "2026-11-30T12:00:00Z";

fn work(attention: &Value, actions: &Value, failures: &Value) -> Value {
    let points = |number: u64| json!([vec![0; 89], vec![number]].concat());
    json!({
        "since": TIME, "attention": attention, "actions": actions, "failures": failures, "late": [], "checked": TIME,
        "longest": {
            "running": [{"job": "job/0b", "action": "collect <s>", "executor": "node-3 <em>", "since": TIME},
                        {"job": "job/0c", "action": "collect", "since": TIME}],
            "waiting": {"job": "job/0d", "action": "resize", "created": TIME},
        },
        "total": {"added": 41, "success": 30, "failed": 10, "stopped": 0, "lost": 0, "released": 0, "refused": 0,
                  "addedPerSecond": 4.1, "endedPerSecond": 0.0, "wait": {"count": 40, "p50": 0.003, "p99": 1.2}},
        "series": {"begin": TIME, "step": 10, "added": points(41), "ended": points(40), "failed": points(10)},
    })
}

fn world(role: &'static str, work: Option<Value>) -> World {
    World::of(role, move |method, path| {
        let mut overview = json!({"time": TIME, "span": "24h", "jobs": {"QUEUED": 12204, "FAILED": 3}});
        if let Some(work) = &work {
            overview["work"] = work.clone();
        }
        ((method, path) == ("GET", "/api/overview")).then_some((200, overview))
    })
}

#[tokio::test]
async fn an_administrator_sees_what_was_done_and_what_needs_attention() {
    let attention = json!([
        {"code": "lost", "text": "3 jobs RUNNING that <b>nobody</b> holds", "since": TIME, "count": 3,
         "href": "jobs?filter=state%3D%27RUNNING%27"},
        {"code": "failing", "text": "collect fails", "latest": TIME, "count": 3, "href": "jobs"},
        {"code": "of a later version", "text": "something", "count": 1, "href": "about"},
    ]);
    let run = json!({"count": 40, "p50": 2.1, "p99": 600.0});
    let actions = json!([
        {"name": "collect <i>", "added": 41, "ended": 40, "failed": 10, "series": [0, 40], "failedSeries": [0, 10], "run": run},
        {"name": "other", "added": 1, "ended": 1, "failed": 1, "series": [0, 1]},
    ]);
    let failures = json!([{"action": "collect", "message": "401 <u>", "count": 10, "latest": TIME, "job": "job/0a"}]);
    let world = world(ADMINISTRATOR, Some(work(&attention, &actions, &failures)));
    let page = world.get("/ui/?span=24h").await;
    html::check(&page.text);
    for text in [
        "12,204",
        "jobs?filter=state%3D%27FAILED%27\"",
        "&lt;b&gt;nobody&lt;/b&gt;",
        "./jobs?filter=state%3D%27RUNNING%27",
        "collect &lt;i&gt;",
        "25.0 %",
        "2.1 s",
        "10 min",
        "401 &lt;u&gt;",
        "./jobs/0a",
        "41 added and 40 ended in the last 24 hours",
        "aria-current=\"true\">24 hours",
        "M89 100v-100",
        // what failed is on top of what did not, said in words, too
        "<path d=\"M1 100v-75h.8v75z\"></path><path class=\"failed\" d=\"M1 25v-25h.8v25z\">",
        "<title>40 ended in the last 24 hours, 10 of them FAILED</title>",
        " FAILED, on top of ",
        "holds, since <time datetime=\"2026-11-30T12:00:00.000Z\">2026-11-30 12:00:00 UTC</time>: \
         <a href=\"./jobs?filter=state%3D%27RUNNING%27\">running jobs</a>",
        "collect fails, last <time class=\"ago\" datetime=\"2026-11-30T12:00:00.000Z\">at 12:00:00 UTC</time>: \
         <a href=\"./jobs\">the jobs that failed</a>",
        "something: <a href=\"./about\">more about it</a>",
        "Added per second",
        "mean of the last minute",
        "median; 99 % took at most 1.2 s",
        "<td>node-3 &lt;em&gt;</td><td>collect &lt;s&gt;</td>",
        "<td>not known</td>",
        "<a href=\"./jobs/0d#why\">why it waits</a>",
        // of the action: within the span, and today
        "./jobs?filter=state%3D%27FAILED%27%20and%20action%3D%27collect%27%20and%20updated%3E%3D%27now-24h%27\">24 hours</a>",
        "./jobs?filter=state%3D%27FAILED%27%20and%20action%3D%27collect%27%20and%20updated%3E%3D%27now%2Fd%27\">today</a>",
        "<td class=\"number\">100.0 %</td>",
        "data-live=\"?span=24h\"",
    ] {
        assert!(page.status == 200 && page.text.contains(text), "{text} in {}", page.text);
    }
    let asked = world.api.asked.lock().expect("not poisoned");
    assert!(asked.iter().any(|request| *request.uri() == "/api/overview?span=24h"), "the span is handed on");
}

#[tokio::test]
async fn where_there_is_nothing_it_says_so() {
    let none = json!([]);
    let mut nothing = work(&none, &none, &none);
    nothing["longest"] = json!({"running": []});
    nothing["total"] = json!({"added": 0, "success": 0, "failed": 0, "stopped": 0, "lost": 0, "released": 0, "refused": 0,
                              "addedPerSecond": 0.0, "endedPerSecond": 0.0});
    let world = world(ADMINISTRATOR, Some(nothing.clone()));
    let page = world.get("/ui/").await;
    html::check(&page.text);
    for text in [
        "Nothing needs attention.",
        "No job has ended in the last 24 hours.",
        "No job was added or has ended in the last 24 hours.",
        "No failure of the last 24 hours is known.",
        "No job runs.",
        "No job waits.",
        "nothing measured",
        "last checked at",
        "data-live=\"?\"",
    ] {
        assert!(page.text.contains(text), "{text} in {}", page.text);
    }
    assert_eq!(world.get("/ui/regions?page=%3F").await.status, 200);
    nothing["checked"] = Value::Null;
    nothing.as_object_mut().expect("an object").remove("longest");
    let page = self::world(ADMINISTRATOR, Some(nothing)).get("/ui/").await;
    assert!(page.text.contains("is not known: no reconciler is at work") && page.text.contains("No job runs"));
}

#[tokio::test]
async fn others_see_how_many_jobs_are_theirs_and_no_more() {
    let page = world(USER, None).get("/ui/").await;
    html::check(&page.text);
    assert!(page.text.contains("12,204") && page.text.contains("Your jobs"), "{}", page.text);
    for text in ["Needs attention", "Failures", "How far back"] {
        assert!(!page.text.contains(text), "{text} in {}", page.text);
    }
}
