use std::sync::atomic::Ordering;

use http::{Extensions, HeaderMap};
use slipstream_store::Revision;
use slipstream_store::memory::MemoryStore;

use super::*;
use crate::server::auth::proxy::Peer;

const HERE: Origin = Origin::HERE;

async fn store_with(password: &str) -> MemoryStore {
    let store = MemoryStore::default();
    ensure_administrator(&store, password.into(), Timestamp::UNIX_EPOCH).await.expect("the memory store takes it");
    store
}

fn login_document(password: &str) -> Document {
    login_as("super", password)
}

fn login_as(username: &str, password: &str) -> Document {
    let body =
        json!({"sessionTemplate": {"href": "session-template/internal", "username": username, "password": password}});
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
    let login = sessions.login(&store, &login_document("secret"), &HERE, start).await.expect("the password is right");
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
    let login = sessions.login(&store, &login_document("secret"), &HERE, now).await.expect("the password is right");
    let cookie = sent_back(&login);
    assert!(sessions.caller(&store, &[&cookie], now).await.expect("answers").is_administrator());
    store.remove(&login.id, Revision::number(1)).await.expect("the session is there");
    sessions.forget(&login.id);
    assert_eq!(sessions.caller(&store, &[&cookie], now).await.expect("answers"), Caller::Anonymous);
}

#[tokio::test]
async fn wrong_passwords_users_and_templates_are_refused() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let status = async |body: Value| {
        let body = body.as_object().cloned().expect("an object");
        let refusal = sessions.login(&store, &body, &HERE, Timestamp::UNIX_EPOCH).await.expect_err("refused").refusal;
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
    let cookie =
        sent_back(&sessions.login(&store, &login_document("old"), &HERE, now).await.expect("the password is right"));
    ensure_administrator(&store, "new".into(), now).await.expect("the memory store takes it");
    let sessions = Sessions::default();
    let before = sessions.caller(&store, &[&cookie], now).await.expect("answers");
    assert_eq!(before, Caller::Anonymous, "a session of the old password is over");
    assert!(sessions.login(&store, &login_document("old"), &HERE, now).await.is_err());
    assert!(sessions.login(&store, &login_document("new"), &HERE, now).await.is_ok());
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
    sessions.login(&store, &login_document("secret"), &HERE, start).await.expect("the password is right");
    assert_eq!(sessions.purge(&store, start + LIFETIME - SignedDuration::from_secs(1)).await.expect("answers"), 0);
    assert_eq!(sessions.purge(&store, start + LIFETIME + SignedDuration::from_secs(1)).await.expect("answers"), 1);
}

#[tokio::test]
async fn a_session_of_a_clock_that_was_ahead_is_over_once_the_clock_is_right() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    for (ahead, is_over) in [(-1, false), (0, false), (299, false), (301, true), (3_600, true), (315_360_000, true)] {
        let ahead = start + SignedDuration::from_secs(ahead);
        let login =
            sessions.login(&store, &login_document("secret"), &HERE, ahead).await.expect("the password is right");
        let cookie = sent_back(&login);
        assert!(caller(&sessions, &store, &cookie, ahead).await.is_administrator());
        assert_eq!(caller(&sessions, &store, &cookie, start).await == Caller::Anonymous, is_over, "{ahead}");
        assert_eq!(sessions.purge(&store, start).await.expect("answers"), u64::from(is_over), "{ahead}");
    }
}

/// What was read under the clock that was ahead is read again under the one that is right.
#[tokio::test]
async fn a_session_that_another_server_removed_is_not_trusted_for_longer_because_the_clock_was_set_back() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    let login = sessions.login(&store, &login_document("secret"), &HERE, start).await.expect("the password is right");
    let cookie = sent_back(&login);
    let ahead = start + SignedDuration::from_hours(1);
    assert!(caller(&sessions, &store, &cookie, ahead).await.is_administrator());
    let session = store.get(&login.id).await.expect("the memory store answers").expect("it is there");
    store.remove(&login.id, session.revision).await.expect("the session is there");
    assert_eq!(caller(&sessions, &store, &cookie, start).await, Caller::Anonymous);
}

async fn caller(sessions: &Sessions, store: &dyn Store, cookie: &str, now: Timestamp) -> Caller {
    sessions.caller(store, &[cookie], now).await.expect("the memory store answers")
}

