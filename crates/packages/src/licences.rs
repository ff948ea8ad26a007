//! The licences of all that is compiled into the program: whoever passes it on owes their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// How files are called that hold a licence, in small letters.
const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];
/// The package whose program is packed.
const PROGRAM: &str = "slipstream-job-engine";

/// All of them, with the crates of each.
pub fn texts(root: &Path) -> anyhow::Result<String> {
    let metadata = metadata(root)?;
    let mut expressions = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for crate_ in compiled_in(&metadata)? {
        let name = format!("{} {}", text(crate_, "name")?, text(crate_, "version")?);
        let licence = crate_["license"].as_str().unwrap_or("see its text");
        writeln!(expressions, "{name}: {licence}")?;
        let folder = Path::new(text(crate_, "manifest_path")?).parent().context("a manifest lies in a folder")?;
        for file in files(folder)? {
            let text = String::from_utf8_lossy(&fs::read(&file)?).replace("\r\n", "\n");
            texts.entry(text.trim().to_owned()).or_default().insert(name.clone());
        }
    }
    let mut all = format!("What is compiled into slipstream-job, and under which licence.\n\n{expressions}");
    for (text, crates) in texts {
        let crates: Vec<String> = crates.into_iter().collect();
        write!(all, "\n{}\n{}\n\n{text}\n", "=".repeat(80), crates.join(", "))?;
    }
    Ok(all)
}

/// What cargo knows of all crates.
fn metadata(root: &Path) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(arguments).current_dir(root).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata prints JSON")
}

/// The crates of others that the program consists of, by name: not what only builds or tests it.
fn compiled_in(metadata: &Value) -> anyhow::Result<Vec<&Value>> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let deps = list(&node["deps"]);
        let is_normal = |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let ids = deps.iter().filter(is_normal).map(|dep| text(dep, "pkg").map(str::to_owned));
        needs.insert(text(&node, "id")?.to_owned(), ids.collect::<anyhow::Result<_>>()?);
    }
    let packages = metadata["packages"].as_array().context("there are packages")?;
    let first = packages.iter().find(|package| package["name"] == PROGRAM).context("the program is a package")?;
    let (mut found, mut next) = (BTreeSet::new(), vec![text(first, "id")?.to_owned()]);
    while let Some(id) = next.pop() {
        if found.insert(id.clone()) {
            next.extend(needs.get(&id).into_iter().flatten().cloned());
        }
    }
    // those without a source are our own
    let is_others =
        |package: &&Value| !package["source"].is_null() && package["id"].as_str().is_some_and(|id| found.contains(id));
    Ok(packages.iter().filter(is_others).collect())
}

fn text<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    value[name].as_str().with_context(|| format!("cargo metadata has no {name}"))
}

fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
