use super::*;
use crate::server::store::memory::MemoryStore;

async fn store_with(password: &str) -> MemoryStore {
    let store = MemoryStore::default();
    ensure_administrator(&store, password.into(), Timestamp::UNIX_EPOCH).await.expect("the memory store takes it");
    store
}

fn login_document(password: &str) -> Document {
    let body =
        json!({"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": password}});
    body.as_object().cloned().expect("an object")
}

fn sent_back(login: &Login) -> String {
    login.cookie.split(';').next().expect("a cookie has a value").to_owned()
}

#[tokio::test]
async fn a_token_opens_its_session_until_it_expires() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), start).await.expect("the password is right");
    let cookie = sent_back(&login);
    let at = async |now| sessions.caller(&store, &[&cookie], now).await.expect("the memory store answers");
    assert!(at(start).await.is_administrator());
    assert!(at(start + LIFETIME - SignedDuration::from_secs(1)).await.is_administrator());
    assert_eq!(at(start + LIFETIME).await, Caller::Anonymous);
}

#[tokio::test]
async fn logout_revokes_the_token_at_once() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), now).await.expect("the password is right");
    let cookie = sent_back(&login);
    assert!(sessions.caller(&store, &[&cookie], now).await.expect("answers").is_administrator());
    store.remove(&login.id, 1).await.expect("the session is there");
    sessions.forget(&login.id);
    assert_eq!(sessions.caller(&store, &[&cookie], now).await.expect("answers"), Caller::Anonymous);
}

#[tokio::test]
async fn wrong_passwords_users_and_templates_are_refused() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let status = async |body: Value| {
        let body = body.as_object().cloned().expect("an object");
        let refusal = sessions.login(&store, &body, Timestamp::UNIX_EPOCH).await.expect_err("refused").refusal;
        (refusal.status, refusal.resource_id)
    };
    let template = |href: &str, username: &str, password: &str| json!({"sessionTemplate": {"href": href, "username": username, "password": password}});
    let internal = "session-template/internal";
    assert_eq!(status(template(internal, "super", "wrong")).await, (403, Some("super".to_owned())));
    assert_eq!(status(template(internal, "jane", "secret")).await, (403, Some("jane".to_owned())));
    assert_eq!(status(template("session-template/x", "super", "secret")).await.0, 404);
    assert_eq!(status(template(internal, "super", "")).await.0, 400);
    assert_eq!(status(json!({})).await.0, 400);
    assert_eq!(
        status(json!({"sessionTemplate": {"href": internal, "username": "super", "password": "secret", "x": 1}}))
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one() {
    let store = store_with("old").await;
    let now = Timestamp::UNIX_EPOCH;
    let sessions = Sessions::default();
    let cookie = sent_back(&sessions.login(&store, &login_document("old"), now).await.expect("the password is right"));
    ensure_administrator(&store, "new".into(), now).await.expect("the memory store takes it");
    let sessions = Sessions::default();
    let before = sessions.caller(&store, &[&cookie], now).await.expect("answers");
    assert_eq!(before, Caller::Anonymous, "a session of the old password is over");
    assert!(sessions.login(&store, &login_document("old"), now).await.is_err());
    assert!(sessions.login(&store, &login_document("new"), now).await.is_ok());
}

#[tokio::test]
async fn forged_tokens_are_nobody() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    for cookie in
        ["com.sixsq.slipstream.cookie=token=00", "com.sixsq.slipstream.cookie=INVALID", "other=token=aa", "=;"]
    {
        let caller = sessions.caller(&store, &[cookie], Timestamp::UNIX_EPOCH).await.expect("answers");
        assert_eq!(caller, Caller::Anonymous, "{cookie}");
    }
}

#[tokio::test]
async fn expired_sessions_are_purged() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH;
    sessions.login(&store, &login_document("secret"), start).await.expect("the password is right");
    assert_eq!(sessions.purge(&store, start + LIFETIME - SignedDuration::from_secs(1)).await.expect("answers"), 0);
    assert_eq!(sessions.purge(&store, start + LIFETIME + SignedDuration::from_secs(1)).await.expect("answers"), 1);
}