#[tokio::test]
async fn a_session_that_another_server_removed_is_trusted_for_five_seconds_more() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let start = Timestamp::UNIX_EPOCH;
    let login = sessions.login(&store, &login_document("secret"), &HERE, start).await.expect("the password is right");
    let cookie = sent_back(&login);
    assert!(caller(&sessions, &store, &cookie, start).await.is_administrator());
    store.remove(&login.id, Revision::number(1)).await.expect("the session is there");
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
    let login = sessions.login(&store, &login_document("secret"), &HERE, now).await.expect("the password is right");
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
    let login = sessions.login(&store, &login_document("secret"), &HERE, now).await.expect("the password is right");
    let mut session = store.get(&login.id).await.expect("answers").expect("there");
    session.document.make_mut().insert("roles".to_owned(), json!("USER ANON"));
    store.replace(session).await.expect("replaced");
    let user = caller(&sessions, &store, &sent_back(&login), now).await;
    assert_eq!((user.is_administrator(), user.name()), (false, Some("super")));
    assert!(user.require_administrator().is_err());
}

#[tokio::test]
async fn a_user_that_is_not_active_is_refused() {
    let store = store_with("secret").await;
    let mut user = store.get("user/super").await.expect("answers").expect("there");
    user.document.make_mut().insert("state".to_owned(), json!("SUSPENDED"));
    store.replace(user).await.expect("replaced");
    let refused = Sessions::default().login(&store, &login_document("secret"), &HERE, Timestamp::UNIX_EPOCH).await;
    assert_eq!(refused.expect_err("refused").refusal.status, 403);
}

#[tokio::test]
async fn a_bounded_number_of_sessions_is_remembered() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let user = store.get("user/super").await.expect("answers").expect("there");
    for _ in 0..REMEMBERED + 100 {
        let login = sessions.open(&store, &user, &HERE, now).await.expect("the memory store takes it");
        assert!(caller(&sessions, &store, &sent_back(&login), now).await.is_administrator());
    }
    let remembered = sessions.lock().sessions.len();
    assert!((1..=REMEMBERED).contains(&remembered), "{remembered}");
    sessions.purge(&store, now + LIFETIME + SignedDuration::from_secs(1)).await.expect("answers");
    assert_eq!(sessions.lock().sessions.len(), 0, "an expired session is not remembered");
}

#[tokio::test(start_paused = true)]
async fn passwords_are_checked_two_at_once_and_strangers_wait_within_a_limit_and_never_before_the_administrator() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let turns = [sessions.passwords.turn(Queue::Anybody).await, sessions.passwords.turn(Queue::Anybody).await];
    for origin in [from("192.0.2.1"), from("10.0.0.1")] {
        let busy = sessions.login(&store, &login_document("secret"), &origin, now).await;
        assert_eq!(busy.expect_err("nobody's turn comes").refusal.status, 503);
    }
    for origin in [HERE, from("127.0.0.1"), from("::1"), from("::ffff:127.0.0.1")] {
        let login = sessions.login(&store, &login_document("secret"), &origin, now).await;
        login.expect("strangers are not before the administrator of this machine");
    }
    drop(turns);
    sessions.login(&store, &login_document("secret"), &from("192.0.2.1"), now).await.expect("the password is right");
}

fn from(address: &str) -> Origin {
    let mut extensions = Extensions::new();
    extensions.insert(Peer::new(address.parse().expect("an address"), &[]));
    Origin::of(&extensions, &HeaderMap::new())
}

async fn add_user(store: &dyn Store, name: &str, document: Document) {
    let hash = passwords::hash(&"secret".into()).expect("hashed");
    let user = accounts::record(name, document, accounts::ledger(&hash), Timestamp::UNIX_EPOCH);
    store.insert(user).await.expect("stored");
}

/// Logs in with a wrong password and answers the status.
async fn fail(sessions: &Sessions, store: &dyn Store, name: &str, origin: &Origin, now: Timestamp) -> u16 {
    let refused = sessions.login(store, &login_as(name, "wrong"), origin, now).await;
    refused.expect_err("the password is wrong").refusal.status
}

#[tokio::test]
async fn whoever_does_not_exist_costs_a_hash_and_is_answered_as_anybody() {
    let store = store_with("secret").await;
    add_user(&store, "jane", Document::new()).await;
    let mut suspended = Document::new();
    suspended.insert("state".to_owned(), json!("SUSPENDED"));
    add_user(&store, "joe", suspended).await;
    let sessions = Sessions::default();
    let checked = || sessions.passwords.checked.load(Ordering::Relaxed);
    for (name, password) in [("jane", "wrong"), ("nobody", "secret"), ("joe", "secret"), ("a/b", "secret")] {
        let before = checked();
        let refused = sessions.login(&store, &login_as(name, password), &HERE, Timestamp::UNIX_EPOCH).await;
        let refusal = refused.expect_err("refused").refusal;
        let expected = (403, format!("invalid credentials for '{name}'"), Some(name.to_owned()));
        assert_eq!((refusal.status, refusal.message, refusal.resource_id), expected);
        assert_eq!(checked(), before + 1, "{name}");
    }
}

