use clap::Parser;
use clap::error::ErrorKind;
use secrecy::ExposeSecret;
use slipstream_cimi::Credentials;

use super::*;
use crate::roles::peers::Account;

#[derive(Debug, Parser)]
struct Executor {
    #[command(flatten)]
    arguments: ExecutorArguments,
}

#[derive(Debug, Parser)]
struct Distributor {
    #[command(flatten)]
    arguments: DistributorArguments,
}

fn executor(words: &[&str]) -> Result<ExecutorArguments, clap::Error> {
    let words = [&["executor"], words].concat();
    Executor::try_parse_from(words).map(|parsed| parsed.arguments)
}

fn distributor(words: &[&str]) -> Result<DistributorArguments, clap::Error> {
    let words = [&["distributor"], words].concat();
    Distributor::try_parse_from(words).map(|parsed| parsed.arguments)
}

fn account(arguments: ExecutorArguments) -> (String, String, String, bool) {
    let Account { endpoint, credentials: Credentials { username, password }, is_insecure } =
        arguments.peers.account.account().unwrap();
    (endpoint, username, password.expose_secret().to_owned(), is_insecure)
}

const LOGIN: &[&str] = &["--ss-user", "u", "--ss-pass", "p"];

#[test]
fn the_defaults_are_the_originals() {
    let arguments = executor(LOGIN).unwrap();
    assert_eq!((arguments.running.threads, &arguments.elasticsearch[..]), (1, &["localhost".to_owned()][..]));
    assert_eq!((arguments.running.grace, arguments.cimi_grace), (Duration::from_mins(2), Duration::from_mins(2)));
    assert_eq!(arguments.name, None);
    let arguments = executor(LOGIN).unwrap();
    assert_eq!(arguments.peers.zookeeper.settings(None).unwrap().hosts, "127.0.0.1:2181");
    let here = [LOGIN, &["--ss-url", "http://here"]].concat();
    let expected = ("http://here".to_owned(), "u".to_owned(), "p".to_owned(), false);
    assert_eq!(account(executor(&here).unwrap()), expected);
}

#[test]
fn command_lines_of_the_original_engines_are_read_in_every_spelling() {
    let whole: &[&str] = &[
        "--ss-url=http://a",
        "--ss-user",
        "M. Garrison",
        "--ss-pass=a=b",
        "--ss-insecure",
        "--zk-hosts",
        "zk1:2181,zk2",
        "--name=M. Garrison",
        "--threads",
        "4",
        "--es-hosts-list",
        "es1",
        "es2",
    ];
    let short: &[&str] = &[
        "--es",
        "es1",
        "es2",
        "--t=4",
        "--n",
        "M. Garrison",
        "--zk=zk1:2181,zk2",
        "--ss-i",
        "--ss-p",
        "a=b",
        "--ss-us=M. Garrison",
        "--ss-ur",
        "http://a",
    ];
    for words in [whole, short] {
        let arguments = executor(words).unwrap();
        assert_eq!(arguments.name.as_deref(), Some("M. Garrison"));
        assert_eq!((arguments.running.threads, arguments.elasticsearch.join(" ")), (4, "es1 es2".to_owned()));
        assert_eq!(executor(words).unwrap().peers.zookeeper.settings(None).unwrap().hosts, "zk1:2181,zk2");
        assert_eq!(account(arguments), ("http://a".to_owned(), "M. Garrison".to_owned(), "a=b".to_owned(), true));
    }
}

/// Every prefix that was no other option's prefix there.
#[test]
fn prefixes_of_the_original_engines_stay_good_beside_new_options() {
    for (option, shortest, value) in [
        ("--ss-url", "--ss-ur", Some("http://a")),
        ("--ss-user", "--ss-us", Some("u")),
        ("--ss-pass", "--ss-p", Some("p")),
        ("--ss-insecure", "--ss-i", None),
        ("--zk-hosts", "--z", Some("zk1")),
        ("--name", "--n", Some("Kenny")),
        ("--threads", "--t", Some("2")),
        ("--es-hosts-list", "--e", Some("es1")),
    ] {
        for end in shortest.len()..=option.len() {
            let words = [LOGIN, &[&option[..end]], value.as_slice()].concat();
            let parsed = executor(&words);
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
        }
    }
    for ambiguous in ["--ss-", "--ss-u", "--zk-s"] {
        let refused = executor(&[LOGIN, &[ambiguous, "x"]].concat()).unwrap_err();
        assert_eq!((refused.kind(), refused.exit_code()), (ErrorKind::UnknownArgument, 2), "{ambiguous}");
    }
    assert_eq!(executor(&["--he"]).unwrap_err().kind(), ErrorKind::DisplayHelp);
}

