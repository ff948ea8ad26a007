//! Logins, and what others may not.

use std::time::Duration;

use futures_util::future::join_all;
use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::{Cause, Mode, Operation, Session};
use slipstream_coordination::zookeeper::{Login, Scheme, Settings, ZooKeeperSession};
use slipstream_coordination::{Error, LockingQueue};
use slipstream_test_ensemble::Ensemble;
use zookeeper_client as library;

use crate::support::{connect, create, eventually, hosts, open, within};

fn login(hosts: &str, scheme: Scheme, user: &str, password: &str) -> Settings {
    let login = Login { scheme, user: user.to_owned(), password: password.into(), protects: true };
    Settings { login: Some(login), session_timeout: Duration::from_secs(5), ..Settings::new(hosts) }
}

async fn is_refused(session: &ZooKeeperSession, path: &str) {
    let set = || Operation::Set { path: path.to_owned(), data: b"x".to_vec(), version: None };
    let child = || Operation::create(format!("{path}/child"), "", Mode::Persistent);
    let refused = [
        session.data(path).await.map(drop),
        session.children(path).await.map(drop),
        session.commit(vec![set()]).await.map(drop),
        session.commit(vec![child()]).await.map(drop),
        session.commit(vec![set(), child()]).await.map(drop),
    ];
    for outcome in refused {
        assert!(outcome.as_ref().is_err_and(|error| error.is(Cause::NotAllowed)), "{outcome:?}");
    }
    let several = [path, "/", "/none"].map(str::to_owned).to_vec();
    let found = session.nodes(several).await.unwrap();
    assert_eq!([&found[0], &found[2]], [&Err(Cause::NotAllowed), &Ok(None)], "each by itself");
    assert!(matches!(found[1], Ok(Some(_))));
}

#[tokio::test]
async fn what_a_login_protects_is_its_own() {
    let hosts = hosts().await;
    let own = connect(login(&hosts, Scheme::Digest, "engine", "secret")).await;
    create(&*own, "/own", Mode::Persistent).await.unwrap();
    create(&*own, "/own/seen", Mode::Persistent).await.unwrap();
    for other in [login(&hosts, Scheme::Digest, "engine", "guess"), Settings::new(&hosts)] {
        let other = connect(other).await;
        is_refused(&other, "/own").await;
    }
    let again = connect(login(&hosts, Scheme::Digest, "engine", "secret")).await;
    create(&*again, "/own/more", Mode::Persistent).await.unwrap();
    assert_eq!(again.children("/own").await.unwrap().len(), 2);
    // who may not read the folder that everything lies in need not begin
    let outcome = open(login(&format!("{hosts}/own"), Scheme::Digest, "engine", "guess")).await;
    assert!(matches!(outcome, Err(Error::Unusable { .. })));
}

#[tokio::test]
async fn a_login_that_does_not_protect_leaves_nodes_to_all() {
    let hosts = hosts().await;
    let mut settings = login(&hosts, Scheme::Digest, "engine", "secret");
    settings.login.as_mut().unwrap().protects = false;
    let session = connect(settings).await;
    create(&*session, "/open", Mode::Persistent).await.unwrap();
    let other = connect(Settings::new(&hosts)).await;
    create(&*other, "/open/child", Mode::Persistent).await.unwrap();
    assert_eq!(other.data("/open").await.unwrap().data, b"");
}

