use std::ffi::OsString;

use super::*;
use crate::config::Value;

/// What a file with this text adds to a command line.
pub fn chosen_for(line: &str, text: &str) -> Chosen {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.toml");
    std::fs::write(&path, text).unwrap();
    let words: Vec<OsString> = ["slipstream-job"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
    let (whole, parsed) = first_look(&words).unwrap();
    let (path_of_command, matches) = leaf(&parsed);
    let (config, faults) = Config::read(&Files::named(&path));
    assert_eq!(faults, []);
    let mut chosen = chosen(&whole, &path_of_command, &config.settings);
    login::keep_apart(&names(&path_of_command), &said_in(matches), &mut chosen);
    chosen
}

/// The files of a machine, below a folder.
fn resolved(line: &str, files: &[(&str, &str)]) -> Result<Resolved, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let config = folder.path().join("engine.toml");
    let line = format!("slipstream-job --config {} {line}", config.display());
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    resolve(&words).map_err(|refused| match refused {
        Refused::Usage(error) => error.to_string(),
        Refused::Files(error) => error.to_string().replace(&format!("{}/", folder.path().display()), ""),
    })
}

fn threads(line: &str, files: &[(&str, &str)]) -> String {
    match resolved(line, files) {
        Ok(resolved) => {
            let shown = format!("{:?}", resolved.arguments);
            let start = shown.find("threads: ").unwrap() + "threads: ".len();
            shown[start..].chars().take_while(char::is_ascii_digit).collect()
        }
        Err(refused) => refused,
    }
}

const LOGIN: &str = "--ss-url http://a --ss-user u --ss-pass p";

#[test]
fn flags_count_more_than_files_and_later_files_more_than_earlier_ones() {
    let file = ("engine.toml", "[executor]\nthreads = 3\n");
    let (first, second) = ("engine.d/10.toml", "engine.d/20.toml");
    let line = &*format!("executor {LOGIN}");
    assert_eq!(threads(line, &[("engine.toml", "")]), "1");
    assert_eq!(threads(line, &[file]), "3");
    assert_eq!(threads(&format!("{line} --threads 9"), &[file]), "9");
    assert_eq!(threads(line, &[file, (first, "[executor]\nthreads = 4\n")]), "4");
    let both = [file, (second, "[executor]\nthreads = \"5\"\n"), (first, "[executor]\nthreads = 4\n")];
    assert_eq!(threads(line, &both), "5");
    assert_eq!(threads(line, &[file, ("engine.d/30.toml.save", "[executor]\nthreads = 4\n")]), "3");
    assert_eq!(threads("up", &[file]), "3");
    assert_eq!(threads("up", &[("engine.toml", "")]), "8");
}

