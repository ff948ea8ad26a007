//! What every page says to administrators, and whether all is well.

use serde_json::{Value, json};

use super::html;
use super::scripted::{ADMINISTRATOR, NOW, USER, World, job, jobs};

fn world(roles: &'static str, notices: Value) -> World {
    World::of(roles, move |method, path| match (method, path) {
        ("GET", "/api/notices") => Some((200, notices.clone())),
        ("GET", "/api/job") => Some((200, jobs(&[job("0a", "RUNNING")]))),
        ("GET", "/api/cloud-entry-point") => Some((200, json!({"baseURI": "http://x/api/", "created": NOW}))),
        ("GET", "/api/doctor") => Some((
            200,
            json!({"time": NOW, "version": "1", "findings": [
                {"about": "store", "health": "well", "text": "it takes <writes>"},
                {"about": "clock", "health": "doubtful", "text": "that of the coordinator is 31 s ahead", "hint": "have both right"},
                {"about": "actions", "health": "ill", "text": "3 jobs wait", "hint": "start an executor"},
            ]}),
        )),
        _ => None,
    })
}

#[tokio::test]
async fn a_coordinator_that_is_away_is_said_on_every_page_to_administrators_and_only_then() {
    let away = json!({"coordinatorAway": NOW});
    let world_away = world(ADMINISTRATOR, away.clone());
    for path in ["/ui/jobs", "/ui/about", "/ui/queue/restore"] {
        let page = world_away.get(path).await;
        html::check(&page.text);
        assert!(
            page.text.contains("The coordinator is away") && page.text.contains("about\">What is wrong?"),
            "{path}"
        );
    }
    let told = world_away.get("/ui/regions?page=jobs").await.text;
    assert!(told.contains("The coordinator is away"), "{told}");
    let there = world(ADMINISTRATOR, json!({}));
    assert!(!there.get("/ui/jobs").await.text.contains("away"));
    let user = world(USER, away);
    assert!(!user.get("/ui/jobs").await.text.contains("away"));
    let asked = user.api.asked.lock().expect("not poisoned");
    assert!(asked.iter().all(|request| request.uri().path() != "/api/notices"), "it is nobody else's affair");
}

#[tokio::test]
async fn each_point_of_the_doctor_is_shown_with_what_to_do() {
    let page = world(ADMINISTRATOR, json!({})).get("/ui/about").await;
    html::check(&page.text);
    for text in ["✓", "✕", "it takes &lt;writes&gt;", "Have both right.", "Start an executor.", "3 jobs wait"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let without = World::of(ADMINISTRATOR, |_, path| match path {
        "/api/doctor" => Some((503, json!({"status": 503, "message": "cannot <now>"}))),
        _ => Some((200, json!({}))),
    });
    let page = without.get("/ui/about").await;
    html::check(&page.text);
    assert!(page.status == 200 && page.text.contains("Not known: cannot &lt;now&gt;"), "{}", page.text);
}
