//! `docs/tutorial-first-action.md`: every command of the page, in its order, and what it says that one sees.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::support::{eventually, program};

const PAGE: &str = include_str!("../../../../docs/tutorial-first-action.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// What stands for an id, a time, or anything else that differs.
const ANYTHING: &str = "…";
/// The one command of the first terminal.
const UP: &str = "slipstream-job up";
/// The project in Rust that the page makes.
const PROJECT: &str = "tutorial/actions/greet_rust-project";
/// What a block may take: building the project takes longest.
const LONGEST: &str = "1200";

/// Commands, and what the page shows of their output.
struct Step {
    commands: String,
    shown: Vec<String>,
}

#[tokio::test]
async fn whoever_types_what_the_page_says_sees_what_it_shows() {
    for tool in ["node", "cargo", "python3"] {
        let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
        assert!(found, "the tutorial needs {tool}: install it, or let `cargo xtask test` do so");
    }
    let steps = steps(PAGE);
    assert_eq!(steps.iter().filter(|step| step.commands == UP).count(), 2, "started, and started again");
    assert!(steps.iter().filter(|step| !step.shown.is_empty()).count() >= 9, "the page shows what one sees");
    let mut reader = Reader::new(&steps[0].commands);
    for step in &steps {
        reader.follow(step).await;
    }
}

#[test]
fn what_is_shown_must_be_seen_in_its_order() {
    let shown = ["job/…", "DONE … well"].map(str::to_owned);
    assert_eq!(missing(&shown, "new\njob/12\n  DONE very well.\n"), None);
    assert_eq!(missing(&shown, "DONE very well\njob/12\n"), Some("DONE … well"));
    assert_eq!(missing(&shown, "job/12\nwell DONE\n"), Some("DONE … well"));
}

/// Who follows the page: a home, and the engine in the first terminal.
struct Reader {
    home: tempfile::TempDir,
    /// What both terminals are told first.
    both: String,
    engine: Option<Child>,
}

impl Reader {
    fn new(both: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(ROOT, home.path().join("slipstream-job")).expect("the repository's place");
        // built once for all runs, with the versions of the workspace
        let (project, built) = (home.path().join(PROJECT), Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial"));
        fs::create_dir_all(&project).expect("a folder");
        fs::create_dir_all(&built).expect("a folder");
        std::os::unix::fs::symlink(built, project.join("target")).expect("a link");
        fs::copy(Path::new(ROOT).join("Cargo.lock"), project.join("Cargo.lock")).expect("the lock file");
        Self { home, both: both.to_owned(), engine: None }
    }

    async fn follow(&mut self, step: &Step) {
        let Step { commands, shown } = step;
        if commands == UP {
            return self.start(shown).await;
        }
        // what changes by itself is asked for until it shows
        let is_watched = commands.starts_with("slipstream-job jobs");
        eventually(commands, async || {
            let (output, succeeded) = self.run(commands);
            let missing = missing(shown, &output);
            if is_watched && missing.is_some() {
                return None;
            }
            assert!(succeeded && missing.is_none(), "{commands}\nmissing: {missing:?}\n{output}");
            Some(())
        })
        .await;
    }

    /// Types the commands into the second terminal; answers what is seen, and whether all is well.
    fn run(&self, commands: &str) -> (String, bool) {
        let both = &self.both;
        let mut shell = self.terminal("timeout");
        shell.args([LONGEST, "sh", "-ec", &format!("exec 2>&1\n{both}\n{commands}")]);
        let output = shell.output().expect("a shell");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    /// Ctrl-C in the first terminal, if the engine runs there, and a new start.
    async fn start(&mut self, shown: &[String]) {
        self.stop().await;
        let seen = self.home.path().join("seen");
        let file = File::create(&seen).expect("a file");
        let mut shell = self.terminal("sh");
        shell.args(["-ec", &format!("{}\nexec {UP}", self.both)]);
        shell.stdout(file.try_clone().expect("a file")).stderr(file);
        self.engine = Some(shell.spawn().expect("a shell"));
        eventually("the engine is up", async || {
            missing(shown, &fs::read_to_string(&seen).expect("text")).is_none().then_some(())
        })
        .await;
    }

    async fn stop(&mut self) {
        let Some(mut engine) = self.engine.take() else { return };
        let told = Command::new("kill").args(["-INT", &engine.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        eventually("the engine ends", async || engine.try_wait().expect("it is ours")).await;
    }

    fn terminal(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SLIPSTREAM_")) {
            command.env_remove(name);
        }
        let of_user = |variable: &str, folder: &str| {
            std::env::var_os(variable)
                .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(folder), PathBuf::from)
        };
        let binary = PathBuf::from(program().get_program());
        let before = std::env::var("PATH").expect("a path");
        let path = format!("{}:{before}", binary.parent().expect("a folder").display());
        command.env_remove("CARGO_TARGET_DIR").env("CARGO_NET_OFFLINE", "true");
        command.env("CARGO_HOME", of_user("CARGO_HOME", ".cargo"));
        command.env("RUSTUP_HOME", of_user("RUSTUP_HOME", ".rustup"));
        command.env("PATH", path).env("HOME", self.home.path()).env("SLIPSTREAM_LISTEN", "127.0.0.1:0");
        command.current_dir(self.home.path());
        command
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.kill().expect("it is there");
            engine.wait().expect("it is ours");
        }
    }
}

/// The blocks of commands of a page, each with the block of text that follows it.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<String> = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
        match language {
            "sh" => steps.push(Step { commands: block.join("\n"), shown: Vec::new() }),
            "text" => steps.last_mut().expect("commands come first").shown = block,
            other => panic!("the page has a block of {other:?}, which nobody types"),
        }
    }
    steps
}

/// The first line that should be seen and is not, where it should be.
fn missing<'a>(shown: &'a [String], seen: &str) -> Option<&'a str> {
    let mut seen = seen.lines();
    shown.iter().map(|line| line.trim()).find(|expected| !seen.any(|line| has(line, expected)))
}

/// Whether the parts of `expected` come one after the other in a line.
fn has(mut line: &str, expected: &str) -> bool {
    expected.split(ANYTHING).map(str::trim).all(|part| match line.find(part) {
        Some(start) => {
            line = &line[start + part.len()..];
            true
        }
        None => false,
    })
}