#[tokio::test]
async fn logins_that_fail_make_the_next_ones_wait_and_those_cost_nothing() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let (now, there) = (Timestamp::UNIX_EPOCH, from("192.0.2.1"));
    for name in ["super", "nobody"] {
        for _ in 0..5 {
            assert_eq!(fail(&sessions, &store, name, &there, now).await, 403);
        }
        let before = sessions.passwords.checked.load(Ordering::Relaxed);
        let refused = sessions.login(&store, &login_as(name, "secret"), &there, now).await;
        let refused = refused.expect_err("throttled");
        assert_eq!((refused.refusal.status, refused.retry_after), (429, Some(1)), "{name}");
        assert_eq!(sessions.passwords.checked.load(Ordering::Relaxed), before, "no hash");
    }
    let later = now + SignedDuration::from_secs(1);
    assert_eq!(fail(&sessions, &store, "super", &there, later).await, 403);
    assert_eq!(fail(&sessions, &store, "super", &there, later + SignedDuration::from_secs(1)).await, 429, "2 s now");
    let later = later + SignedDuration::from_secs(2);
    sessions.login(&store, &login_document("secret"), &there, later).await.expect("the password is right");
    assert_eq!(fail(&sessions, &store, "super", &there, later).await, 403, "a success clears the name");
    assert_eq!(fail(&sessions, &store, "super", &there, later).await, 403);
}

/// Somebody guesses five times a second while an executor elsewhere logs in again and again.
#[tokio::test]
async fn whoever_guesses_a_password_keeps_nobody_out_who_knows_it() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let mut statuses = Vec::new();
    for fifth in 0..150 {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(200) * fifth;
        statuses.push(fail(&sessions, &store, "super", &from("192.0.2.1"), now).await);
        if fifth % 5 == 4 {
            sessions.login(&store, &login_document("secret"), &from("198.51.100.7"), now).await.expect("it is right");
        }
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 130, "the one who guesses waits: {statuses:?}");
}

#[tokio::test]
async fn an_address_that_tries_many_names_waits_and_others_do_not() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    for number in 0..20 {
        assert_eq!(fail(&sessions, &store, &format!("user-{number}"), &from("192.0.2.1"), now).await, 403);
    }
    assert_eq!(fail(&sessions, &store, "user-20", &from("192.0.2.1"), now).await, 429);
    assert_eq!(fail(&sessions, &store, "user-20", &from("192.0.2.2"), now).await, 403);
}

#[tokio::test]
async fn those_who_wait_for_their_turn_together_are_throttled_one_by_one() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let there = from("192.0.2.1");
    let attempts = (0..30).map(|_| fail(&sessions, &store, "super", &there, Timestamp::UNIX_EPOCH));
    let statuses = futures_util::future::join_all(attempts).await;
    assert!(statuses.iter().all(|status| [403, 429].contains(status)), "{statuses:?}");
    // of the two that are checked at once, one may have begun before the other has failed
    let checked = sessions.passwords.checked.load(Ordering::Relaxed);
    assert!((5..=6).contains(&checked), "{checked}");
}

#[tokio::test]
async fn the_administrator_on_this_machine_is_never_throttled() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    for _ in 0..6 {
        fail(&sessions, &store, "super", &from("192.0.2.1"), now).await;
    }
    for number in 0..21 {
        fail(&sessions, &store, &format!("user-{number}"), &from("127.0.0.1"), now).await;
    }
    assert_eq!(fail(&sessions, &store, "super", &from("192.0.2.1"), now).await, 429, "strangers wait");
    assert_eq!(fail(&sessions, &store, "jane", &from("127.0.0.1"), now).await, 429, "others on this machine, too");
    for origin in [HERE, from("127.0.0.1"), from("127.1.2.3"), from("::1"), from("::ffff:127.0.0.1")] {
        for _ in 0..6 {
            assert_eq!(fail(&sessions, &store, "super", &origin, now).await, 403);
        }
        sessions.login(&store, &login_document("secret"), &origin, now).await.expect("the password is right");
    }
}

#[tokio::test]
async fn roles_are_those_of_the_user_and_the_address_is_noted() {
    let store = store_with("secret").await;
    add_user(&store, "jane", Document::new()).await;
    let sessions = Sessions::default();
    for (name, roles, is_administrator) in [("super", "ADMIN USER ANON", true), ("jane", "USER ANON", false)] {
        for (origin, address) in [(HERE, None), (from("::ffff:192.0.2.1"), Some("192.0.2.1"))] {
            let login = sessions.login(&store, &login_as(name, "secret"), &origin, Timestamp::UNIX_EPOCH).await;
            let login = login.expect("the password is right");
            let session = store.get(&login.id).await.expect("answers").expect("there").document;
            assert_eq!(session["roles"], format!("{roles} {}", login.id));
            assert_eq!(session.get("clientIP").and_then(Value::as_str), address);
            let user = caller(&sessions, &store, &sent_back(&login), Timestamp::UNIX_EPOCH).await;
            assert_eq!((user.name(), user.is_administrator()), (Some(name), is_administrator));
        }
    }
}

