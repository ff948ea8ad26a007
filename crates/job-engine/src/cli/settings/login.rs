//! A login in the files is for the server and the user that they name: it is not sent elsewhere.

use super::{Chosen, keys};

const URL: &str = "ss-url";
const USER: &str = "ss-user";
const PASSWORD: &str = "ss-pass";
const PASSWORD_FILE: &str = "ss-pass-file";
const INSECURE: &str = "ss-insecure";

/// Takes out of what the files say whatever is for another server or user than flags and environment (`said`) name, and
/// a file with a password where a password is said. A service is told by one administrator; a command of an operator, who
/// may have another engine, uses a login of the files only for a server of the files.
pub fn keep_apart(command: &[&str], said: &dyn Fn(&str) -> Option<String>, chosen: &mut Chosen) {
    let is_service = keys::is_service(command);
    let text = |id| said(id).filter(|text| !text.is_empty());
    let is_other_server = match (text(URL), word(chosen, URL)) {
        (Some(said), Some(written)) => said.trim_end_matches('/') != written.trim_end_matches('/'),
        (None, Some(_)) => false,
        (_, None) => !is_service,
    };
    let is_other_user = match (text(USER), word(chosen, USER)) {
        (Some(said), Some(written)) => said != written,
        _ => false,
    };
    if is_other_server && !is_service {
        chosen.remove(USER);
    }
    if is_other_server {
        chosen.remove(INSECURE);
    }
    if is_other_server || is_other_user {
        chosen.remove(PASSWORD);
        chosen.remove(PASSWORD_FILE);
    }
    if text(PASSWORD).is_some() {
        chosen.remove(PASSWORD_FILE);
    }
}

/// Takes them all out: the environment says which engine is meant, by its data directory.
pub fn take_out(chosen: &mut Chosen) {
    chosen.retain(|id, _| ![URL, USER, PASSWORD, PASSWORD_FILE, INSECURE].contains(&&**id));
}

fn word<'a>(chosen: &'a Chosen, id: &str) -> Option<&'a str> {
    chosen.get(id)?.words.first().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use crate::cli::settings::tests::chosen_for;

    /// Of `line` and this file: which of the file's values count.
    fn counting(line: &str, file: &str) -> String {
        let keys = ["ss-url", "ss-user", "ss-pass-file", "ss-insecure"];
        let chosen = chosen_for(line, file);
        keys.into_iter().filter(|key| chosen.contains_key(*key)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_login_of_the_files_goes_nowhere_else() {
        let whole = "ss-url = \"http://a/\"\nss-user = \"u\"\nss-pass-file = \"p\"\nss-insecure = true\n";
        let everything = "ss-url ss-user ss-pass-file ss-insecure";
        for (line, file, expected) in [
            ("queue", whole, everything),
            ("queue --ss-url http://a", whole, everything),
            ("queue --ss-url http://b", whole, "ss-url"),
            ("queue --ss-user v", whole, "ss-url ss-user ss-insecure"),
            ("queue --ss-user u", whole, everything),
            ("queue --ss-pass q", whole, "ss-url ss-user ss-insecure"),
            ("queue", "ss-user = \"u\"\nss-pass-file = \"p\"\n", ""),
            ("queue --ss-url http://b", "ss-user = \"u\"\nss-pass-file = \"p\"\n", ""),
            ("executor", whole, everything),
            ("executor --ss-url http://b", whole, "ss-url ss-user"),
            ("executor --ss-url http://b", "ss-user = \"u\"\nss-pass-file = \"p\"\n", "ss-user ss-pass-file"),
            ("executor --ss-url http://b", "ss-pass-file = \"p\"\n", "ss-pass-file"),
            ("executor --ss-user v", whole, "ss-url ss-user ss-insecure"),
        ] {
            assert_eq!(counting(line, &format!("[peers]\n{file}")), expected, "{line}\n{file}");
        }
    }
}
