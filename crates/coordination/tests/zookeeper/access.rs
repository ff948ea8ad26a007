//! Logins, and what others may not.

use std::time::Duration;

use slipstream_coordination::Error;
use slipstream_coordination::session::{Cause, Mode, Operation, Session};
use slipstream_coordination::zookeeper::{Login, Scheme, Settings, ZooKeeperSession};
use slipstream_test_ensemble::Ensemble;

use crate::support::{connect, create, hosts, open};

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
        session.nodes(vec![path.to_owned()]).await.map(drop),
        session.commit(vec![set()]).await.map(drop),
        session.commit(vec![child()]).await.map(drop),
        session.commit(vec![set(), child()]).await.map(drop),
    ];
    for outcome in refused {
        assert!(outcome.as_ref().is_err_and(|error| error.is(Cause::NotAllowed)), "{outcome:?}");
    }
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
