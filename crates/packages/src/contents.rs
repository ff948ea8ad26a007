//! What both packages hold.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use clap_complete::Shell;
use flate2::{Compression, GzBuilder};
use slipstream_job_engine::internals::command;

use crate::{NAME, manual};

/// What is called differently in the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rpm,
    Deb,
}

/// A file or a folder. All belong to root.
#[derive(Debug)]
pub struct Item {
    /// Where it goes, from `/` on.
    pub path: String,
    pub mode: u16,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Folder,
    File(Vec<u8>),
    /// A file that an administrator changes, and that upgrades and removal keep.
    Configuration(Vec<u8>),
}

/// All of them, sorted by path.
pub fn contents(root: &Path, program: Vec<u8>, licences: &str, format: Format) -> anyhow::Result<Vec<Item>> {
    let doc = format!("/usr/share/doc/{NAME}");
    let mut items = vec![
        file("/usr/bin/slipstream-job", 0o755, program),
        folder("/usr/lib/slipstream"),
        folder("/usr/lib/slipstream/actions"),
        folder("/usr/lib/slipstream/distributors"),
        folder(&doc),
        file(&format!("{doc}/copyright"), 0o644, fs::read(root.join("LICENSE"))?),
        file(&format!("{doc}/changelog.gz"), 0o644, packed(&fs::read(root.join("CHANGELOG.md"))?)?),
        file(&format!("{doc}/third-party-licences.gz"), 0o644, packed(licences.as_bytes())?),
    ];
    mirrored(&root.join("packaging/root"), "", &mut items)?;
    man_pages(&mut items)?;
    completions(format, &mut items);
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

fn folder(path: &str) -> Item {
    Item { path: path.to_owned(), mode: 0o755, what: What::Folder }
}

fn file(path: &str, mode: u16, bytes: Vec<u8>) -> Item {
    Item { path: path.to_owned(), mode, what: What::File(bytes) }
}

/// What lies in the project as it is to lie on a machine.
fn mirrored(folder: &Path, path: &str, items: &mut Vec<Item>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            mirrored(&entry.path(), &path, items)?;
            continue;
        }
        let bytes = fs::read(entry.path())?;
        // passwords may be in these
        let mode =
            if path.starts_with("/etc/default/") || path.starts_with("/etc/slipstream/") { 0o640 } else { 0o644 };
        let what = if path.starts_with("/etc/") { What::Configuration(bytes) } else { What::File(bytes) };
        items.push(Item { path, mode, what });
    }
    Ok(())
}

/// One for the program and for each of its commands, and one for the configuration file.
fn man_pages(items: &mut Vec<Item>) -> anyhow::Result<()> {
    let mut all = command();
    all.build();
    man_page(&all, "slipstream-job", items)?;
    items.push(file("/usr/share/man/man5/job-engine.toml.5.gz", 0o644, packed(manual::page().as_bytes())?));
    Ok(())
}

fn man_page(of: &clap::Command, name: &str, items: &mut Vec<Item>) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(of.clone()).title(name.to_uppercase()).section("1").manual("SlipStream").render(&mut page)?;
    items.push(file(&format!("/usr/share/man/man1/{name}.1.gz"), 0o644, packed(&page)?));
    for below in of.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set()) {
        man_page(below, &format!("{name}-{}", below.get_name()), items)?;
    }
    Ok(())
}

fn completions(format: Format, items: &mut Vec<Item>) {
    let zsh = match format {
        Format::Rpm => "site-functions",
        Format::Deb => "vendor-completions",
    };
    let files = [
        (Shell::Bash, "bash-completion/completions/slipstream-job".to_owned()),
        (Shell::Zsh, format!("zsh/{zsh}/_slipstream-job")),
        (Shell::Fish, "fish/vendor_completions.d/slipstream-job.fish".to_owned()),
    ];
    for (shell, path) in files {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "slipstream-job", &mut script);
        items.push(file(&format!("/usr/share/{path}"), 0o644, script));
    }
}

/// As `gzip --no-name`: the same bytes each time.
fn packed(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}
