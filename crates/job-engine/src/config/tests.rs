use std::time::Duration;

use super::*;
use crate::distributor::fan_out::{FanOut, JobTemplate};
use crate::distributor::rounds::Missed;
use crate::distributor::schedule::Schedule;
use crate::distributor::template::{Template, TextTemplate};

const ONE: &str = "[[distributor]]\nname = \"one\"\naction = \"count\"\nevery = \"1 h\"\n";

fn parsed(text: &str) -> Vec<Configured> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.toml");
    std::fs::write(&path, text).unwrap();
    let (config, faults) = Config::read(&Files::named(&path));
    assert_eq!(faults, []);
    config.distributors
}

/// Loaded from a file; answers the messages without the file's name.
fn refusals(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.toml");
    std::fs::write(&path, text).unwrap();
    let (_, faults) = Config::read(&Files::named(&path));
    let name = format!("{}:", path.display());
    faults.iter().map(|fault| fault.to_string().strip_prefix(&name).unwrap().to_owned()).collect()
}

fn refusal(text: &str) -> String {
    let refused = refusals(text);
    assert_eq!(refused.len(), 1, "{refused:?}");
    refused[0].clone()
}

/// Specification 9.6, the first two rows.
#[test]
fn the_built_in_distributors_are_the_two_of_the_original() {
    let expected = |name: &str, action: &str, target: &str, seconds| Configured {
        name: name.to_owned(),
        election: action.to_owned(),
        job: JobTemplate {
            action: action.to_owned(),
            target: Some(TextTemplate::parse(target).unwrap()),
            ..JobTemplate::default()
        },
        for_each: None,
        schedule: Schedule::Every(Duration::from_secs(seconds)),
        missed: Missed::Coalesce,
    };
    let built_in = [
        expected("dummy_test_action", "dummy_test_action", "dummy", 15),
        expected("jobs_cleanup", "cleanup_jobs", "job", 86_400),
    ];
    assert_eq!(Config::default().distributors, built_in);
    assert_eq!(parsed(""), built_in, "an empty file changes nothing");
}

/// What is commented out is right, too, once `every` is taken away.
#[test]
fn the_examples_in_the_comments_can_be_used() {
    let keys = ["priority", "cron", "time-zone", "missed", "election"];
    let line_of = |line: &str| {
        let example =
            line.strip_prefix("# ").filter(|rest| keys.iter().any(|key| rest.starts_with(&format!("{key} ="))));
        example.or_else(|| (!line.starts_with("every = \"15s\"")).then_some(line)).map(str::to_owned)
    };
    let text: Vec<String> = DEFAULT_CONFIG.lines().filter_map(line_of).collect();
    let distributors = parsed(&text.join("\n"));
    let dummy = distributors.iter().find(|one| one.name == "dummy_test_action").unwrap();
    assert_eq!(dummy.schedule, Schedule::cron("0 3 * * *", "Europe/Zurich").unwrap());
    assert_eq!(dummy.job.priority, Some(999));
}

#[test]
fn a_written_distributor_comes_beside_the_built_in_ones() {
    let text = "[[distributor]]\nname = \"night\"\naction = \"count\"\ntarget = \"user/joe\"\npriority = 0\n\
                election = \"other\"\ncron = \"0 3 * * *\"\ntime-zone = \"Europe/Zurich\"\nmissed = \"catch-up\"\n";
    let distributors = parsed(text);
    assert_eq!(distributors.len(), 3);
    let expected = Configured {
        name: "night".to_owned(),
        election: "other".to_owned(),
        job: JobTemplate {
            action: "count".to_owned(),
            target: Some(TextTemplate::parse("user/joe").unwrap()),
            priority: Some(0),
            ..JobTemplate::default()
        },
        for_each: None,
        schedule: Schedule::cron("0 3 * * *", "Europe/Zurich").unwrap(),
        missed: Missed::CatchUp { limit: 1000 },
    };
    assert_eq!(distributors[2], expected);
    let utc = parsed(&text.replace("time-zone = \"Europe/Zurich\"\n", "").replace("catch-up", "skip"));
    assert_eq!(utc[2].schedule, Schedule::cron("0 3 * * *", "UTC").unwrap());
    assert_eq!(utc[2].missed, Missed::Skip);
}

#[test]
fn a_built_in_name_replaces_the_built_in_one() {
    let text = ONE.replace("\"one\"", "\"jobs_cleanup\"").replace("\"count\"", "\"cleanup_jobs\"");
    let distributors = parsed(&text);
    assert_eq!(distributors.len(), 2);
    let replaced = distributors.iter().find(|one| one.name == "jobs_cleanup").unwrap();
    assert_eq!((replaced.job.target.as_ref(), &replaced.schedule), (None, &Schedule::Every(Duration::from_hours(1))));
}