#[test]
fn what_is_required_may_stand_in_a_file() {
    let peers = "[peers]\nss-url = \"http://a\"\nss-user = \"u\"\nss-pass = \"p\"\nss-insecure = true\n\
                 zk-hosts = [\"a:1\", \"b:2\"]\n";
    let shown = format!("{:?}", resolved("executor", &[("engine.toml", peers)]).unwrap().arguments);
    for expected in [r#"url: Some("http://a")"#, r#"user: Some("u")"#, "is_insecure: true", r#"hosts: ["a:1", "b:2"]"#]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("\"p\""), "{shown}");
    let store = ("engine.toml", "[server]\nstore = \"sqlite:/a/jobs.db\"\n");
    assert!(format!("{:?}", resolved("server", &[store]).unwrap().arguments).contains("/a/jobs.db"));
    let missing = resolved("server", &[("engine.toml", "")]).err().unwrap();
    assert!(
        missing.contains("--store <STORE>") && missing.contains("Usage: slipstream-job server [OPTIONS]"),
        "{missing}"
    );
}

#[test]
fn a_service_may_have_what_it_shares_with_others_to_itself() {
    let file = ("engine.toml", "[executor]\nlog-level = \"debug\"\n[log]\nlog-level = \"warn\"\n");
    let level = |line: &str| {
        let shown = format!("{:?}", resolved(line, &[file]).unwrap().arguments);
        ["debug", "warn"].into_iter().find(|level| shown.contains(&format!("level: Some(\"{level}\")")))
    };
    assert_eq!(level(&format!("executor {LOGIN}")), Some("debug"));
    assert_eq!(level(&format!("distributor jobs_cleanup {LOGIN}")), Some("warn"));
    assert_eq!(level("up"), Some("warn"));
}

const WRONG: &str = "\
[executor]
threads = 0
grace = \"soon\"
thread = 8
listen = \":8201\"
python = [\"a\", \"b\"]
[server]
store = \"jobs.db\"
max-attempts = 1.5
[peers]
ss-insecure = \"yes\"
zk-scheme = \"kerberos\"
ss-pass = [\"of-nobody-else\"]
[serve]
[[distributor]]
name = \"One\"
evry = \"1 h\"
";

#[test]
fn all_that_is_wrong_is_told_at_once_with_file_and_line() {
    let part = ("engine.d/10.toml", "[log]\nlog-format = \"xml\"\n");
    let told = resolved(&format!("executor {LOGIN}"), &[("engine.toml", WRONG), part]).err().unwrap();
    let expected = [
        "engine.d/10.toml:2: `log-format` cannot be `xml`: expected one of text, json",
        "engine.toml:2: `threads` cannot be `0`: expected a number from 1 to 10000",
        "engine.toml:3: `grace` cannot be `soon`: expected a duration such as 90s or 2m, of 8760h (a year) at most",
        "engine.toml:4: [executor] has no key `thread`, expected one of `name`, `threads`, ",
        "engine.toml:5: [executor] has no key `listen`: it belongs into [server]",
        "engine.toml:6: `python` has an impossible value: expected one value",
        "engine.toml:8: `store` cannot be `jobs.db`: expected sqlite:PATH, such as sqlite:jobs.db",
        "engine.toml:9: `max-attempts` has an impossible value: expected a text or a number",
        "engine.toml:11: `ss-insecure` has an impossible value: expected true or false",
        "engine.toml:12: `zk-scheme` cannot be `kerberos`: expected one of sasl, digest",
        "engine.toml:13: `ss-pass` has an impossible value: expected one value",
        "engine.toml:14: unknown table `serve`",
        "engine.toml:15: it has no schedule",
        "engine.toml:15: missing field `action`",
        "engine.toml:16: `One` is not a name",
        "engine.toml:17: unknown field `evry`",
    ];
    let lines: Vec<&str> = told.lines().skip(1).map(str::trim_start).collect();
    assert_eq!(told.lines().next(), Some(&*format!("{} faults", expected.len())), "{told}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert!(!told.contains("of-nobody-else"));
}

#[test]
fn a_command_cares_for_what_it_reads_only() {
    let told = resolved("queue", &[("engine.toml", WRONG)]).err().unwrap();
    assert!(told.starts_with("4 faults") && told.contains(":12: ") && !told.contains(":2: "), "{told}");
    let elsewhere = "[executor]\nthreads = 0\n[peers]\nss-url = \"http://a\"\n";
    let shown = format!("{:?}", resolved("queue", &[("engine.toml", elsewhere)]).unwrap().arguments);
    assert!(shown.contains("http://a"), "{shown}");
    assert!(resolved("completions bash", &[("engine.toml", WRONG)]).is_ok());
    assert!(resolved("executor --threads 0", &[("engine.toml", WRONG)]).err().unwrap().contains("'--threads <N>'"));
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let told = resolved("queue", &[]).err().unwrap();
    assert!(
        told.starts_with("cannot read the configuration file engine.toml, check its name and permissions"),
        "{told}"
    );
}

#[test]
fn a_value_of_each_kind_is_what_the_command_line_would_have() {
    assert_eq!(Value::Word("8".to_owned()).words(), ["8"]);
    assert_eq!(Value::Switch(true).words(), ["true"]);
    assert_eq!(Value::List(vec!["a".to_owned(), "b".to_owned()]).words(), ["a", "b"]);
    let chosen = chosen_for("executor", "[executor]\nthreads = 0x10\n");
    assert_eq!(chosen["threads"].words, ["16"]);
}