/// The fault: entries that another login has put, which this one may not read, before all others.
#[tokio::test]
async fn entries_of_another_login_hold_up_no_others() {
    let hosts = hosts().await;
    let session = connect(Settings::new(&hosts)).await;
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    let stranger = connect(login(&hosts, Scheme::Digest, "other", "secret")).await;
    let mut theirs = Vec::new();
    for _ in 0..3 {
        let entry = Operation::create("/job/entries/entry-000-", "theirs", Mode::PersistentSequential);
        theirs.push(stranger.commit(vec![entry]).await.unwrap().concat());
    }
    assert_eq!(session.data(&theirs[0]).await.unwrap_err().refusal(), Some(Cause::NotAllowed), "the fault");
    for value in ["a", "b", "c", "d"] {
        queue.put(value.as_bytes(), 500).await.unwrap();
    }
    // more at once than entries of their own, so that all share the transactions
    let claims = within(join_all((0..4).map(|_| queue.take()))).await;
    for claim in claims {
        let claim = claim.unwrap();
        assert_ne!(claim.value(), b"theirs");
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    let refused = queue.refused().borrow().clone();
    assert_eq!(refused.iter().map(|refused| refused.entry.clone()).collect::<Vec<_>>(), theirs);
    assert!(refused.iter().all(|refused| refused.cause == Cause::NotAllowed), "{refused:?}");
    let held = async || session.children("/job/taken").await.unwrap();
    eventually("their claims are given back", async || held().await.is_empty()).await;
    stranger.commit(vec![Operation::delete(&theirs[1])]).await.unwrap();
    let waiting = queue.clone();
    tokio::spawn(async move { waiting.take().await });
    within(queue.refused().wait_for(|refused| refused.len() == 2)).await.unwrap();
}

/// The fault: claims may be made, and not be ended. Once they may, the entry is given back.
#[tokio::test]
async fn a_claim_that_may_not_be_ended_is_ended_once_it_may() {
    let hosts = hosts().await;
    let session = connect(Settings::new(&hosts)).await;
    create(&*session, "/job", Mode::Persistent).await.unwrap();
    let owner = library::Client::connector().with_auth("digest", b"other:secret").connect(&hosts).await.unwrap();
    let anyone = |permission| library::Acl::new(permission, library::AuthId::anyone());
    let no_deletions = [anyone(library::Permission::READ | library::Permission::CREATE)];
    let acls = [&no_deletions[..], &*library::Acls::creator_all()].concat();
    let options = library::CreateMode::Persistent.with_acls(library::Acls::new(&acls));
    owner.create("/job/taken", b"", &options).await.unwrap();
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    // what may not even be read is claimed first, and stays claimed
    let stranger = connect(login(&hosts, Scheme::Digest, "other", "secret")).await;
    let theirs = Operation::create("/job/entries/entry-000-", "theirs", Mode::PersistentSequential);
    let theirs = stranger.commit(vec![theirs]).await.unwrap().concat();
    let entry = queue.put(b"a", 5).await.unwrap();
    let refused = within(queue.take()).await.unwrap().consume().await.unwrap_err();
    assert!(refused.is(Cause::NotAllowed), "the fault: {refused}");
    let refused = queue.refused().borrow().clone();
    assert_eq!(refused.iter().map(|refused| &refused.entry).collect::<Vec<_>>(), [&theirs, &entry]);
    assert_eq!(session.children("/job/taken").await.unwrap().len(), 2);
    owner.set_acl("/job/taken", &[anyone(library::Permission::ALL)], None).await.unwrap();
    let again = within(queue.take()).await.unwrap();
    assert_eq!(again.consume().await, Ok(Settled::Done));
    let held = async || session.children("/job/taken").await.unwrap();
    eventually("both claims are given back", async || held().await.is_empty()).await;
}

/// Whoever might use the folder before it was made anew may use it then, and nobody else.
#[tokio::test]
async fn a_folder_made_anew_keeps_its_access() {
    let hosts = hosts().await;
    let own = connect(login(&hosts, Scheme::Digest, "engine", "secret")).await;
    let queue = LockingQueue::open(own.clone(), "/job", &"a".repeat(32)).await.unwrap();
    queue.renew_from(0);
    for _ in 0..3 {
        let entry = queue.put(b"a", 5).await.unwrap();
        assert_eq!(entry, "/job/entries/entry-005-0000000000");
        let other = connect(Settings::new(&hosts)).await;
        is_refused(&other, "/job/entries").await;
        own.commit(vec![Operation::delete(entry)]).await.unwrap();
    }
    let open_to_all = connect(Settings::new(&hosts)).await;
    create(&*open_to_all, "/open", Mode::Persistent).await.unwrap();
    create(&*open_to_all, "/open/folder", Mode::Persistent).await.unwrap();
    // made anew by who would protect it
    let anew = Operation::create("/open/folder", "", Mode::PersistentAnew);
    own.commit(vec![Operation::delete("/open/folder"), anew]).await.unwrap();
    create(&*open_to_all, "/open/folder/child", Mode::Persistent).await.unwrap();
}

/// The fault: nobody may make claims. That is no fault of any entry, and mended it goes on.
#[tokio::test]
async fn claims_that_may_not_be_made_are_made_once_they_may() {
    let hosts = hosts().await;
    let session = connect(Settings::new(&hosts)).await;
    create(&*session, "/job", Mode::Persistent).await.unwrap();
    let owner = library::Client::connector().with_auth("digest", b"other:secret").connect(&hosts).await.unwrap();
    let anyone = |permission| library::Acl::new(permission, library::AuthId::anyone());
    let acls = [&[anyone(library::Permission::READ)][..], &*library::Acls::creator_all()].concat();
    let options = library::CreateMode::Persistent.with_acls(library::Acls::new(&acls));
    owner.create("/job/taken", b"", &options).await.unwrap();
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    queue.put(b"a", 500).await.unwrap();
    let taken = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take().await }
    });
    assert!(create(&*session, "/job/taken/x", Mode::Ephemeral).await.unwrap_err().is(Cause::NotAllowed), "the fault");
    queue.put(b"b", 1).await.unwrap();
    eventually("no entry is kept in hand for it", async || queue.free() == 2).await;
    owner.set_acl("/job/taken", &[anyone(library::Permission::ALL)], None).await.unwrap();
    let claim = within(taken).await.unwrap().unwrap();
    assert_eq!(claim.value(), b"b", "they are claimed in their order");
    assert!(queue.refused().borrow().is_empty());
    assert_eq!(claim.consume().await, Ok(Settled::Done));
}

