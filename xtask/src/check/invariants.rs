//! `docs/invariants.md` names a test for each rule, and each of these tests exists.

use std::collections::BTreeSet;

use super::{File, Finding};

/// The page that maps each rule to the tests that fail without it.
const PAGE: &str = "docs/invariants.md";
/// What a row says that has no test: its rule comes later, is a lint, or is spelt out in another row.
const EXEMPT: [&str; 3] = ["comes with foreign servers", "`cargo xtask check`", "see decision"];

/// Each row of the page names a test or says why not, and each named test exists.
pub fn invariants(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing: ARCHITECTURE.md promises it")];
    };
    unproven(page, &tests(files))
}

fn unproven(page: &File, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = page.text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let names: Vec<&str> = test_names(line).collect();
        for name in names.iter().filter(|name| !tests.contains(**name)) {
            let what = format!("{name}: there is no such test; name the one that fails without this rule");
            findings.push(Finding::new(&page.path, index + 1, what));
        }
        let is_title = lines.get(index + 1).is_some_and(|next| next.starts_with("|--"));
        let is_row = line.starts_with("| ") && !is_title;
        if is_row && names.is_empty() && !EXEMPT.iter().any(|text| line.contains(text)) {
            findings.push(Finding::new(&page.path, index + 1, "a rule without a test: write one, and name it here"));
        }
    }
    findings
}

/// The code spans that are paths of tests. A path that ends in `…` only shows what they look like.
fn test_names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|span| span.contains("::") && !span.ends_with('…'))
}

/// The paths of all tests, as the page writes them.
fn tests(files: &[File]) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in files {
        let Some(module) = module(&file.path) else { continue };
        // A suite lists what lies beside it, and what lies in its own folder.
        let lists = |other: &File| [folder(&other.path), stem(&other.path)].contains(&folder(&file.path));
        let suite = |other: &&File| other.text.contains("cases!") && lists(other);
        let cases = files.iter().filter(suite).flat_map(|suite| cases(&suite.text, &file.text));
        for name in marked(&file.text).chain(cases) {
            // Tests lie in a module of their own, or the whole file is tests.
            tests.insert(format!("{module}::tests::{name}"));
            tests.insert(format!("{module}::{name}"));
        }
    }
    tests
}

/// The module that a file is, with the name of its crate or target before it, but for the program's own.
fn module(path: &str) -> Option<String> {
    let path = path.strip_suffix(".rs")?;
    let (place, inner) = match path.split_once("/src/") {
        Some((place, inner)) => (place, inner),
        None => ("", path.split_once("/tests/")?.1),
    };
    let inner = inner.strip_suffix("/mod").or_else(|| inner.strip_suffix("/main")).unwrap_or(inner);
    let name = place.rsplit('/').next().unwrap_or(place);
    let owner = if matches!(name, "" | "job-engine") { "" } else { name };
    let segments = owner.split('/').chain(inner.split('/')).filter(|segment| !matches!(*segment, "" | "lib"));
    Some(segments.collect::<Vec<_>>().join("::"))
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn stem(path: &str) -> &str {
    path.strip_suffix(".rs").unwrap_or(path)
}

/// Functions with a test attribute.
fn marked(text: &str) -> impl Iterator<Item = &str> {
    let mut is_marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
            return None;
        }
        let name = function(line);
        if name.is_some() && std::mem::take(&mut is_marked) { name } else { None }
    })
}

/// The functions of a file that a suite lists as its cases.
fn cases<'a>(suite: &str, text: &'a str) -> Vec<&'a str> {
    let listed: BTreeSet<&str> =
        suite.lines().filter(|line| !line.contains("fn ")).flat_map(|line| line.split([',', ';', ' '])).collect();
    text.lines().filter_map(|line| function(line.trim_start())).filter(|name| listed.contains(name)).collect()
}

fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let begins = before.split_whitespace().all(|word| matches!(word, "async" | "pub" | "pub(super)"));
    if begins { after.split(['(', '<']).next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    fn project() -> Vec<File> {
        vec![
            file("crates/job-engine/src/server/ledger/tests.rs", "#[test]\nfn row_1() {}\n\nfn helper() {}\n"),
            file("crates/job-engine/src/up.rs", "#[cfg(test)]\nmod tests {\n    #[test]\n    fn inner() {}\n}\n"),
            file("crates/job-engine/src/executor/tests.rs", "#[tokio::test(start_paused = true)]\nasync fn a() {}\n"),
            file("crates/job-engine/tests/it/kill.rs", "/// Says why.\n#[tokio::test]\nasync fn survives() {}\n"),
            file("crates/cimi/src/lib.rs", "mod tests {\n    #[test]\n    fn whole() {}\n}\n"),
            file("crates/coordination/tests/conformance/main.rs", "cases! {\n    queue: first, second;\n}\n"),
            file("crates/coordination/tests/conformance/queue.rs", "pub async fn first(a: &A) {}\nfn third() {}\n"),
            file("crates/job-engine/src/server/conformance.rs", "cases!(\n    row,\n);\n"),
            file("crates/job-engine/src/server/conformance/rows.rs", "pub(super) async fn row() {}\nfn other() {}\n"),
        ]
    }

    fn page(names: &[&str]) -> String {
        let rows = names.iter().map(|name| format!("| 1 | rule | `{name}` |\n"));
        format!("Paths such as `server::…`.\n\n| a | b | tests |\n|---|---|---|\n{}", rows.collect::<String>())
    }

    #[test]
    fn tests_have_the_paths_that_the_page_writes() {
        let good = [
            "server::ledger::tests::row_1",
            "up::tests::inner",
            "executor::tests::a",
            "it::kill::survives",
            "cimi::tests::whole",
            "conformance::queue::first",
            "server::conformance::rows::row",
        ];
        let mut files = project();
        files.push(file(PAGE, &page(&good)));
        assert_eq!(invariants(&files), []);
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let bad = [
            "server::ledger::tests::row_2",
            "server::ledger::tests::helper",
            "server::jobs::tests::row_1",
            "it::survives",
            "conformance::queue::second",
            "conformance::queue::third",
        ];
        let mut files = project();
        files.push(file(PAGE, &page(&bad)));
        assert_eq!(lines(&invariants(&files)), [5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_rule_without_a_test_is_found() {
        let exempt = EXEMPT.map(|text| format!("| 1 | rule | {text} |\n")).concat();
        let mut files = vec![file(PAGE, &(page(&[]) + &exempt))];
        assert_eq!(invariants(&files), []);
        files[0].text += "| 2 | a promise | `word` |\n";
        assert_eq!(lines(&invariants(&files)), [8]);
        assert_eq!(invariants(&[]).len(), 1, "the page itself");
    }
}
