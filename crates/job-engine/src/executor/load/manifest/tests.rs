use proptest::prelude::*;

use super::*;

const FILE: &str = "/etc/slipstream/actions/m.toml";

fn parsed(text: &str) -> Manifest {
    parse(text, Path::new(FILE))
}

fn command(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// All keys of all three tables.
const WHOLE: &str = r#"
[[action]]
name = "backup"
command = ["./backup.sh", "--full", "../shared/list", "a/b"]
time-limit = "2 h"
stop-grace = "30 s"
memory = "1 GiB"
cpu-time = "10 min"
open-files = 256
env = { LANG = "C", EMPTY = "" }
pass-env = ["http_proxy"]

[[host]]
command = ["bin/greeter", "a/b"]
processes = 4
jobs-per-process = 100
start-within = "20 s"
time-limit = "1 h"
stop-grace = "0 s"
actions.greet.time-limit = "5 min"
actions.wave.stop-grace = "1 min"

[python]
interpreter = "/opt/cloud/bin/python"
dialect = "nuvla"
processes = 2
jobs-per-process = 7
start-within = "1 min"
memory = "512 MiB"
actions.collect_quotas.python3 = true
actions.start_deployment = { python3 = false, time-limit = "1 day" }
"#;

fn own(line: usize, terms: Terms) -> Own {
    Own { terms, file: FILE.into(), line }
}

#[test]
fn every_key_is_read() {
    let manifest = parsed(WHOLE);
    assert_eq!(manifest.wrong, []);
    let seconds = Duration::from_secs;
    let backup = CommandProvider {
        name: "backup".to_owned(),
        program: Program {
            command: command(&[
                "/etc/slipstream/actions/backup.sh",
                "--full",
                "/etc/slipstream/actions/../shared/list",
                "a/b",
            ]),
            file: FILE.into(),
            env: BTreeMap::from([("LANG".to_owned(), "C".to_owned()), ("EMPTY".to_owned(), String::new())]),
            pass_env: vec!["http_proxy".to_owned()],
            limits: Limits { memory: Some(1 << 30), cpu_time: Some(seconds(600)), open_files: Some(256) },
        },
        terms: Terms { time_limit: Some(seconds(7200)), stop_grace: seconds(30) },
    };
    let hosts = Terms { time_limit: Some(seconds(3600)), stop_grace: Duration::ZERO };
    let greeter = HostProvider {
        kind: Kind::Host,
        line: Some(14),
        program: Program {
            command: command(&["/etc/slipstream/actions/bin/greeter", "a/b"]),
            file: FILE.into(),
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            limits: Limits::default(),
        },
        processes: Some(4),
        jobs_per_process: 100,
        start_within: seconds(20),
        actions: BTreeMap::from([
            ("greet".to_owned(), own(20, Terms { time_limit: Some(seconds(300)), ..hosts.clone() })),
            ("wave".to_owned(), own(21, Terms { stop_grace: seconds(60), ..hosts.clone() })),
        ]),
        terms: hosts,
    };
    let expected = vec![(2, Provider::Command(backup)), (13, Provider::Host(greeter))];
    assert_eq!(manifest.providers, expected);
    let names: Vec<_> = manifest.named.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["list", "backup.sh", "greeter"]);
    let python = manifest.python.unwrap();
    let said = python.said.unwrap();
    assert_eq!((python.line, python.interpreter), (23, Some((24, "/opt/cloud/bin/python".into()))));
    assert_eq!((said.dialect, said.processes, said.jobs_per_process), (Some(Dialect::Nuvla), Some(2), Some(7)));
    assert_eq!((said.start_within, said.common.limits.memory), (Some(seconds(60)), Some(512 << 20)));
    assert_eq!(said.ported, ["collect_quotas"]);
    assert_eq!(said.actions["start_deployment"].terms.time_limit, Some(seconds(86_400)));
}