/// The fault: nobody but another login may list the claims.
#[tokio::test]
async fn claims_that_may_not_be_listed_are_made_once_they_may() {
    let hosts = hosts().await;
    let stranger = connect(login(&hosts, Scheme::Digest, "other", "secret")).await;
    let session = connect(Settings::new(&hosts)).await;
    create(&*session, "/job", Mode::Persistent).await.unwrap();
    create(&*stranger, "/job/taken", Mode::Persistent).await.unwrap();
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    queue.put(b"a", 500).await.unwrap();
    let taken = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take().await }
    });
    assert!(session.children("/job/taken").await.unwrap_err().is(Cause::NotAllowed), "the fault");
    stranger.commit(vec![Operation::delete("/job/taken")]).await.unwrap();
    let claim = within(taken).await.unwrap().unwrap();
    assert_eq!(claim.consume().await, Ok(Settled::Done));
}

#[tokio::test]
async fn sasl_asks_for_the_right_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    std::fs::write(&file, format!("Server {{ {module} required user_engine=\"secret\" user_other=\"else\"; }};\n"))
        .unwrap();
    let settings = [
        ("authProvider.1", "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"),
        ("enforce.auth.enabled", "true"),
        ("enforce.auth.schemes", "sasl"),
    ];
    let java = [("java.security.auth.login.config", file.to_str().unwrap())];
    let ensemble = Ensemble::start_with(1, &settings, &java).await;
    let hosts = ensemble.hosts();
    let session = connect(login(&hosts, Scheme::Sasl, "engine", "secret")).await;
    create(&*session, "/own", Mode::Persistent).await.unwrap();
    let other = connect(login(&hosts, Scheme::Sasl, "other", "else")).await;
    is_refused(&other, "/own").await;
    let wrong = [
        login(&hosts, Scheme::Sasl, "engine", "guess"),
        login(&hosts, Scheme::Sasl, "stranger", "unknown"),
        login(&hosts, Scheme::Digest, "engine", "secret"),
        Settings::new(&hosts),
    ];
    for settings in wrong {
        let who = format!("{:?}", settings.login);
        let outcome = open(settings).await.map(drop);
        assert!(matches!(outcome, Err(Error::Unusable { .. })), "{who}: {outcome:?}");
    }
    assert_eq!(session.data("/own").await.unwrap().data, b"");
}
