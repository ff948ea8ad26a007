//! Where users have logged in, and how that ends.

use serde_json::{Value, json};

use crate::support::{Answered, InProcess, Raw, cookie, document};

const SECRET: &str = "a secret of jane";

struct World {
    engine: InProcess,
    administrator: String,
}

impl World {
    /// With the users jane and joe.
    async fn new() -> Self {
        let engine = InProcess::new().await;
        for name in ["jane", "joe"] {
            let user = document(json!({"username": name, "password": SECRET}));
            engine.client.add("user", &user, None).await.expect("added");
        }
        let administrator = cookie(&*engine.transport).await;
        Self { engine, administrator }
    }

    async fn log_in(&self, name: &str) -> String {
        let body =
            json!({"sessionTemplate": {"href": "session-template/internal", "username": name, "password": SECRET}});
        let answered = Raw::new("POST", "/api/session")
            .header("user-agent", "slipstream-job-test/1")
            .json(&body)
            .send(&*self.engine.transport)
            .await;
        assert_eq!(answered.status, 201, "{}", answered.text);
        let cookie = answered.headers["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a value").to_owned()
    }

    async fn send(&self, method: &str, path: &str, cookie: &str) -> Answered {
        Raw::new(method, path).header("cookie", cookie).send(&*self.engine.transport).await
    }

    async fn is_logged_in(&self, cookie: &str) -> bool {
        self.send("GET", "/api/session", cookie).await.body["count"] == 1
    }
}

fn ids(answered: &Answered) -> Vec<(String, bool)> {
    let sessions = answered.body["sessions"].as_array().expect("a list");
    let id = |session: &Value| (session["id"].as_str().expect("an id").to_owned(), session["current"] == json!(true));
    sessions.iter().map(id).collect()
}

#[tokio::test]
async fn a_user_is_told_of_all_its_sessions_and_ends_each_and_all() {
    let world = World::new().await;
    let [one, two, three] = [world.log_in("jane").await, world.log_in("jane").await, world.log_in("jane").await];
    let joe = world.log_in("joe").await;
    let told = world.send("GET", "/api/session/all", &one).await;
    assert_eq!(
        (told.status, &told.body["user"], &told.body["count"]),
        (200, &json!("jane"), &json!(3)),
        "{}",
        told.text
    );
    let program = &told.body["sessions"][0]["program"];
    assert_eq!(program, &json!("slipstream-job-test/1"), "it says what made it");
    let all = ids(&told);
    assert_eq!(all.iter().filter(|(_, is_current)| *is_current).count(), 1);
    assert_eq!(world.send("GET", "/api/session/all", &joe).await.body["count"], 1);
    for method in ["GET", "DELETE"] {
        assert_eq!(world.send(method, "/api/session/all", "").await.status, 403, "{method}");
    }
    let (other, _) = all.iter().find(|(_, is_current)| !is_current).expect("two others");
    assert_eq!(world.send("DELETE", &format!("/api/{other}"), &joe).await.status, 403, "it is not joe's");
    let ended = world.send("DELETE", &format!("/api/{other}"), &one).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert!(!ended.headers.contains_key("set-cookie"), "whoever ends another session stays logged in");
    let alive = [world.is_logged_in(&one).await, world.is_logged_in(&two).await, world.is_logged_in(&three).await];
    assert_eq!((alive[0], alive.iter().filter(|it| **it).count()), (true, 2));
    let all = world.send("DELETE", "/api/session/all", &one).await;
    assert_eq!((all.status, &all.body["ended"]), (200, &json!(2)), "{}", all.text);
    assert!(all.headers["set-cookie"].to_str().expect("text").contains("Max-Age=0"), "it logs out");
    for cookie in [&one, &two, &three] {
        assert!(!world.is_logged_in(cookie).await);
    }
    assert!(world.is_logged_in(&joe).await, "others stay");
}

#[tokio::test]
async fn administrators_see_and_end_the_sessions_of_a_user() {
    let world = World::new().await;
    let jane = world.log_in("jane").await;
    let path = "/api/user/jane/sessions";
    let told = world.send("GET", path, &world.administrator).await;
    assert_eq!((told.status, &told.body["count"]), (200, &json!(1)), "{}", told.text);
    assert!(ids(&told).iter().all(|(_, is_current)| !is_current));
    for (method, path, expected) in
        [("POST", path, 405), ("GET", "/api/user/nobody/sessions", 404), ("DELETE", "/api/user/nobody/sessions", 404)]
    {
        assert_eq!(world.send(method, path, &world.administrator).await.status, expected, "{method} {path}");
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(world.send(method, path, &jane).await.status, 403, "{method}");
    }
    assert!(world.is_logged_in(&jane).await);
    assert_eq!(world.send("DELETE", path, &world.administrator).await.body["ended"], 1);
    assert!(!world.is_logged_in(&jane).await);
    assert!(world.is_logged_in(&world.administrator).await);
    assert_eq!(world.send("GET", path, &world.administrator).await.body["count"], 0);
}

/// What `users disable`, `users delete` and `users passwd` promise.
#[tokio::test]
async fn no_session_is_left_of_a_user_who_may_not_log_in_or_has_another_password() {
    for change in [Some(json!({"state": "SUSPENDED"})), Some(json!({"password": "another secret"})), None] {
        let world = World::new().await;
        let jane = world.log_in("jane").await;
        assert!(world.is_logged_in(&jane).await);
        match &change {
            Some(change) => {
                drop(world.engine.client.edit("user/jane", &document(change.clone()), &[]).await.expect("edited"));
            }
            None => world.engine.client.delete("user/jane").await.expect("deleted"),
        }
        assert!(!world.is_logged_in(&jane).await, "{change:?}");
        let told = world.send("GET", "/api/session/all", &jane).await;
        assert_eq!(told.status, 403, "{change:?}");
    }
}
