//! One thing done with all jobs of a filter: what is offered, asked and shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::html;
use super::scripted::{ADMINISTRATOR, NOW, USER, World, job, jobs};

/// An API with so many jobs, which refuses what is to be begun so.
fn world(roles: &'static str, count: u64, refusal: Option<(u16, &'static str)>) -> World {
    let searches = AtomicUsize::new(0);
    World::of(roles, move |method, path| match (method, path) {
        ("GET", "/api/job") => {
            let number = searches.fetch_add(2, Ordering::Relaxed);
            let mut found = jobs(&[job(&format!("0{number}"), "RUNNING"), job(&format!("0{}", number + 1), "FAILED")]);
            found["count"] = json!(count);
            Some((200, found))
        }
        ("POST", "/api/job/bulk") => Some(match refusal {
            None => (202, json!({"status": 202, "resource-id": "operation/0e"})),
            Some((status, message)) => (status, json!({"status": status, "message": message})),
        }),
        ("GET", "/api/operation") => Some((200, json!({"count": 1, "bulkOperations": [operation("RUNNING")]}))),
        ("GET", "/api/operation/0e") => Some((200, operation("RUNNING"))),
        ("GET", "/api/operation/0f") => Some((200, operation("SUCCESS"))),
        ("POST", "/api/operation/0e/stop") => Some((200, operation("STOPPED"))),
        _ => None,
    })
}

fn operation(state: &str) -> Value {
    let rights = if state == "RUNNING" { json!([{"rel": "stop", "href": "operation/0e/stop"}]) } else { json!([]) };
    json!({
        "id": "operation/0e", "state": state, "do": "retry", "filter": "state='FAILED' and action='<b>'", "before": NOW,
        "by": "jane", "created": NOW, "updated": NOW, "matched": 2000, "done": 1200,
        "refused": {"final": 3, "403": 2, "odd": 1}, "statusMessage": "why <not>", "operations": rights,
    })
}

fn sent(world: &World, path: &str) -> Vec<Value> {
    let asked = world.api.asked.lock().expect("not poisoned");
    let sent = asked.iter().filter(|request| request.method() == "POST" && request.uri().path() == path);
    sent.map(|request| serde_json::from_slice(request.body()).expect("JSON")).collect()
}

fn filters(world: &World) -> Vec<String> {
    let asked = world.api.asked.lock().expect("not poisoned");
    let queries = asked.iter().filter(|request| request.uri().path() == "/api/job").filter_map(|it| it.uri().query());
    let filter = |query: &str| {
        let mut fields = form_urlencoded::parse(query.as_bytes());
        fields.find(|(name, _)| name == "$filter").map(|(_, value)| value.into_owned())
    };
    queries.filter_map(filter).collect()
}

