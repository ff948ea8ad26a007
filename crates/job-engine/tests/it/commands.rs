//! The commands about jobs, as the binary prints them: text, JSON, exit codes and errors. What the others have in
//! common is here, too.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{PASSWORD, Up, eventually, program};

/// How long the job runs that holds up the others, in seconds; the demonstration's action takes 3 to 30.
const LONG: f64 = 20.0;

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub said: String,
    pub complained: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("ended by itself");
        Self { code, said: text(&output.stdout), complained: text(&output.stderr) }
    }

    /// What it said, having done what it was asked for and without a complaint.
    pub fn good(self) -> String {
        assert_eq!((self.code, self.complained.as_str()), (0, ""), "{}", self.said);
        self.said
    }

    /// The JSON that it said.
    pub fn json(self) -> Value {
        let said = self.good();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// What it complained of, having done nothing.
    pub fn failed(self) -> String {
        assert_eq!((self.code, self.said.as_str()), (2, ""), "{}", self.complained);
        self.complained
    }
}

/// A command beside a running engine.
pub fn command(up: &Up, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env("SLIPSTREAM_URL", &up.endpoint).env("SLIPSTREAM_PASS", PASSWORD);
    command.stdin(Stdio::null());
    command
}

pub fn run(up: &Up, arguments: &[&str]) -> Ran {
    Ran::of(&command(up, arguments).output().expect("the binary starts"))
}

/// Compares line by line and word by word; `*` stands for any one word, `**` for all that follow on the line.
#[track_caller]
pub fn assert_lines(text: &str, expected: &[&str]) {
    let lines: Vec<&str> = text.lines().collect();
    let fits = |line: &str, expected: &str| {
        let mut words = line.split_whitespace();
        for pattern in expected.split_whitespace() {
            match (pattern, words.next()) {
                ("**", _) => return true,
                ("*", Some(_)) => {}
                (pattern, word) if Some(pattern) == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    };
    let all_fit = lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, one)| fits(line, one));
    assert!(all_fit, "\n{text}\nis not\n{}", expected.join("\n"));
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text:?}");
}

/// An engine with one slot, which a job has for as long as a test needs it, and what waits behind it.
pub struct Busy {
    pub up: Up,
    pub running: String,
    pub waiting: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Busy {
    /// The running job takes [`LONG`] at least.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let up = Up::start(folder.path(), &["--threads", "1", "--distributors", "jobs_cleanup"]);
        let submit = |arguments: &[&str]| run(&up, &[&["submit"], arguments].concat()).good().trim().to_owned();
        let client = up.client();
        let running = loop {
            let id = submit(&["dummy_test_action", "--target", "credential/abc", "--priority", "1"]);
            let seconds = eventually("it says how long it takes", async || {
                let job = client.get(&id).await.ok()?;
                let words: Vec<&str> = job.get("statusMessage")?.as_str()?.split(' ').collect();
                words.get(3)?.parse::<f64>().ok()
            });
            if seconds.await >= LONG {
                break id;
            }
            run(&up, &["jobs", "delete", &id]).good();
        };
        let waiting = vec![submit(&["noop", "--priority", "7"]), submit(&["noop"]), submit(&["noop"])];
        Self { up, running, waiting, _folder: folder }
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.up, arguments)
    }
}

#[tokio::test]
async fn submit_prints_the_id_and_with_wait_how_the_job_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let id = run(&up, &["submit", "noop"]).good();
    assert_lines(&id, &["*"]);
    assert!(id.starts_with("job/"), "{id}");
    let done = run(&up, &["submit", "noop", "--wait"]);
    assert_eq!(done.code, 0);
    assert_lines(&done.said, &["*"]);
    assert!(done.complained.lines().last().is_some_and(|line| line.starts_with("SUCCESS")), "{}", done.complained);
    let failed = run(&up, &["submit", "no_such_action", "--wait"]);
    assert_eq!(failed.code, 1);
    assert_eq!(
        failed.complained.lines().last(),
        Some(&*format!("{} FAILED: Not implemented action: no_such_action", failed.said.trim()))
    );
    let failed = run(&up, &["submit", "no_such_action", "--wait", "--json"]);
    let document: Value = serde_json::from_str(&failed.said).expect("JSON");
    assert_eq!((failed.code, &document["state"]), (1, &Value::from("FAILED")));
    let keyed = run(&up, &["submit", "noop", "--key", "once", "--json"]).json();
    assert!(keyed["id"].as_str().expect("text").starts_with("job/"), "{keyed}");
    let other = run(&up, &["submit", "dummy_test_action", "--key", "once"]).failed();
    assert!(other.contains("which has another action: nothing was added"), "{other}");
    for (wrong, expected) in [
        (&["submit"][..], "<ACTION>"),
        (&["submit", "noop", "--priority", "1000"], "1000 is not in 0..=999"),
        (&["submit", "noop", "--target", "a b"], "targetResource"),
    ] {
        let complained = run(&up, wrong).failed();
        assert!(complained.starts_with("error: ") && complained.contains(expected), "{wrong:?}: {complained}");
    }
}