#[test]
fn what_is_not_said_is_as_usual() {
    let manifest =
        parsed("[[host]]\ncommand = [\"greeter\"]\n[[action]]\nname = \"a\"\ncommand = [\"rsync\"]\n[python]");
    assert_eq!(manifest.wrong, []);
    let hosts = manifest.providers.iter().filter_map(|(_, provider)| match provider {
        Provider::Host(host) => Some(host),
        Provider::Command(_) => None,
    });
    let host = hosts.into_iter().next().unwrap();
    assert_eq!((host.processes, host.jobs_per_process, host.start_within), (None, 10_000, Duration::from_secs(10)));
    assert_eq!(host.terms, Terms { time_limit: None, stop_grace: Duration::from_secs(5) });
    assert_eq!(manifest.named, BTreeSet::new(), "names without a slash are no files of the folder");
    assert_eq!(manifest.python.unwrap().said, Some(ClassFiles::default()));
    assert_eq!(parsed("[python]\n").wrong, []);
}

/// What is replaced by what, in which line that is wrong, and what is said of it.
type Row = (&'static str, &'static str, usize, &'static str);

const ACTION: &str = "[[action]]\nname = \"a\"\ncommand = [\"./a\"]\n";
const ACTIONS: &[Row] = &[
    ("name = \"a\"\n", "", 1, "`name` is missing, write `name = \"backup\"`"),
    ("command = [\"./a\"]\n", "", 1, "`command` is missing, write `command = [\"./program\"]`"),
    ("[\"./a\"]", "\"./a --full\"", 3, "`command`: no shell reads it, write a list"),
    ("[\"./a\"]", "[]", 3, "`command`: it names no program"),
    ("[\"./a\"]", "[\"\"]", 3, "`command`: it names no program"),
    ("[\"./a\"]", "[7]", 3, "`command`: expected a text in quotes, not 7"),
    ("[\"./a\"]", "[\"a\\u0000\"]", 3, "`command`: no program takes a NUL character"),
    ("\"a\"", "\"two words\"", 2, "`name`: `two words` is not the name of an action"),
    ("\"a\"", "\"\"", 2, "`name`: `` is not the name of an action"),
    ("\"a\"", "\"a\"\ncomand = []", 3, "unknown key `comand`, expected one of name, command, time-limit"),
    ("\"a\"", "\"a\"\nprocesses = 2", 3, "unknown key `processes`"),
    ("\"a\"", "\"a\"\ntime-limit = \"2 hrz\"", 3, "`time-limit`: `2 hrz` is not a duration (it is not made"),
    ("\"a\"", "\"a\"\ntime-limit = \"-2 h\"", 3, "`-2 h` is not a duration (it is negative)"),
    ("\"a\"", "\"a\"\ntime-limit = \"1 month\"", 3, "months and years differ in length"),
    ("\"a\"", "\"a\"\ntime-limit = \"400 d\"", 3, "it is longer than a year"),
    ("\"a\"", "\"a\"\ntime-limit = \"0 s\"", 3, "nothing ends in no time"),
    ("\"a\"", "\"a\"\nstop-grace = 30", 3, "`stop-grace`: 30 is not a duration, write it like \"30 s\""),
    ("\"a\"", "\"a\"\nmemory = \"1 GB\"", 3, "`memory`: `1 GB` is not a size, write a whole number of KiB"),
    ("\"a\"", "\"a\"\nmemory = \"GiB\"", 3, "`GiB` is not a size"),
    ("\"a\"", "\"a\"\nmemory = 1024", 3, "1024 is not a size"),
    ("\"a\"", "\"a\"\nmemory = \"99999999999 TiB\"", 3, "is not a size"),
    ("\"a\"", "\"a\"\nmemory = \"4 KiB\"", 3, "`4 KiB` is less than any program needs"),
    ("\"a\"", "\"a\"\ncpu-time = true", 3, "`cpu-time`: true is not a duration"),
    ("\"a\"", "\"a\"\nopen-files = 3", 3, "`open-files`: 3 is not a whole number from 16 to 1048576"),
    ("\"a\"", "\"a\"\nopen-files = -1", 3, "-1 is not a whole number"),
    ("\"a\"", "\"a\"\nenv = [\"A\"]", 3, "`env`: expected a table such as { LANG = \"C\" }, not a list"),
    ("\"a\"", "\"a\"\nenv.A = 1", 3, "`env`: `A`: expected a text in quotes, not 1"),
    ("\"a\"", "\"a\"\nenv = { \"A=B\" = \"\" }", 3, "`A=B` is not the name of a variable"),
    ("\"a\"", "\"a\"\nenv.SLIPSTREAM_PASS = \"\"", 3, "only the executor itself sets such variables"),
    ("\"a\"", "\"a\"\npass-env = [\"SLIPSTREAM_PASS\"]", 3, "may hold the executor's own login"),
    ("\"a\"", "\"a\"\npass-env = [\"CREDENTIALS_DIRECTORY\"]", 3, "may hold the executor's own login"),
    ("\"a\"", "\"a\"\npass-env = \"A\"", 3, "`pass-env`: expected a list of texts, not \"A\""),
    ("[[action]]", "[action]", 1, "write `[[action]]`, in two brackets"),
    ("[[action]]", "[[actions]]", 1, "unknown key `actions`, expected `[[action]]`, `[[host]]` or `[python]`"),
    ("\"a\"", "\"a", 2, "invalid basic string"),
    ("\"a\"", "\"a\"\nname = \"b\"", 3, "duplicate key"),
];

const HOST: &str = "[[host]]\ncommand = [\"./a\"]\n";
const HOSTS: &[Row] = &[
    ("[[host]]", "[[host]]\nname = \"a\"", 2, "unknown key `name`"),
    ("[[host]]", "[[host]]\nprocesses = 0", 2, "`processes`: 0 is not a whole number from 1 to 10000"),
    ("[[host]]", "[[host]]\nprocesses = 1.5", 2, "1.5 is not a whole number"),
    ("[[host]]", "[[host]]\njobs-per-process = \"1\"", 2, "\"1\" is not a whole number from 1 to"),
    ("[[host]]", "[[host]]\nactions = 7", 2, "`actions` is not a table"),
    ("[[host]]", "[[host]]\nactions.a = 7", 2, "write `actions.a.time-limit = \"5 min\"`"),
    (
        "[[host]]",
        "[[host]]\nactions.a.memory = \"1 GiB\"",
        2,
        "unknown key `memory`, expected one of time-limit, stop-grace",
    ),
    ("[[host]]", "[[host]]\nactions.a.python3 = true", 2, "unknown key `python3`"),
    ("[[host]]", "[[host]]\nactions.\"a b\".time-limit = \"1 s\"", 2, "`a b` is not the name of an action"),
    ("[[host]]", "[[python]]", 1, "write `[python]`, in one bracket, once"),
    (HOST, "host = [1]", 1, "write `[[host]]` above its keys"),
    (HOST, "[python]\ndialect = \"german\"", 2, "`dialect`: `german` is neither \"slipstream\" nor \"nuvla\""),
    (HOST, "[python]\ninterpreter = 3", 2, "`interpreter`: expected a text in quotes, not 3"),
    (HOST, "[python]\nactions.a.python3 = 1", 2, "`python3`: expected true or false, not 1"),
    (HOST, "[python]\ncommand = []", 2, "unknown key `command`, expected one of interpreter, dialect"),
];

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let rows = ACTIONS.iter().map(|row| (ACTION, row)).chain(HOSTS.iter().map(|row| (HOST, row)));
    for (whole, (right, wrong, line, expected)) in rows {
        let manifest = parsed(&whole.replacen(right, wrong, 1));
        let found = &manifest.wrong;
        assert!(
            found.iter().any(|(at, it)| at == line && it.contains(expected)),
            "{wrong}: {line} {expected}: {found:?}"
        );
        assert!(manifest.started.iter().all(|started| started.provider.is_none()), "{wrong}");
        assert_eq!(manifest.providers, [], "{wrong}: what is wrong is not run");
        assert_eq!(manifest.python.and_then(|python| python.said), None, "{wrong}");
    }
}

