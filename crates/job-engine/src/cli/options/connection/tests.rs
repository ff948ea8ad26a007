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
    Connection { login }
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
