//! Rules over files of any kind.

use std::path::Path;

use super::source::{code_end, is_test};
use super::{File, Finding, folder, is_page};

/// What no file may hold, and what to do about it. Split, so that this file does not hold them either.
const BANNED: [(&str, &str); 2] =
    [(concat!("FIX", "ME"), "mend it, or file an issue"), (concat!("XX", "X"), "mend it, or file an issue")];

/// Here actions and scripts sleep, and are stopped while they do; the tests themselves wait for conditions.
const SLEEPERS: &str = "python/tests/";

/// Folders that exist on one developer's machine only.
const PRIVATE_FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];

/// Ways to sleep that need no paused clock to be wrong, in Rust and in Python, and the one that is right under it. What a test
/// in Rust holds in Python is a program that it starts, and may sleep.
const SLEEP_IN_RUST: &str = concat!("thread::", "sleep");
const SLEEP_IN_PYTHON: &str = concat!("time.", "sleep(");
const PAUSABLE_SLEEP: &str = concat!("time::", "sleep(");
const PAUSED: [&str; 2] = ["start_paused", "time::pause("];

/// Unfinished work and paths of somebody's machine.
pub fn banned(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (text, instead) in BANNED.iter().filter(|(text, _)| line.contains(text)) {
            findings.push(Finding::new(&file.path, index + 1, format!("{text}: {instead}")));
        }
        for folder in PRIVATE_FOLDERS.iter().filter(|folder| holds_path(line, folder)) {
            let what =
                format!("{folder}: a path of one machine; take it from the environment or from the project's root");
            findings.push(Finding::new(&file.path, index + 1, what));
        }
    }
    findings
}

/// Whether a path that begins with this folder stands in the line: not the middle of another one or of a URL.
fn holds_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + folder.len()..].chars().next();
        let begins = !before.is_some_and(|before| before.is_alphanumeric() || "._-/~}".contains(before));
        begins && after.is_some_and(char::is_alphanumeric)
    })
}

/// Tests wait for a condition with a limit; where tokio's clock is paused its sleep costs no time.
pub fn sleeps(files: &[File]) -> Vec<Finding> {
    let is_paused = |file: &File| PAUSED.iter().any(|text| file.text.contains(text));
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with(SLEEPERS)) {
        let first = if is_test(&file.path) { 0 } else { code_end(&file.text) };
        // Helpers lie beside the tests that pause the clock, or above them.
        let neighbours = files.iter().filter(|other| folder(other).starts_with(folder(file)) && is_test(&other.path));
        let is_python = Path::new(&file.path).extension().is_some_and(|extension| extension == "py");
        let is_virtual = is_paused(file) || neighbours.into_iter().any(is_paused);
        for (index, line) in file.text.lines().enumerate().skip(first) {
            let sleeps = line.contains(if is_python { SLEEP_IN_PYTHON } else { SLEEP_IN_RUST });
            if sleeps || (line.contains(PAUSABLE_SLEEP) && !is_virtual) {
                let what = "a test that sleeps: wait for a condition with a limit, or pause tokio's clock";
                findings.push(Finding::new(&file.path, index + 1, what));
            }
        }
    }
    findings
}

/// Relative links in Markdown lead to something.
pub fn dead_links(root: &Path, files: &[File]) -> Vec<Finding> {
    files.iter().flat_map(|file| links_to_nothing(file, |path| root.join(path).exists())).collect()
}

fn links_to_nothing(file: &File, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    if !is_page(file) {
        return Vec::new();
    }
    let folder = Path::new(folder(file));
    let mut findings = Vec::new();
    let mut in_example = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_example = !in_example;
        }
        // brackets in a code span are none of a link
        let line: String = line.split('`').step_by(2).collect();
        for target in links(&line).filter(|_| !in_example) {
            let path = target.split('#').next().unwrap_or(target);
            if !path.is_empty() && !path.contains(':') && !exists(&folder.join(path)) {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    format!("{target}: leads nowhere; mend or remove it"),
                ));
            }
        }
    }
    findings
}

/// Targets of inline links and of link definitions in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(definition)
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    #[test]
    fn unfinished_work_is_banned() {
        assert_eq!(banned(&file("a.rs", "// fixed\n")), []);
        let bad: String = BANNED.map(|(text, _)| format!("// {text}\n")).concat();
        assert_eq!(lines(&banned(&file("a.rs", &bad))), [1, 2]);
    }

    #[test]
    fn paths_of_one_machine_are_banned() {
        let good =
            PRIVATE_FOLDERS.map(|folder| format!("https://a.org{folder}b ~{folder}b '{folder}<user>'\n")).concat();
        assert_eq!(banned(&file("a.md", &good)), []);
        let bad = PRIVATE_FOLDERS.map(|folder| format!("cd {folder}me\n")).concat();
        assert_eq!(lines(&banned(&file("a.md", &bad))), [1, 2, 3]);
    }

    #[test]
    fn tests_do_not_sleep() {
        let code = format!("fn a() {{\n    {PAUSABLE_SLEEP}b);\n}}\n");
        let test = |path: &str, text: &str| file(path, text);
        assert_eq!(sleeps(&[test("crates/a/src/a.rs", &code)]), [], "code may wait");
        assert_eq!(lines(&sleeps(&[test("crates/a/tests/a.rs", &code)])), [2]);
        let inside = format!("#[cfg(test)]\nmod tests {{\n    {SLEEP_IN_RUST}(b);\n}}\n");
        assert_eq!(lines(&sleeps(&[test("crates/a/src/a.rs", &inside)])), [3]);
        let python = format!("{SLEEP_IN_PYTHON}1)\n");
        assert_eq!(lines(&sleeps(&[test("crates/a/tests/a.py", &python)])), [1]);
        assert_eq!(sleeps(&[test("python/tests/a.py", &python)]), [], "an action that sleeps");
        assert_eq!(sleeps(&[test("crates/a/tests/a.rs", &python)]), [], "a program that sleeps");
    }

    #[test]
    fn a_paused_clock_makes_sleep_free_and_nothing_else() {
        let paused = file("crates/a/tests/it/main.rs", "#[tokio::test(start_paused = true)]\n");
        let helper = file("crates/a/tests/it/helper.rs", &format!("{PAUSABLE_SLEEP}b);\n"));
        let blocking = file("crates/a/tests/it/other.rs", &format!("{SLEEP_IN_RUST}(b);\n"));
        let findings = sleeps(&[paused, helper, blocking]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "crates/a/tests/it/other.rs");
    }

    #[test]
    fn links_lead_somewhere() {
        let exists = |path: &Path| path == Path::new("docs/here.md");
        let good = concat!(
            "[a](here.md#part) [b](https://a.org) [c](#part) [d](mailto:a@b)\n",
            "```\n[e](gone.md)\n```\n[f]: here.md\n`[g](gone)`\n",
        );
        assert_eq!(links_to_nothing(&file("docs/a.md", good), exists), []);
        let bad = "[a](here.md) and [b](gone.md)\n[c]: gone.md\n";
        assert_eq!(lines(&links_to_nothing(&file("docs/a.md", bad), exists)), [1, 2]);
        assert_eq!(links_to_nothing(&file("docs/a.rs", bad), exists), []);
    }
}
