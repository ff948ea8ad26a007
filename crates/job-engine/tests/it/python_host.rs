//! The Python host, `python/slipstream_host`, by its own tests: on the oldest and the newest Python, each by itself and with
//! the real clients. `cargo xtask test` makes these environments and names their folder.

use std::path::Path;
use std::process::Command;

/// What depends on which packages are installed.
const OF_CLIENTS: [&str; 4] = ["test_names", "test_nuvla", "test_scripts", "test_slipstream"];
/// What does not.
const OTHERS: [&str; 2] = ["test_loading", "test_process"];

#[test]
fn it_works_on_the_oldest_python() {
    run("oldest", [&OF_CLIENTS[..], &OTHERS].concat());
}

#[test]
fn it_works_on_the_newest_python() {
    run("newest", [&OF_CLIENTS[..], &OTHERS].concat());
}

#[test]
fn it_works_with_the_real_clients_on_the_oldest_python() {
    run("oldest-real", OF_CLIENTS.to_vec());
}

#[test]
fn it_works_with_the_real_clients_on_the_newest_python() {
    run("newest-real", OF_CLIENTS.to_vec());
}

/// Each file of tests runs in one of the lists.
#[test]
fn no_test_of_it_is_forgotten() {
    let files = std::fs::read_dir(tests()).expect("the tests are there");
    let mut found: Vec<String> = files
        .map(|file| file.expect("readable").file_name().into_string().expect("a text"))
        .filter_map(|file| Some(file.strip_suffix(".py")?.to_owned()))
        .filter(|file| file.starts_with("test_"))
        .collect();
    found.sort();
    let mut listed = [&OF_CLIENTS[..], &OTHERS].concat();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

/// Runs these tests in the environment of that name.
fn run(environment: &str, tests_to_run: Vec<&str>) {
    let folder = std::env::var("SLIPSTREAM_TEST_PYTHONS")
        .expect("SLIPSTREAM_TEST_PYTHONS names the folder of Pythons: run the tests by `cargo xtask test`");
    let folder = Path::new(&folder).join(environment);
    let real = std::fs::read_to_string(folder.join("real")).expect("the environment says what is installed in it");
    let count = tests_to_run.len();
    let output = Command::new(folder.join("bin/python"))
        .args(["-B", "-m", "unittest"])
        .args(tests_to_run)
        .current_dir(tests())
        .env("SLIPSTREAM_TEST_PACKAGES", real)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{environment}:\n{said}");
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<usize>().ok());
    assert!(ran.is_some_and(|ran| ran > 10 * count), "{environment}: too few tests\n{said}");
}

fn tests() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/tests")
}