#[test]
fn intervals_are_written_as_people_do() {
    let rows =
        [("15s", 15), ("1 day", 86_400), ("10 min", 600), ("1 h 30 min", 5400), ("1 week", 604_800), ("PT1M", 60)];
    for (text, seconds) in rows {
        let schedule = parsed(&ONE.replace("1 h", text))[2].schedule.clone();
        assert_eq!(schedule, Schedule::Every(Duration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let rows = [
        // what to put in place of what, line, part of the message
        ("name = \"one\"", "name = \"One\"", 2, "`One` is not a name, use up to 100 lower-case letters"),
        ("name = \"one\"", "name = \"\"", 2, "`` is not a name"),
        ("name = \"one\"", "name = \"a/b\"", 2, "`a/b` is not a name"),
        ("name = \"one\"\n", "", 1, "missing field `name`"),
        ("action = \"count\"\n", "", 1, "missing field `action`"),
        ("every = \"1 h\"", "target = \"Bad.Target\"\nevery = \"1 h\"", 4, "`Bad.Target` is not the id of a resource"),
        ("action = \"count\"", "action = \"two words\"", 3, "invalid `two words`"),
        ("action = \"count\"", "action = 7", 3, "invalid type: integer `7`"),
        ("every = \"1 h\"", "evry = \"1 h\"", 4, "unknown field `evry`, expected one of `name`"),
        ("every = \"1 h\"", "every = \"0.5s\"", 4, "shorter than a second"),
        ("every = \"1 h\"", "every = \"-1 h\"", 4, "negative"),
        (
            "every = \"1 h\"",
            "every = \"1 month\"",
            4,
            "`1 month` is not an interval, because months and years differ in length: write it in days, or as `cron`",
        ),
        ("every = \"1 h\"", "every = \"1 year 3 h\"", 4, "months and years differ in length"),
        ("every = \"1 h\"", "every = \"5300 weeks\"", 4, "longer than a hundred years"),
        ("every = \"1 h\"", "every = \"999999999999 h\"", 4, "is not an interval ("),
        ("every = \"1 h\"", "cron = \"*/90 * * * *\"", 1, "`*/90` in `*/90 * * * *` steps further than its field goes"),
        ("every = \"1 h\"", "every = \"often\"", 4, "write it like \"15s\" or \"1 day\""),
        ("every = \"1 h\"\n", "", 1, "it has no schedule"),
        ("every = \"1 h\"", "every = \"1 h\"\ncron = \"0 3 * * *\"", 1, "`every` and `cron` exclude each other"),
        ("every = \"1 h\"", "every = \"1 h\"\ntime-zone = \"UTC\"", 1, "`time-zone` goes with `cron` only"),
        ("every = \"1 h\"", "cron = \"61 * * * *\"", 1, "`61 * * * *` is not a cron expression"),
        ("every = \"1 h\"", "cron = \"0 0 30 2 *\"", 1, "`0 0 30 2 *` never comes"),
        ("every = \"1 h\"", "cron = \"0 3 * * *\"\ntime-zone = \"Mars\"", 1, "the time zone `Mars` is not known"),
        ("every = \"1 h\"", "every = \"1 h\"\npriority = 1000", 5, "1000 is not a priority, use 0 (first) to 999"),
        ("every = \"1 h\"", "every = \"1 h\"\npriority = -1", 5, "-1 is not a priority"),
        (
            "every = \"1 h\"",
            "every = \"1 h\"\nmissed = \"never\"",
            5,
            "unknown variant `never`, expected one of `skip`",
        ),
        (
            "[[distributor]]",
            "[[distributer]]",
            1,
            "unknown table `distributer`, expected `[[distributor]]` or one of [server]",
        ),
        ("every = \"1 h\"", "every = \"1 h", 4, ""),
    ];
    for (right, wrong, line, expected) in rows {
        let refused = refusals(&ONE.replace(right, wrong));
        let is_expected = |message: &String| message.starts_with(&format!("{line}: ")) && message.contains(expected);
        assert!(refused.iter().any(is_expected), "{wrong}: {refused:?}");
    }
}

#[test]
fn names_and_elections_are_not_shared() {
    let again = refusal(&format!("{ONE}{}", ONE.replace("count", "other")));
    assert_eq!(again, "5: there are two distributors `one`, rename one");
    let election = refusal(&format!("{ONE}{}", ONE.replace("one", "two")));
    assert!(election.starts_with("5: `two` and `one` share the election `count`"), "{election}");
    let built_in = refusal(&ONE.replace("count", "cleanup_jobs"));
    assert!(built_in.starts_with("1: `one` shares the election of the built-in `jobs_cleanup`"), "{built_in}");
    let freed = ONE.replace("one", "jobs_cleanup");
    assert_eq!(
        parsed(&format!("{freed}{}", ONE.replace("count", "cleanup_jobs"))).len(),
        3,
        "the election is free now"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (_, faults) = Config::read(&Files::named(Path::new("/nowhere/engine.toml")));
    assert!(faults[0].to_string().contains("/nowhere/engine.toml"), "{faults:?}");
    assert_eq!(Config::read(&Files::usual(Path::new("/nowhere/engine.toml"))), (Config::default(), Vec::new()));
}

#[test]
fn a_file_of_another_encoding_says_so_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.toml");
    std::fs::write(&path, b"# one\n# gr\xfc\xdfe\n").unwrap();
    let (_, faults) = Config::read(&Files::named(&path));
    assert_eq!(faults[0].to_string(), format!("{}:2: not UTF-8: save the file as UTF-8", path.display()));
}

/// What cannot be looked at is not taken for what is not there.
#[test]
fn a_folder_that_cannot_be_looked_into_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (file, parts) = (folder.path().join("engine.toml"), folder.path().join("engine.d"));
    std::fs::write(&file, "[executor]\nthreads = 2\n").unwrap();
    std::fs::write(&parts, "").unwrap();
    for files in [Files::named(&file), Files::usual(&file)] {
        let (config, faults) = Config::read(&files);
        let told = format!("cannot look for configuration files in {}, check its permissions: ", parts.display());
        assert!(faults.len() == 1 && faults[0].to_string().starts_with(&told), "{faults:?}");
        assert_eq!(config.value("executor", "threads"), Some(&Value::Word("2".to_owned())));
    }
}