#[test]
fn the_last_of_several_counts() {
    let words: &[&str] = &["--threads", "2", "--threads=3", "--ss-insecure", "--ss-insecure", "--ss-pass", "q"];
    let hosts: &[&str] =
        &["--zk-hosts", "a:1", "b:2", "--zk-hosts", "c:3", "--es-hosts-list=x", "--es-hosts-list", "y", "z"];
    let arguments = executor(&[LOGIN, hosts].concat()).unwrap();
    assert_eq!(arguments.elasticsearch, ["y", "z"]);
    assert_eq!(arguments.peers.zookeeper.settings(None).unwrap().hosts, "c:3");
    let arguments = executor(&[LOGIN, words, &["--ss-url", "http://a"]].concat()).unwrap();
    assert_eq!((arguments.running.threads, account(arguments).2), (3, "q".to_owned()));
}

#[test]
fn several_hosts_after_one_flag_are_joined() {
    let hosts = |words: &[&str]| {
        let arguments = distributor(&[&["jobs_cleanup"], LOGIN, words].concat()).unwrap();
        (arguments.distributor, arguments.peers.zookeeper.settings(None).unwrap().hosts)
    };
    let expected = |hosts: &str| ("jobs_cleanup".to_owned(), hosts.to_owned());
    assert_eq!(hosts(&["--zk-hosts", "a:1", "b:2", "c"]), expected("a:1,b:2,c"));
    assert_eq!(hosts(&["--zk-hosts", "a:1", "b:2/folder", "--name", "x"]), expected("a:1,b:2/folder"));
    assert_eq!(hosts(&["--zk-hosts", ""]), expected("127.0.0.1:2181"));
    let after = distributor(&["--zk-hosts=a:1", "--ss-user=u", "--ss-pass=p", "jobs_cleanup"]).unwrap();
    assert_eq!(after.distributor, "jobs_cleanup");
}

#[test]
fn what_cannot_be_is_a_message_about_usage() {
    for (words, kind) in [
        (&["--colour", "red"][..], ErrorKind::UnknownArgument),
        (&["--threads", "none"], ErrorKind::ValueValidation),
        (&["--threads", "0"], ErrorKind::ValueValidation),
        (&["--grace", "soon"], ErrorKind::ValueValidation),
        (&["--zk-scheme", "kerberos"], ErrorKind::InvalidValue),
        (&["Kenny"], ErrorKind::UnknownArgument),
    ] {
        let refused = executor(&[LOGIN, words].concat()).unwrap_err();
        assert_eq!((refused.kind(), refused.exit_code()), (kind, 2), "{words:?}");
    }
    assert_eq!(executor(&["--ss-user", "", "--ss-pass", "p"]).unwrap_err().exit_code(), 2);
    assert_eq!(distributor(LOGIN).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn no_server_no_password_or_one_in_the_address_is_refused() {
    for (words, expected) in [
        (LOGIN, "no server given: name it with --ss-url or SLIPSTREAM_URL"),
        (&["--ss-user", "u", "--ss-pass", "p", "--ss-url", ""], "no server given"),
        (&["--ss-pass", "p", "--ss-url", "http://a"], "no user given: name an administrator with --ss-user"),
        (&["--ss-user", "u", "--ss-url", "http://a"], "no password of the user u"),
        (&["--ss-user", "u", "--ss-url", "http://a", "--ss-pass", ""], "no password of the user u"),
        (&["--ss-user", "u", "--ss-url", "http://a", "--ss-pass-file", "/nowhere/p"], "cannot read /nowhere/p"),
        (&["--ss-user", "u", "--ss-url", "https://u:secret@example.org"], "the address must not have a user"),
    ] {
        let refused = executor(words).unwrap().peers.account.account().unwrap_err().to_string();
        assert!(refused.contains(expected) && !refused.contains("secret"), "{refused}");
    }
}

#[test]
fn a_password_file_comes_first_and_nothing_shows_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "of-the-file\n").unwrap();
    let file = file.to_str().unwrap();
    let words = ["--ss-url", "http://a", "--ss-user", "u", "--ss-pass", "of-the-option", "--ss-pass-file", file];
    let arguments = executor(&words).unwrap();
    let shown = format!("{arguments:?}");
    assert!(!shown.contains("of-the-option"), "{shown}");
    let account = arguments.peers.account.account().unwrap();
    let shown = format!("{account:?}");
    assert!(!shown.contains("of-the-file"), "{shown}");
    assert_eq!(account.credentials.password.expose_secret(), "of-the-file");
}

#[test]
fn a_name_is_made_where_none_is_given() {
    for none in [None, Some(String::new())] {
        assert_eq!(name(none), format!("{}-{}", host_name(), std::process::id()));
    }
    assert_eq!(name(Some("M. Garrison".to_owned())), "M. Garrison");
}
