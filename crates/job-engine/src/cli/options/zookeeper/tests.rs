use clap::Parser;

use secrecy::ExposeSecret;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: ZooKeeperArguments,
}

fn parse(line: &str) -> ZooKeeperArguments {
    let words = line.split_whitespace();
    Line::try_parse_from(["x"].into_iter().chain(words)).unwrap().arguments
}

fn settings(line: &str, password: Option<&str>) -> anyhow::Result<Settings> {
    parse(line).settings(password.map(SecretString::from))
}

#[test]
fn without_anything_anybody_asks_the_ensemble_of_this_machine() {
    let found = settings("", None).unwrap();
    assert_eq!((found.hosts.as_str(), found.session_timeout), ("127.0.0.1:2181", Duration::from_secs(10)));
    assert!(found.login.is_none() && found.tls.is_none());
}

#[test]
fn hosts_come_as_one_text_or_as_several() {
    let hosts = |line: &str| settings(line, None).unwrap().hosts;
    assert_eq!(hosts("--zk-hosts a:1,b:2/x"), "a:1,b:2/x");
    assert_eq!(hosts("--zk-hosts a:1, b:2"), "a:1,b:2");
    assert_eq!(hosts("--zk-hosts a:1 b:2 /x"), "a:1,b:2,/x");
}

#[test]
fn a_login_has_a_user_and_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "of-the-file\n").unwrap();
    let login = settings("--zk-user jane", Some("of-the-variable")).unwrap().login.unwrap();
    assert_eq!((login.scheme, login.user.as_str(), login.protects), (Scheme::Sasl, "jane", false));
    assert_eq!(login.password.expose_secret(), "of-the-variable");
    let line = format!("--zk-user jane --zk-scheme digest --zk-protect --zk-pass-file {}", file.display());
    let found = settings(&line, Some("of-the-variable")).unwrap();
    let shown = format!("{found:?}");
    assert!(!shown.contains("of-the-"), "{shown}");
    let login = found.login.unwrap();
    assert_eq!((login.scheme, login.protects), (Scheme::Digest, true));
    assert_eq!(login.password.expose_secret(), "of-the-file");
}

#[test]
fn tls_has_authorities_and_perhaps_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, name).unwrap();
        path.display().to_string()
    };
    let (ca, certificate, key) = (path("ca"), path("certificate"), path("key"));
    let tls = settings(&format!("--zk-ca {ca}"), None).unwrap().tls.unwrap();
    assert_eq!((tls.authorities.as_str(), tls.identity.is_none()), ("ca", true));
    let line = format!("--zk-ca {ca} --zk-certificate {certificate} --zk-key {key}");
    let tls = settings(&line, None).unwrap().tls.unwrap();
    let (certificate, key) = tls.identity.unwrap();
    assert_eq!((certificate.as_str(), key.expose_secret()), ("certificate", "key"));
}

#[test]
fn what_does_not_go_together_is_refused_with_what_to_do() {
    let this = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    for (line, password, expected) in [
        ("--zk-user jane", None, "no password of ZooKeeper's user jane: give it with --zk-pass-file"),
        ("", Some("secret"), "a password for ZooKeeper needs a user"),
        ("--zk-protect", None, "protected nodes need a user"),
        ("--zk-user jane --zk-pass secret", None, "arguments are visible to all users"),
        ("--zk-user jane --zk-pass-file /nowhere/p", None, "cannot read /nowhere/p"),
        ("--zk-ca /nowhere/ca", None, "cannot read /nowhere/ca, check its name and permissions"),
        (&format!("--zk-certificate {this}"), None, "needs its key"),
        (&format!("--zk-key {this}"), None, "needs its certificate"),
        (&format!("--zk-certificate {this} --zk-key {this}"), None, "give them with --zk-ca"),
    ] {
        let refused = format!("{:#}", settings(line, password).unwrap_err());
        assert!(refused.contains(expected) && !refused.contains("secret"), "{line}: {refused}");
    }
}