#[test]
fn all_is_told_at_once_and_the_rest_is_read() {
    let text = "[[action]]\nname = \"a b\"\ncommand = [\"./a\"]\nmemry = 1\ntime-limit = \"x\"\n\
                [[action]]\nname = \"good\"\ncommand = [\"./good\"]\n\n[python]\ndialect = 1\n";
    let manifest = parsed(text);
    let lines: Vec<usize> = manifest.wrong.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 4, 5, 11]);
    assert!(
        matches!(&manifest.providers[..], [(6, Provider::Command(CommandProvider { name, .. }))] if name == "good")
    );
    assert_eq!(manifest.python, Some(Python { line: 10, interpreter: None, said: None }));
    let named: Vec<_> = manifest.named.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(named, ["a", "good"], "what is wrong here runs in no other way either");
}

#[test]
fn each_part_of_a_key_that_is_wrong_is_told_with_its_line() {
    let text = "[[action]]\nname = \"a\"\ncommand = [\n  \"./a\",\n  7,\n  \"x\\u0000\",\n]\n\
                pass-env = [\n  \"A=B\",\n  \"HOME\",\n  \"SLIPSTREAM_PASS\",\n]\n\
                [action.env]\nA = 1\nSLIPSTREAM_URL = \"\"\nLANG = \"C\"\nB = true\n";
    let manifest = parsed(text);
    let told: Vec<(usize, &str)> = manifest.wrong.iter().map(|(line, wrong)| (*line, &**wrong)).collect();
    let expected = [
        (5, "`command`: expected a text in quotes, not 7"),
        (6, "`command`: no program takes a NUL character"),
        (9, "`pass-env`: `A=B` is not the name of a variable"),
        (11, "`pass-env`: `SLIPSTREAM_PASS` may hold the executor's own login, and is passed to no program"),
        (14, "`env`: `A`: expected a text in quotes, not 1"),
        (15, "`env`: `SLIPSTREAM_URL`: only the executor itself sets such variables"),
        (17, "`env`: `B`: expected a text in quotes, not true"),
    ];
    assert_eq!(told, expected);
    assert_eq!((manifest.claimed, manifest.started), (vec![(1, "a".to_owned())], Vec::new()));
}

