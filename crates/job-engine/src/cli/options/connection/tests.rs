use super::*;
use crate::instance::data_dir::DataDir;
use crate::instance::endpoint::EndpointFile;

const HERE: &str = "http://127.0.0.1:8201";

/// A data directory as a running `up` has it.
struct Running {
    folder: tempfile::TempDir,
    held: Option<(DataDir, EndpointFile)>,
}

impl Running {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn data_dir() -> Running {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("super.password"), "of-this-machine\n").unwrap();
    let held = DataDir::open(folder.path()).unwrap();
    let endpoint = EndpointFile::write(folder.path(), "127.0.0.1:8201".parse().unwrap()).unwrap();
    Running { folder, held: Some((held, endpoint)) }
}

fn connection(url: Option<&str>, user: Option<&str>, password: Option<&str>) -> Connection {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let password = password.map(SecretString::from);
    let login = LoginOptions { url: owned(url), user: owned(user), password, password_file: None, is_insecure: false };
    Connection { given: GivenAsFlag::default(), login }
}

#[test]
fn beside_a_running_up_nothing_is_needed_and_empty_variables_are_none() {
    let folder = data_dir();
    for connection in [connection(None, None, None), connection(Some(""), Some(""), Some(""))] {
        assert_eq!(connection.endpoint(Some(folder.path())).unwrap(), HERE);
        assert_eq!(connection.user_name(), "super");
        assert_eq!(
            connection.found_password(Some(folder.path()), || Ok(None)).unwrap().expose_secret(),
            "of-this-machine"
        );
    }
}

#[test]
fn what_is_given_comes_first() {
    let folder = data_dir();
    let given = connection(Some("http://elsewhere"), Some("jane"), Some("hers"));
    assert_eq!(given.endpoint(Some(folder.path())).unwrap(), "http://elsewhere");
    assert_eq!(given.user_name(), "jane");
    assert_eq!(given.found_password(Some(folder.path()), || Ok(None)).unwrap().expose_secret(), "hers");
}

#[test]
fn the_password_of_this_machines_administrator_goes_to_nobody_else() {
    let folder = data_dir();
    let same = connection(Some("http://127.0.0.1:8201/"), None, None);
    assert_eq!(same.found_password(Some(folder.path()), || Ok(None)).unwrap().expose_secret(), "of-this-machine");
    for other in [connection(Some("http://elsewhere"), None, None), connection(None, Some("jane"), None)] {
        let refused = other.found_password(Some(folder.path()), || Ok(None)).unwrap_err().to_string();
        assert!(refused.starts_with("no password of the user"), "{refused}");
    }
}

#[test]
fn the_administrators_variable_is_for_the_administrator_of_this_machines_engine_alone() {
    let folder = data_dir();
    let variable = || Ok(Some(SecretString::from("of-the-variable")));
    let password = connection(None, None, None).found_password(Some(folder.path()), variable);
    assert_eq!(password.unwrap().expose_secret(), "of-the-variable");
    for other in [connection(None, Some("jane"), None), connection(Some("http://elsewhere"), None, None)] {
        assert!(other.found_password(Some(folder.path()), variable).is_err());
    }
}

#[test]
fn without_an_engine_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for data_dir in [None, Some(folder.path())] {
        let refused = connection(None, None, None).endpoint(data_dir).unwrap_err().to_string();
        assert!(refused.contains("slipstream-job up") && refused.contains("--ss-url"), "{refused}");
    }
}

#[test]
fn after_an_engine_was_killed_nobody_is_told_its_password() {
    let mut folder = data_dir();
    folder.held = None;
    let refused = connection(None, None, None).endpoint(Some(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("no engine is running"), "{refused}");
    let named =
        connection(Some(HERE), None, None).found_password(Some(folder.path()), || Ok(None)).unwrap_err().to_string();
    assert!(named.starts_with("no password of the user super"), "{named}");
}

#[test]
fn what_cannot_be_read_is_not_taken_for_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    // for everybody, root too: a folder in the place of a file
    std::fs::create_dir(folder.path().join("endpoint")).unwrap();
    std::fs::create_dir(folder.path().join("super.password")).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [folder.path(), &file] {
        let refused = format!("{:#}", connection(None, None, None).endpoint(Some(place)).unwrap_err());
        assert!(refused.starts_with("cannot read") && refused.contains("endpoint"), "{refused}");
    }
    let refused =
        format!("{:#}", connection(None, None, None).found_password(Some(folder.path()), || Ok(None)).unwrap_err());
    assert!(refused.starts_with("cannot read") && refused.contains("super.password"), "{refused}");
}

/// What the flags of a command are, in an environment without variables of ours.
#[derive(Debug, clap::Parser)]
struct OneCommand {
    #[command(flatten)]
    connection: Connection,
}

fn parsed(arguments: &[&str]) -> Connection {
    let arguments = ["command"].iter().chain(arguments);
    <OneCommand as clap::Parser>::try_parse_from(arguments).unwrap().connection
}

fn in_an_action(name: &str) -> Option<String> {
    match name {
        "SLIPSTREAM_SOCKET" => Some("/run/api".to_owned()),
        "SLIPSTREAM_API" => Some("http://0a1b/api".to_owned()),
        _ => None,
    }
}

#[test]
fn in_an_action_its_socket_is_used_unless_a_flag_names_a_server() {
    for arguments in [vec![], vec!["--ss-insecure"], vec!["--ss-user", "jane", "--ss-pass", "hers"]] {
        assert!(parsed(&arguments).socket(in_an_action).unwrap().is_some(), "{arguments:?}");
    }
    assert!(parsed(&["--ss-url", "http://elsewhere"]).socket(in_an_action).unwrap().is_none());
    // as from the environment
    assert!(connection(Some("http://elsewhere"), None, None).socket(in_an_action).unwrap().is_some());
    for nothing in [|_: &str| None, |_: &str| Some(String::new())] {
        assert!(parsed(&[]).socket(nothing).unwrap().is_none());
    }
}

#[test]
fn in_an_action_only_flags_are_a_login() {
    assert!(parsed(&[]).login_over_the_socket().unwrap().is_none());
    let of_the_environment = connection(None, Some("jane"), Some("hers"));
    assert!(of_the_environment.login_over_the_socket().unwrap().is_none());
    let jane = parsed(&["--ss-user", "jane", "--ss-pass", "hers"]).login_over_the_socket().unwrap().unwrap();
    assert_eq!((jane.username.as_str(), jane.password.expose_secret()), ("jane", "hers"));
    let refused = parsed(&["--ss-user", "jane"]).login_over_the_socket().unwrap_err().to_string();
    assert_eq!(refused, "no password of the user jane: give it with --ss-pass");
}

#[test]
fn half_a_socket_is_refused_in_words() {
    for name in ["SLIPSTREAM_SOCKET", "SLIPSTREAM_API"] {
        let half = |asked: &str| in_an_action(asked).filter(|_| asked == name);
        let refused = parsed(&[]).socket(half).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{name} is set and ")), "{refused}");
    }
    let wrong = |name: &str| in_an_action(name).map(|text| text.replace("http://", "https://"));
    let refused = parsed(&[]).socket(wrong).unwrap_err().to_string();
    assert_eq!(refused, "SLIPSTREAM_API is no address of an action, http://TOKEN/api");
}
