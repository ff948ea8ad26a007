//! What cannot become right by itself ends a service at once, with one line that says what to do.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use slipstream_test_ensemble::Ensemble;
use tokio::time::timeout;

use super::support::{Service, Site, endpoint, server};
use crate::support::{PASSWORD, Up, document, program, up_command};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";
/// Within which a service that cannot run has ended.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A command that has ended by itself, with one line of complaint and perhaps a hint.
async fn ended(command: Command) -> Service {
    let mut service = Service::start(command);
    let ended = timeout(AT_ONCE, service.ended()).await;
    let Ok(status) = ended else { panic!("it runs, and should have refused to: {:?}", service.said()) };
    service.says("error: ").await;
    let said = service.said();
    assert_eq!(status.code(), Some(2), "{said:?}");
    assert_eq!((service.times("error: "), service.times("secret")), (1, 0), "{said:?}");
    service
}

/// What such a command says, and that is all.
pub(super) async fn refusal(command: Command) -> String {
    let said = ended(command).await.said().join("\n");
    assert!(!said.contains(" WARN "), "one line is enough: {said}");
    said
}

pub(super) fn beside(url: &str, hosts: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).args(["--ss-url", url, "--ss-user", "super", "--zk-hosts", hosts]);
    command.env("SLIPSTREAM_PASS", PASSWORD);
    command
}

#[tokio::test]
async fn wrong_arguments_end_a_service_and_say_what_would_be_right() {
    let executor = |arguments: &[&str]| {
        let mut command = beside("http://127.0.0.1:1", NOWHERE, &["executor"]);
        command.args(arguments);
        command
    };
    for (arguments, expected) in [
        (&["--colour", "red"][..], "unexpected argument '--colour'"),
        (&["--threads", "many"], "expected a number from 1 to 10000"),
        (&["--zk-hosts", "nowhere:at:all"], "`nowhere:at:all` is not an address of ZooKeeper"),
        (&["--zk-hosts", "zk:70000"], "`zk:70000` is not an address of ZooKeeper"),
        (&["--zk-session-timeout", "1ms"], "a session time-out is from 100 ms"),
        (&["--zk-ca", "/nowhere/ca.pem"], "cannot read /nowhere/ca.pem, check its name"),
        (&["--zk-ca", "/dev/null"], "cannot use the certificates for ZooKeeper"),
        (&["--zk-user", "jane"], "no password of ZooKeeper's user jane: give it with --zk-pass-file"),
        (&["--zk-user", "jane", "--zk-pass", "secret"], "arguments are visible to all users"),
        (&["--zk-protect"], "protected nodes need a user"),
        (&["--ss-url", "example.org"], "invalid --ss-url: `example.org` does not begin with http://"),
        (&["--ss-url", "https://jane:secret@example.org"], "the address must not have a user or password"),
        (&["--ss-pass-file", "/nowhere/p"], "cannot read /nowhere/p"),
        (&["--ss-url", ""], "no server given: name it with --ss-url or SLIPSTREAM_URL"),
    ] {
        let complained = refusal(executor(arguments)).await;
        assert!(complained.contains(expected), "{arguments:?}: {complained}");
    }
    let mut nobody = program();
    nobody.args(["executor", "--ss-user", "jane", "--ss-url", "http://127.0.0.1:1"]);
    assert!(refusal(nobody).await.contains("no password of the user jane: give it with --ss-pass-file"));
    let mut nobody = program();
    nobody.args(["executor"]);
    assert!(refusal(nobody).await.contains("no user given: name an administrator with --ss-user"));
}

#[tokio::test]
async fn a_distributor_that_is_not_configured_is_refused_with_those_that_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[[distributor]]\nname = \"nightly\"\naction = \"noop\"\nevery = \"1 day\"\n")
        .expect("written");
    let config = file.to_str().expect("UTF-8");
    let distributor =
        |arguments: &[&str]| beside("http://127.0.0.1:1", NOWHERE, &[&["distributor"], arguments].concat());
    for (arguments, expected) in [
        (&["vms"][..], "error: there is no distributor vms, only dummy_test_action, jobs_cleanup"),
        (
            &["vms", "--config", config],
            "error: there is no distributor vms, only dummy_test_action, jobs_cleanup, nightly",
        ),
        (&["nightly", "--config", "/nowhere/c"], "cannot read the configuration file /nowhere/c"),
        (&[], "<DISTRIBUTOR>"),
    ] {
        let complained = refusal(distributor(arguments)).await;
        assert!(complained.contains(expected), "{arguments:?}: {complained}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_run_is_refused_and_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("jobs.db");
    let mut elsewhere = program();
    elsewhere.args(["server", "--store", "elasticsearch:http://es"]);
    assert!(refusal(elsewhere).await.contains("expected sqlite:PATH"));
    let complained = refusal(server(&store, "nowhere:at:all", "127.0.0.1:0")).await;
    assert!(complained.contains("is not an address of ZooKeeper"), "{complained}");
    assert!(!store.exists());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = listener.local_addr().expect("it listens").to_string();
    let complained = refusal(server(&store, NOWHERE, &address)).await;
    assert!(complained.contains(&format!("cannot listen on {address}: stop what listens there")), "{complained}");
    std::fs::write(&store, "this is no database, but somebody's letter\n".repeat(200)).expect("written");
    let complained = refusal(server(&store, NOWHERE, "127.0.0.1:0")).await;
    assert!(complained.contains("not a database"), "{complained}");
}

#[tokio::test]
async fn a_wrong_password_ends_a_service_although_zookeeper_is_out_of_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    for arguments in [&["executor"][..], &["distributor", "jobs_cleanup"]] {
        let mut command = beside(&up.endpoint, NOWHERE, arguments);
        command.env("SLIPSTREAM_PASS", "a secret that is none");
        let service = ended(command).await;
        let expected = format!(
            "error: cannot log in at {}: POST /api/session was refused: invalid credentials for 'super' (status 403)",
            up.endpoint
        );
        assert_eq!(service.says("error: ").await, expected);
        service.says("hint: check --ss-user and --ss-pass").await;
        assert_eq!(service.times("refused by the server"), 0, "{:?}", service.said());
    }
}