/// A login whose password was checked before the user was disabled, and whose session is stored afterwards.
#[tokio::test]
async fn a_session_opened_under_an_old_stamp_is_none() {
    let store = store_with("secret").await;
    add_user(&store, "jane", Document::new()).await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let checked = store.get("user/jane").await.expect("answers").expect("there");
    let mut disabled = checked.clone();
    disabled.ledger = accounts::ledger("another hash");
    store.replace(disabled).await.expect("replaced");
    sessions.revoke(&store, "jane").await;
    let login = sessions.open(&store, &checked, &HERE, now).await.expect("stored");
    assert_eq!(caller(&sessions, &store, &sent_back(&login), now).await, Caller::Anonymous);
}

#[tokio::test]
async fn revoking_forgets_what_is_remembered_and_removes_the_documents_of_that_user_alone() {
    let store = store_with("secret").await;
    add_user(&store, "jane", Document::new()).await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    let mut logins = Vec::new();
    for name in ["jane", "jane", "super"] {
        let login = sessions.login(&store, &login_as(name, "secret"), &HERE, now).await.expect("right");
        assert_eq!(caller(&sessions, &store, &sent_back(&login), now).await.name(), Some(name), "and is remembered");
        logins.push(login);
    }
    let user = store.get("user/jane").await.expect("answers").expect("there");
    store.remove("user/jane", user.revision).await.expect("removed");
    sessions.revoke(&store, "jane").await;
    for login in &logins[..2] {
        assert_eq!(caller(&sessions, &store, &sent_back(login), now).await, Caller::Anonymous);
        assert_eq!(store.get(&login.id).await.expect("answers"), None);
    }
    assert!(caller(&sessions, &store, &sent_back(&logins[2]), now).await.is_administrator());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_throttled_does_not_stand_in_the_queue() {
    let store = store_with("secret").await;
    let sessions = Sessions::default();
    let now = Timestamp::UNIX_EPOCH;
    for _ in 0..5 {
        assert_eq!(fail(&sessions, &store, "super", &from("192.0.2.1"), now).await, 403);
    }
    let _turns = [sessions.passwords.turn(Queue::Anybody).await, sessions.passwords.turn(Queue::Anybody).await];
    assert_eq!(fail(&sessions, &store, "super", &from("192.0.2.1"), now).await, 429, "and not 503 after a while");
}

#[tokio::test]
async fn when_a_session_was_used_last_is_known_here_at_once_and_elsewhere_after_a_while() {
    let store = store_with("secret").await;
    let (here, start) = (Sessions::default(), Timestamp::UNIX_EPOCH);
    let login = here.login(&store, &login_document("secret"), &HERE, start).await.expect("the password is right");
    let cookie = sent_back(&login);
    let at = |minutes| start + SignedDuration::from_mins(minutes);
    let used = async |sessions: &Sessions, now| {
        let told = sessions.of_user(&store, "super", Some(&login.id), now).await.expect("the memory store answers");
        assert_eq!((told.count, told.sessions[0].current), (1, true));
        told.sessions[0].used
    };
    assert_eq!(used(&here, start).await, start);
    here.caller(&store, &[&cookie], at(3)).await.expect("answers");
    assert_eq!(used(&here, at(4)).await, at(3));
    let elsewhere = Sessions::default();
    assert_eq!(used(&elsewhere, at(4)).await, start, "the store was told less than ten minutes ago");
    here.caller(&store, &[&cookie], at(11)).await.expect("answers");
    assert_eq!([used(&here, at(12)).await, used(&elsewhere, at(12)).await], [at(11), at(11)]);
    let over = elsewhere.of_user(&store, "super", None, start + LIFETIME).await.expect("answers");
    assert_eq!(over.count, 0, "it is over");
}

#[tokio::test]
async fn sessions_under_another_security_stamp_are_not_told_of() {
    let store = store_with("old").await;
    let (sessions, now) = (Sessions::default(), Timestamp::UNIX_EPOCH);
    sessions.login(&store, &login_document("old"), &HERE, now).await.expect("the password is right");
    let user = store.get("user/super").await.expect("answers").expect("there");
    let ledger = accounts::ledger("x");
    store.replace(Record { ledger, ..user }).await.expect("replaced");
    assert_eq!(sessions.of_user(&store, "super", None, now).await.expect("answers").count, 0);
}
