//! Every page of an engine at work, in a browser. Pictures go to `target/screenshots`, for people to look at.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{PASSWORD, Up, program};

/// An engine of this data directory, whose executor has some actions and whose jobs of others wait.
fn engine(folder: &Path, listen: &str) -> Up {
    let mut command = program();
    command.env("SLIPSTREAM_SUPER_PASSWORD", PASSWORD).args(["up", "--listen", listen, "--data-dir"]).arg(folder);
    command.args(["--unknown-action", "release", "--threads", "5", "--admin-listen", "none"]);
    Up::spawn(command)
}

/// The fault: the server is killed under an open page, and comes back.
#[test]
fn every_page_of_an_engine_at_work_is_looked_at_and_lives_through_a_restart() {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names the Python with Playwright: run the tests by `cargo xtask test`");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = here.join("tests/python");
    let folder = tempfile::tempdir().expect("a folder");
    let write = "import sys, engine_at_work; engine_at_work.write(sys.argv[1])";
    let written = Command::new(&python).current_dir(&scripts).args(["-c", write]).arg(folder.path()).status();
    assert!(written.expect("Python starts").success());
    let mut up = Some(engine(folder.path(), "127.0.0.1:0"));
    let endpoint = up.as_ref().map(|up| up.endpoint.clone()).expect("it has just been started");
    let listen = endpoint.trim_start_matches("http://").to_owned();
    let mut command = Command::new(python);
    command.arg(scripts.join("dashboard_pages.py")).args([&endpoint, PASSWORD]);
    command.arg(here.join("../../target/screenshots")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = command.spawn().expect("the script starts");
    let mut told = script.stdin.take().expect("its input is a pipe");
    let mut held = Vec::new();
    for line in BufReader::new(script.stdout.take().expect("its output is a pipe")).lines() {
        match line.expect("text").as_str() {
            "stop the engine" => up.take().expect("it runs").kill(),
            "start the engine" => up = Some(engine(folder.path(), &listen)),
            other => {
                held.push(other.to_owned());
                continue;
            }
        }
        writeln!(told, "done").expect("the script waits for that");
    }
    assert!(script.wait().expect("it is ours").success(), "{held:?}");
    let cases =
        ["looks", "picture_of_the_readme", "three_questions_take_few_page_loads", "server_restarts_under_an_open_page"];
    assert_eq!(held, cases.map(|case| format!("ok {case}")));
}
