//! `cargo xtask check`: everything that must hold before a change is merged.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::commands::{cargo, read, root, run as succeed};
use crate::fuzz;

mod citations;
mod cycles;
mod dependencies;
mod invariants;
mod messages;
mod pages;
mod source;
mod texts;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the package.
    place: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.place, self.what),
            line => write!(formatter, "{}:{line}: {}", self.place, self.what),
        }
    }
}

/// A text file of the project.
pub struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

type Rule = fn(&File) -> Vec<Finding>;

/// Rules that look at one Rust file.
const RUST_RULES: [(&str, Rule); 4] = [
    ("file length", source::file_length),
    ("trait size", source::trait_size),
    ("module form", source::module_form),
    ("module layers", source::module_layers),
];

/// Checks every rule and closes with how many held. Answers whether all did.
pub fn run() -> anyhow::Result<bool> {
    let root = root()?;
    let files = files(&root)?;
    let rust: Vec<&File> = files.iter().filter(|file| is_rust(file)).collect();
    let mut held = Vec::new();

    let mut format = tool(cargo(&root).args(["fmt", "--all", "--check"]));
    format.extend(tool(cargo(&root).args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"])));
    held.push(report("format", &format));
    for (name, rule) in RUST_RULES {
        held.push(report(name, &rust.iter().flat_map(|file| rule(file)).collect::<Vec<_>>()));
    }
    held.push(report("module cycles", &cycles::cycles(&files)));
    held.push(report("banned texts", &files.iter().flat_map(texts::banned).collect::<Vec<_>>()));
    held.push(report("pages", &files.iter().flat_map(pages::pages).collect::<Vec<_>>()));
    held.push(report("dead links", &texts::dead_links(&root, &files)));
    held.push(report("citations", &citations::citations(&files)));
    held.push(report("no sleeping in tests", &texts::sleeps(&files)));
    held.push(report("invariants", &invariants::invariants(&files)));
    held.push(report("messages", &messages::messages(&files)));
    held.push(report("crate layers", &dependencies::crate_layers(&root)?));
    held.push(report("licences", &dependencies::licences(&root)?));
    // Nothing is compiled to be a tool: this one is used where somebody has it.
    if read(cargo(&root).args(["deny", "--version"])).is_ok() {
        held.push(report("cargo deny", &tool(cargo(&root).args(["deny", "check", "bans", "licenses", "sources"]))));
    }
    // The release profile, because its build scripts and macros are already there for the tests.
    let clippy = ["clippy", "--workspace", "--all-targets", "--release", "--locked", "--quiet"];
    held.push(report("lints", &tool(cargo(&root).args(clippy))));
    let mut documentation = cargo(&root);
    documentation.args(["doc", "--workspace", "--no-deps", "--release", "--locked", "--quiet"]);
    held.push(report("documentation", &tool(documentation.env("RUSTDOCFLAGS", "-D warnings"))));
    let found = fuzz::briefly(&root);
    held.push(report("fuzzing", &found.into_iter().map(|what| Finding::new("fuzz", 0, what)).collect::<Vec<_>>()));

    let good = held.iter().filter(|held| **held).count();
    println!("{good} of {} rules held", held.len());
    Ok(good == held.len())
}

/// Prints what a rule found; answers whether it held.
fn report(rule: &str, findings: &[Finding]) -> bool {
    println!("{} {rule}", if findings.is_empty() { "ok    " } else { "BROKEN" });
    for finding in findings {
        println!("  {finding}");
    }
    findings.is_empty()
}

/// A rule that another program checks and explains.
fn tool(command: &mut Command) -> Vec<Finding> {
    match succeed(command) {
        Ok(()) => Vec::new(),
        Err(error) => vec![Finding::new("project", 0, format!("{error:#}; see above"))],
    }
}

fn is_rust(file: &File) -> bool {
    Path::new(&file.path).extension().is_some_and(|extension| extension == "rs")
}

/// Whether it is Markdown.
fn is_page(file: &File) -> bool {
    Path::new(&file.path).extension().is_some_and(|extension| extension == "md")
}

fn folder(file: &File) -> &str {
    file.path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Every text file that git knows or would take up.
fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let list = read(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]))?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| root.join(path).is_file()) {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        // What is no text, for example a picture, has no lines to check.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}