#[tokio::test]
async fn jobs_are_listed_and_shown() {
    let busy = Busy::new().await;
    let short = |id: &str| id.trim_start_matches("job/").to_owned();
    let listed = busy.run(&["jobs", "list", "--order", "created"]).good();
    let row = |id: &str, rest: &str| format!("{} {rest}", short(id));
    let rows: Vec<String> = [row(&busy.running, "RUNNING * * dummy_test_action * credential/abc waited **")]
        .into_iter()
        .chain(busy.waiting.iter().map(|id| row(id, "QUEUED 0% * noop")))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    assert_lines(
        &listed,
        &[&["JOB STATE DONE AGE ACTION EXECUTOR TARGET MESSAGE"], &rows[..], &["4 of 4 jobs"]].concat(),
    );
    let documents =
        busy.run(&["jobs", "--filter", "state='QUEUED'", "--order", "created:desc", "--limit", "2", "--json"]);
    let documents = documents.json();
    let ids: Vec<&str> = documents.as_array().expect("an array").iter().filter_map(|job| job["id"].as_str()).collect();
    assert_eq!(ids, [&*busy.waiting[2], &*busy.waiting[1]]);
    assert_lines(&busy.run(&["jobs", "--filter", "state='STOPPED'"]).good(), &["no jobs"]);
    assert_eq!(busy.run(&["jobs", "--filter", "state='STOPPED'", "--json"]).json(), Value::Array(Vec::new()));
    let shown = busy.run(&["jobs", "show", &busy.waiting[0]]).good();
    let first: Vec<&str> = shown.lines().take(3).collect();
    assert_lines(&first.join("\n"), &[&busy.waiting[0], "action noop", "state QUEUED"]);
    assert!(shown.contains("\nledger\n  entry           /job/entries/entry-007-"), "{shown}");
    let document = busy.run(&["jobs", "show", &short(&busy.running), "--json"]).json();
    assert_eq!(
        (&document["id"], &document["ledger"]["attempts"][0]["lease"]["generation"]),
        (&busy.running.clone().into(), &1.into())
    );
    let beginning = &short(&busy.running)[..23];
    assert_eq!(busy.run(&["jobs", "show", beginning, "--json"]).json()["id"], busy.running, "by its beginning");
    let unknown = busy.run(&["jobs", "--filter", "state='WAITING'"]);
    assert_eq!((unknown.code, unknown.said.as_str()), (0, "no jobs\n"));
    assert!(unknown.complained.starts_with("hint: there is no state WAITING; the states are QUEUED,"), "a hint");
    let why = busy.run(&["jobs", "explain", &beginning[..8]]).good();
    assert!(why.starts_with(&busy.running), "{why}");
    for (wrong, expected) in [
        (&["jobs", "show", "0a"][..], "error: there is no job/0a\nhint: `slipstream-job jobs` lists"),
        (&["jobs", "show", "0 a"], "expected the id of a job"),
        (&["jobs", "--filter", "state="], "error: "),
        (&["jobs", "--filter", "state="], "^"),
        (&["jobs", "--limit", "10001"], "10001"),
    ] {
        let complained = busy.run(wrong).failed();
        assert!(complained.contains(expected), "{wrong:?}: {complained}");
    }
}

#[tokio::test]
async fn jobs_are_stopped_and_deleted_also_many_and_one_that_fails_holds_up_no_other() {
    let busy = Busy::new().await;
    let [first, second, third] = [0, 1, 2].map(|index| busy.waiting[index].as_str());
    let stopped = busy.run(&["jobs", "stop", first, "0a", second, &busy.running]);
    assert_eq!(stopped.code, 2);
    let expected = [first, second, &busy.running].map(|id| format!("{id} STOPPED"));
    assert_lines(&stopped.said, &expected.each_ref().map(String::as_str));
    assert_eq!(stopped.complained, "error: there is no job/0a\nhint: `slipstream-job jobs` lists all jobs\n");
    assert_lines(&busy.run(&["jobs", "stop", first]).good(), &[&format!("{first} STOPPED")]);
    let deleted = busy.run(&["jobs", "delete", third, first]).good();
    assert_lines(&deleted, &[&format!("{third} deleted"), &format!("{first} deleted")]);
    let gone = busy.run(&["jobs", "delete", third]).failed();
    assert!(gone.contains(&format!("there is no {third}")), "{gone}");
    let stopped = busy.run(&["jobs", "stop", "--json", second, "0a", &busy.running]);
    let lines: Vec<Value> = stopped.said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let state = |id: &str| json!({"id": id, "state": "STOPPED"});
    assert_eq!((stopped.code, lines), (2, vec![state(second), state(&busy.running)]));
    assert_eq!(busy.run(&["jobs", "delete", "--json", second]).json(), json!({"id": second}));
}

#[tokio::test]
async fn without_an_engine_or_rights_a_command_says_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    let nowhere = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("XDG_DATA_HOME", home.path()).env("HOME", home.path());
        Ran::of(&command.output().expect("the binary starts")).failed()
    };
    let commands: [&[&str]; 10] = [
        &["jobs"],
        &["jobs", "watch"],
        &["jobs", "watch", "0a"],
        &["jobs", "stop", "0a"],
        &["submit", "noop"],
        &["queue"],
        &["executors"],
        &["actions"],
        &["distributors"],
        &["users"],
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    for arguments in commands {
        let place = home.path().join("slipstream-job");
        let expected = format!("error: no engine is running in {}: start one", place.display());
        assert!(nowhere(arguments).starts_with(&expected), "{arguments:?}");
    }
    let wrong = run(&up, &["queue", "--ss-user", "jane", "--ss-pass", "wrong"]).failed();
    assert!(wrong.contains("invalid credentials for 'jane'") && wrong.contains("\nhint: check --ss-user"), "{wrong}");
    let file = folder.path().join("jane.password");
    std::fs::write(&file, "a secret of jane").expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(run(&up, &["users", "add", "jane", "--password-file", file]).good(), "user/jane added\n");
    for arguments in [["queue"], ["executors"], ["actions"], ["distributors"]] {
        let theirs = [&arguments[..], &["--ss-user", "jane", "--ss-pass", "a secret of jane"]].concat();
        let complained = run(&up, &theirs).failed();
        assert!(complained.contains("(status 403)\nhint: only administrators may do that"), "{complained}");
    }
}