async fn caller(sessions: &Sessions, store: &dyn Store, cookie: &str, now: Timestamp) -> Caller {
    sessions.caller(store, &[cookie], now).await.expect("the memory store answers")
}

#[tokio::test]
async fn a_session_that_another_server_removed_is_trusted_for_five_seconds_more() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), start).await.expect("the password is right");
    let cookie = sent_back(&login);
    assert!(caller(&sessions, &store, &cookie, start).await.is_administrator());
    store.remove(&login.id, 1).await.expect("the session is there");
    let just_before = start + TRUSTED - SignedDuration::from_millis(1);
    assert!(caller(&sessions, &store, &cookie, just_before).await.is_administrator());
    assert_eq!(caller(&sessions, &store, &cookie, start + TRUSTED).await, Caller::Anonymous);
}

/// The id holds half of the token's hash, which whoever reads the session sees: it alone must not open it.
#[tokio::test]
async fn the_whole_hash_of_the_token_is_compared() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), now).await.expect("the password is right");
    let mut session = store.get(&login.id).await.expect("answers").expect("there");
    let kept = session.ledger["token"].as_str().expect("a text").to_owned();
    assert_eq!(kept.len(), 64);
    assert!(!login.cookie.contains(&kept), "the token itself is kept nowhere");
    let last = if kept.ends_with('0') { "1" } else { "0" };
    session.ledger = json!({"token": format!("{}{last}", &kept[..63])});
    store.replace(session).await.expect("replaced");
    assert_eq!(caller(&sessions, &store, &sent_back(&login), now).await, Caller::Anonymous);
}

#[tokio::test]
async fn a_session_gives_the_roles_that_it_has() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), now).await.expect("the password is right");
    let mut session = store.get(&login.id).await.expect("answers").expect("there");
    session.document.insert("roles".to_owned(), json!("USER ANON"));
    store.replace(session).await.expect("replaced");
    let user = caller(&sessions, &store, &sent_back(&login), now).await;
    assert_eq!((user.is_administrator(), user.name()), (false, Some("super")));
    assert!(user.require_administrator().is_err());
}

#[tokio::test]
async fn a_user_that_is_not_active_is_refused() {
    let store = store_with("secret").await;
    let mut user = store.get("user/super").await.expect("answers").expect("there");
    user.document.insert("state".to_owned(), json!("SUSPENDED"));
    store.replace(user).await.expect("replaced");
    let refused = Sessions::default().login(&store, &login_document("secret"), Timestamp::UNIX_EPOCH).await;
    assert_eq!(refused.expect_err("refused").refusal.status, 403);
}

#[tokio::test]
async fn a_bounded_number_of_sessions_is_remembered() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    for _ in 0..REMEMBERED + 100 {
        let login = sessions.open(&store, "super", now).await.expect("the memory store takes it");
        assert!(caller(&sessions, &store, &sent_back(&login), now).await.is_administrator());
    }
    let remembered = sessions.lock().sessions.len();
    assert!((1..=REMEMBERED).contains(&remembered), "{remembered}");
    sessions.purge(&store, now + LIFETIME + SignedDuration::from_secs(1)).await.expect("answers");
    assert_eq!(sessions.lock().sessions.len(), 0, "an expired session is not remembered");
}

#[tokio::test(start_paused = true)]
async fn passwords_are_checked_two_at_once_and_nobody_waits_for_ever() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let turns = sessions.checks.acquire_many(2).await.expect("never closed");
    assert_eq!(sessions.checks.available_permits(), 0);
    let busy = sessions.login(&store, &login_document("secret"), Timestamp::UNIX_EPOCH).await;
    assert_eq!(busy.expect_err("nobody's turn comes").refusal.status, 503);
    drop(turns);
    sessions.login(&store, &login_document("secret"), Timestamp::UNIX_EPOCH).await.expect("the password is right");
}
