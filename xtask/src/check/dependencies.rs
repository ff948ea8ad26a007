//! Rules over the dependency tree, as cargo prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::Finding;
use crate::commands::{cargo, read};

/// What must not be among the dependencies of a package.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("slipstream-cimi", &["slipstream-coordination", "slipstream-action", "slipstream-store", "slipstream-job-engine"]),
    ("slipstream-coordination", &["slipstream-cimi", "slipstream-action", "slipstream-store", "slipstream-job-engine"]),
    ("slipstream-store", &["slipstream-coordination", "slipstream-action", "slipstream-job-engine"]),
    // It asks the API, and can do no more than whoever looks at a page.
    (
        "slipstream-dashboard",
        &["slipstream-coordination", "slipstream-action", "slipstream-store", "slipstream-job-engine", "reqwest"],
    ),
    // Of use to any program: it knows threads, and nothing of jobs.
    (
        "slipstream-stacks",
        &[
            "slipstream-cimi",
            "slipstream-coordination",
            "slipstream-action",
            "slipstream-store",
            "slipstream-job-engine",
            "tokio",
        ],
    ),
    // Light to compile: the client's logic without the transport over HTTP.
    (
        "slipstream-action",
        &["slipstream-coordination", "slipstream-store", "slipstream-job-engine", "reqwest", "rustls"],
    ),
];

/// Which crate may know which.
pub fn crate_layers(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        let tree = tree(root, &["--package", package, "--edges", "normal,build"], "{p}")?;
        findings.extend(seen(package, forbidden, &tree));
    }
    Ok(findings)
}

fn seen(package: &str, forbidden: &[&str], tree: &str) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let broken = forbidden.iter().filter(|name| names.contains(**name));
    broken
        .map(|name| Finding::new(package, 0, format!("depends on {name}: move the code to where both may see it")))
        .collect()
}

/// Every dependency may be used under a licence that `deny.toml` allows.
pub fn licences(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let policy = fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let product = tree(root, &["--workspace", "--edges", "normal,build,dev"], "{p}\t{l}")?;
    let fuzz = tree(root, &["--manifest-path", "fuzz/Cargo.toml"], "{p}\t{l}")?;
    Ok(refused(&format!("{product}\n{fuzz}"), &allowed(&policy)))
}

fn refused(tree: &str, allowed: &BTreeSet<&str>) -> Vec<Finding> {
    let packages: BTreeMap<&str, &str> = tree.lines().filter_map(|line| line.split_once('\t')).collect();
    let bad = packages.into_iter().filter(|(_, licence)| !permits(licence, allowed));
    bad.map(|(package, licence)| {
        let what =
            format!("licence {licence:?} is not in deny.toml: take another crate, or allow it if it is permissive");
        Finding::new(package, 0, what)
    })
    .collect()
}

/// The licences under `allow` in `deny.toml`.
fn allowed(policy: &str) -> BTreeSet<&str> {
    let list =
        policy.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once("\n]")).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether a licence expression (SPDX, or the `A/B` of old manifests) can be met with these licences.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.trim();
    let any: Vec<&str> = parts(expression, " OR ").into_iter().flat_map(|part| parts(part, "/")).collect();
    if any.len() > 1 {
        return any.into_iter().any(|part| permits(part, allowed));
    }
    let all = parts(expression, " AND ");
    if all.len() > 1 {
        return all.into_iter().all(|part| permits(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => permits(inner, allowed),
        None => allowed.contains(expression),
    }
}

/// Splits at a separator that stands in no parentheses.
fn parts<'a>(expression: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, _) in expression.match_indices(separator) {
        let before = &expression[..index];
        if before.matches('(').count() == before.matches(')').count() {
            parts.push(&expression[start..index]);
            start = index + separator.len();
        }
    }
    parts.push(&expression[start..]);
    parts
}

/// One line for each package, in this format.
fn tree(root: &Path, arguments: &[&str], format: &str) -> anyhow::Result<String> {
    let mut command = cargo(root);
    command.args(["tree", "--quiet", "--locked", "--prefix", "none", "--format", format]);
    let text = read(command.args(arguments))?;
    // One name for a package, whatever it is used for and however often it was already printed.
    Ok(text.replace(" (proc-macro)", "").replace(" (*)\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_kept() {
        let tree = "slipstream-action v0.1.0\nslipstream-cimi v0.1.0\nreqwest-like v1.0.0\n";
        assert_eq!(seen("slipstream-action", &["reqwest"], tree), []);
        assert_eq!(seen("slipstream-action", &["slipstream-cimi", "reqwest"], tree).len(), 1);
    }

    #[test]
    fn the_layers_name_packages_that_exist() {
        let root = crate::commands::root().expect("cargo runs this");
        assert_eq!(crate_layers(&root).expect("cargo answers"), []);
        assert_ne!(
            seen(
                "slipstream-action",
                &["slipstream-cimi"],
                &tree(&root, &["--package", "slipstream-action"], "{p}").expect("cargo answers")
            ),
            []
        );
    }

    #[test]
    fn expressions_are_met() {
        let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        let good = [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 / MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND ISC OR MIT",
        ];
        for expression in good {
            assert!(permits(expression, &allowed), "{expression}");
        }
        for expression in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0", "(MIT AND GPL-3.0) OR MPL-2.0"]
        {
            assert!(!permits(expression, &allowed), "{expression}");
        }
    }

    #[test]
    fn refused_licences_are_named() {
        let allowed = allowed("[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\",\n]\n[bans]\nskip = [\"GPL-3.0\"]\n");
        assert_eq!(allowed, BTreeSet::from(["MIT", "ISC"]));
        assert_eq!(refused("a v1.0.0\tMIT\n", &allowed), []);
        assert_eq!(refused("a v1.0.0\tMIT\nb v1.0.0\tGPL-3.0\nc v1.0.0\t\n", &allowed).len(), 2);
    }
}