#[tokio::test]
async fn what_may_be_done_with_all_jobs_of_a_filter_is_offered_to_whoever_may() {
    let place = "/ui/jobs?filter=action%3D'collect'";
    let page = world(ADMINISTRATOR, 2, None).get(place).await;
    html::check(&page.text);
    for text in ["./jobs/bulk/retry?filter=", "./jobs/bulk/stop?filter=", "./jobs/bulk/delete?filter=action"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let page = world(USER, 2, None).get(place).await;
    assert!(!page.text.contains("bulk/retry") && page.text.contains("bulk/stop"), "who may add may retry");
    let further = world(ADMINISTRATOR, 200, None).get("/ui/jobs?after=2026-11-30T12:04:46.000Z,2").await;
    assert!(!further.text.contains("jobs/bulk/"), "a further page does not say how many are meant");
    let seen = World::of(USER, |_, _| {
        let mut job = job("0a", "RUNNING");
        job["operations"] = json!([{"rel": "stop", "href": "job/0a/stop"}]);
        Some((200, jobs(&[job])))
    });
    assert!(!seen.get(place).await.text.contains("jobs/bulk/"), "who may only see them is offered nothing");
    let none = World::of(ADMINISTRATOR, |_, _| Some((200, json!({"count": 0, "jobs": [], "aggregations": {}}))));
    assert!(!none.get(place).await.text.contains("jobs/bulk/"));
}

#[tokio::test]
async fn states_that_were_not_counted_are_asked_for() {
    let world = world(ADMINISTRATOR, 7, None);
    let page = world.get("/ui/jobs?filter=created%3E'now-1d'").await;
    assert!(page.text.contains("bulk/retry"), "{}", page.text);
    let asked = filters(&world);
    assert_eq!(asked.len(), 3, "the list, and two numbers: {asked:?}");
    assert!(asked[1].contains("FAILED") && asked[1].contains("created>'now-1d'"), "{asked:?}");
}

#[tokio::test]
async fn jobs_are_counted_and_both_ends_shown_before_anything_is_done() {
    let world = world(ADMINISTRATOR, 31, None);
    let page = world.get("/ui/jobs/bulk/retry?filter=state%3D'FAILED'").await;
    let elements = html::check(&page.text);
    assert_eq!(page.status, 200);
    for text in ["Retry 31 jobs", "The first ones", "The last ones", "as a new job"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let hidden = |name: &str| {
        let field = elements.iter().find(|element| element.attribute("name") == Some(name));
        field.and_then(|field| field.attribute("value")).unwrap_or_default().to_owned()
    };
    assert_eq!(
        [hidden("filter"), hidden("expect"), hidden("before")],
        ["state=&#39;FAILED&#39;".replace("&#39;", "'"), "31".to_owned(), NOW.to_owned()]
    );
    let counted = format!("(state='FAILED') and created<='{NOW}'");
    assert_eq!(filters(&world), [counted.clone(), counted], "what was counted is what is meant");
    assert!(sent(&world, "/api/job/bulk").is_empty(), "nothing is done by looking");
    let form = format!("filter=state%3D'FAILED'&expect=31&before={NOW}");
    let done = world.post("/ui/jobs/bulk/retry", &form).await;
    assert_eq!((done.status, done.header("location")), (303, "../../operations/0e"));
    let wish = json!({"do": "retry", "filter": "state='FAILED'", "expect": 31, "before": NOW});
    let found = &sent(&world, "/api/job/bulk")[0];
    assert_eq!(found["before"].as_str().map(|it| it[..19].to_owned()), Some(NOW[..19].to_owned()));
    assert_eq!((&found["do"], &found["filter"], &found["expect"]), (&wish["do"], &wish["filter"], &wish["expect"]));
}

#[tokio::test]
async fn the_number_of_many_jobs_is_typed() {
    let world = world(ADMINISTRATOR, 2_000, None);
    let page = world.get("/ui/jobs/bulk/delete?filter=state%3D'FAILED'").await;
    assert!(page.text.contains("Type 2,000") && page.text.contains("name=\"typed\""), "{}", page.text);
    let form = format!("filter=state%3D'FAILED'&expect=2000&before={NOW}&typed=");
    for (typed, status) in [("", 400), ("20", 400), ("2000", 303), ("2,000", 303)] {
        let answer = world.post("/ui/jobs/bulk/delete", &format!("{form}{typed}")).await;
        assert_eq!(answer.status, status, "{typed}: {}", answer.text);
        if status == 400 {
            html::check(&answer.text);
            assert!(answer.text.contains("role=\"alert\""), "{}", answer.text);
            assert!(typed.is_empty() || answer.text.contains("value=\"20\""), "what was typed stays");
        }
    }
    assert_eq!(sent(&world, "/api/job/bulk").len(), 2);
}

#[tokio::test]
async fn what_the_api_refuses_is_said_and_nothing_is_lost() {
    for (status, message) in [
        (409, "34 jobs match, and 31 were expected: count again"),
        (409, "an operation of yours is under way: wait for its end, or stop it"),
        (400, "the search took too long: <no index>"),
        (403, "credentials required"),
    ] {
        let world = world(ADMINISTRATOR, 2_000, Some((status, message)));
        let form = format!("filter=state%3D'FAILED'&expect=2000&before={NOW}&typed=2000");
        let answer = world.post("/ui/jobs/bulk/stop", &form).await;
        html::check(&answer.text);
        assert_eq!(answer.status, status);
        let said = message[1..].replace('<', "&lt;").replace('>', "&gt;");
        for text in [&*said, "value=\"2000\"", "value=\"state='FAILED'\"", "Stop 2,000 jobs"] {
            assert!(answer.text.contains(text), "{text}: {}", answer.text);
        }
        assert_eq!(answer.text.contains("./operations\""), status == 409, "{}", answer.text);
    }
    let slow = World::of(ADMINISTRATOR, |_, _| Some((400, json!({"status": 400, "message": "no index for <colour>"}))));
    let page = slow.get("/ui/jobs/bulk/stop?filter=colour%3D'red'").await;
    html::check(&page.text);
    assert!(
        page.status == 400 && page.text.contains("No index for &lt;colour&gt;.") && page.text.contains("colour='red'")
    );
    let empty = world(ADMINISTRATOR, 0, None).get("/ui/jobs/bulk/stop?filter=state%3D'QUEUED'").await;
    assert!(empty.text.contains("No job matches") && !empty.text.contains("type=\"submit\">Stop"), "{}", empty.text);
}

#[tokio::test]
async fn an_operation_shows_how_far_it_is_and_can_be_ended() {
    let world = world(ADMINISTRATOR, 2, None);
    let list = world.get("/ui/operations").await;
    html::check(&list.text);
    assert!(list.text.contains("./operations/0e") && list.text.contains("Retry 2,000 jobs"), "{}", list.text);
    let page = world.get("/ui/operations/0e").await;
    html::check(&page.text);
    for text in [
        "value=\"1206\"",
        "1,200 of 2,000 added again",
        "had ended meanwhile",
        "changed by others only",
        "<code>odd</code>",
        "why &lt;not&gt;",
        "jane",
        "End it",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!world.get("/ui/operations/0f").await.text.contains("End it"), "it is over");
    let ended = world.post("/ui/operations/0e/stop", "").await;
    assert_eq!((ended.status, ended.header("location")), (303, "../../operations/0e"));
    assert_eq!(world.get("/ui/operations/0e/stop").await.status, 405);
    assert_eq!(world.get("/ui/operations/none").await.status, 404);
}