#[test]
fn what_says_nothing_is_told() {
    for empty in ["", "\n# later\n"] {
        let told = parsed(empty).wrong;
        assert_eq!(told, [(1, "it says nothing, write `[[action]]`, `[[host]]` or `[python]`".to_owned())]);
    }
    let broken = parsed("= 1").wrong;
    assert!(!broken.is_empty() && broken.iter().all(|(_, wrong)| !wrong.contains("says nothing")), "{broken:?}");
}

#[test]
fn of_what_is_no_toml_nothing_is_run_and_its_programs_are_known() {
    let manifest = parsed(&format!("{WHOLE}\nx = = 1\n"));
    assert_eq!((manifest.wrong[0].0, &manifest.providers[..]), (33, &[][..]));
    assert_eq!(manifest.named.len(), 3);
    assert_eq!(manifest.python.unwrap().said, None);
}

/// The reference of all keys.
#[test]
fn the_example_of_the_documentation_is_right_and_has_every_key() {
    const PAGE: &str = include_str!("../../../../../../docs/operations.md");
    let (_, section) = PAGE.split_once("### Manifests\n").unwrap();
    let example = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let manifest = parsed(example);
    assert_eq!(manifest.wrong, []);
    assert_eq!(manifest.providers.len(), 2);
    assert!(manifest.python.unwrap().said.is_some());
    // a key that there is not names all that there are
    for table in ["[[action]]", "[[host]]", "[python]"] {
        let known = parsed(&format!("{table}\nname = \"a\"\ncommand = [\"a\"]\nno-such-key = 1"));
        let (_, known) = known.wrong.iter().find(|(_, wrong)| wrong.contains("no-such-key")).unwrap();
        for key in known.split_once("one of ").unwrap().1.split(", ") {
            assert!(example.contains(&format!("{key} =")) || example.contains(&format!("{key}.")), "{table} {key}");
        }
    }
}

proptest! {
    /// Whatever is written, it is read or refused with a line of the text.
    #[test]
    fn no_text_is_too_much(text in any::<String>(), places in prop::collection::vec((0..WHOLE.len(), any::<char>()), 0..8)) {
        let mut changed: Vec<char> = WHOLE.chars().collect();
        for (place, sign) in places {
            let place = place.min(changed.len() - 1);
            changed[place] = sign;
        }
        for text in [text, changed.into_iter().collect()] {
            let lines = text.matches('\n').count() + 1;
            let manifest = parsed(&text);
            let told = manifest.wrong.iter().all(|(line, wrong)| (1..=lines).contains(line) && !wrong.is_empty());
            prop_assert!(told, "{:?}", manifest.wrong);
        }
    }

    #[test]
    fn no_value_is_too_much(value in "[-0-9a-zA-Z\"'{}\\[\\]=., _:\n]{0,60}") {
        for key in ["name", "command", "time-limit", "memory", "open-files", "env", "actions", "processes"] {
            for table in ["[[action]]", "[[host]]", "[python]"] {
                parsed(&format!("{table}\n{key} = {value}"));
            }
        }
    }
}