#[tokio::test]
async fn a_user_who_is_no_administrator_neither_executes_nor_distributes() {
    let site = Site::new().await;
    let jane = document(json!({"username": "jane", "password": "a secret of hers"}));
    site.client().add("user", &jane, None).await.expect("added");
    for arguments in [&["executor"][..], &["distributor", "jobs_cleanup"]] {
        let mut command = beside(&site.endpoint, &site.ensemble.hosts(), arguments);
        command.args(["--ss-user", "jane"]).env("SLIPSTREAM_PASS", "a secret of hers");
        let complained = ended(command).await.says("error: ").await;
        let expected =
            format!("error: the user jane is not an administrator at {}: name one with --ss-user", site.endpoint);
        assert_eq!(complained, expected);
    }
}

#[tokio::test]
async fn a_zookeeper_that_will_have_nothing_to_do_with_a_service_ends_it() {
    let site = Site::new().await;
    let hosts = format!("{}/nowhere", site.ensemble.hosts());
    let expected =
        format!("error: cannot use the coordinator at {hosts}: the folder after the last host does not exist");
    for arguments in [&["executor"][..], &["distributor", "jobs_cleanup"]] {
        let complained = refusal(beside(&site.endpoint, &hosts, arguments)).await;
        assert!(complained.contains(&expected), "{complained}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let complained = refusal(server(&folder.path().join("jobs.db"), &hosts, "127.0.0.1:0")).await;
    assert!(complained.contains(&expected["error: ".len()..]), "{complained}");
}

#[tokio::test]
async fn a_login_that_zookeeper_refuses_ends_a_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let users = folder.path().join("users");
    let section = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_jane=\"hers\"; };";
    std::fs::write(&users, section).expect("written");
    let provider = ("authProvider.sasl", "org.apache.zookeeper.server.auth.SASLAuthenticationProvider");
    let login = ("java.security.auth.login.config", users.to_str().expect("UTF-8"));
    let ensemble = Ensemble::start_with(1, &[provider], &[login]).await;
    let up_folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(up_folder.path(), &["--distributors", ""]);
    let command = |password: &str| {
        let mut command = beside(&up.endpoint, &ensemble.hosts(), &["executor", "--zk-user", "jane"]);
        command.env("SLIPSTREAM_ZK_PASS", password);
        command
    };
    let complained = refusal(command("a secret that is none")).await;
    assert!(complained.contains("login refused, check user and password"), "{complained}");
    let mut taken = Service::start(command("hers"));
    taken.says(" is up").await;
    taken.stop().await;
}

#[tokio::test]
async fn nodes_that_are_protected_keep_everybody_else_out() {
    const LOGIN: [&str; 5] = ["--zk-user", "jane", "--zk-scheme", "digest", "--zk-protect"];
    let ensemble = Ensemble::start(1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("jobs.db");
    let mut first = server(&store, &ensemble.hosts(), "127.0.0.1:0");
    first.args(LOGIN).env("SLIPSTREAM_ZK_PASS", "hers");
    let first = Service::start(first);
    let endpoint = endpoint(&first).await;
    let executor = || beside(&endpoint, &ensemble.hosts(), &["executor"]);
    let (mut with_login, mut with_another) = (executor(), executor());
    with_login.args(LOGIN).env("SLIPSTREAM_ZK_PASS", "hers");
    with_another.args(LOGIN).env("SLIPSTREAM_ZK_PASS", "a secret that is none");
    let with_login = Service::start(with_login);
    with_login.says(" is up").await;
    let second = server(&folder.path().join("second/jobs.db"), &ensemble.hosts(), "127.0.0.1:0");
    for nobody in [executor(), with_another, second] {
        let complained = ended(nobody).await.says("error: ").await;
        assert!(complained.contains("the nodes in ZooKeeper belong to another login: check --zk-user"), "{complained}");
    }
    let mut submit = program();
    submit.args(["submit", "noop", "--wait", "--ss-url", &endpoint]).env("SLIPSTREAM_PASS", PASSWORD);
    assert_eq!(submit.output().expect("the binary starts").status.code(), Some(0));
}

#[tokio::test]
async fn the_store_of_a_server_is_its_own() {
    let mut site = Site::new().await;
    let store = site.folder.path().join("jobs.db");
    let complained = refusal(server(&store, &site.ensemble.hosts(), "127.0.0.1:0")).await;
    assert!(complained.contains("another slipstream-job up or server uses the folder"), "{complained}");
    let complained = refusal(up_command(site.folder.path())).await;
    assert!(complained.contains("another slipstream-job up or server uses the folder"), "{complained}");
    site.server.stop().await;
    let again = Service::start(server(&store, &site.ensemble.hosts(), "127.0.0.1:0"));
    again.says(" is up").await;
}
