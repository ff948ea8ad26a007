//! Writes a DEB, by `dpkg-deb`.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::contents::{Item, What};
use crate::scriptlets::{POSTINST, POSTRM, PRERM, script};
use crate::{DESCRIPTION, NAME, Package, SUMMARY};

/// Answers where the package is.
pub fn write(package: &Package, items: &[Item], root: &Path, output: &Path) -> anyhow::Result<PathBuf> {
    let tree = output.join("deb");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let mut kept = String::new();
    for item in items {
        lay(&tree, &item.path, item.mode, &item.what)?;
        if matches!(item.what, What::Configuration(_)) {
            writeln!(kept, "{}", item.path)?;
        }
    }
    let size = items.iter().map(|item| item.what.size().div_ceil(1024)).sum();
    let control = [
        ("control", 0o644, control(package, size)),
        ("conffiles", 0o644, kept),
        ("postinst", 0o755, format!("#!/bin/sh\n{}", script(root, POSTINST)?)),
        ("prerm", 0o755, format!("#!/bin/sh\n{}", script(root, PRERM)?)),
        ("postrm", 0o755, format!("#!/bin/sh\n{}", script(root, POSTRM)?)),
    ];
    for (name, mode, text) in control {
        lay(&tree, &format!("/DEBIAN/{name}"), mode, &What::File(text.into_bytes()))?;
    }
    let file = output.join(format!("{NAME}_{}-{}_amd64.deb", package.version, package.release));
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "--build"])
        .args([&tree, &file])
        .env("SOURCE_DATE_EPOCH", package.time.to_string())
        .output()
        .context("cannot start dpkg-deb")?;
    ensure!(built.status.success(), "dpkg-deb failed: {}", String::from_utf8_lossy(&built.stderr));
    fs::remove_dir_all(&tree)?;
    Ok(file)
}

/// `size` in KiB.
fn control(package: &Package, size: usize) -> String {
    let Package { version, release, glibc, .. } = package;
    format!(
        "Package: {NAME}\n\
         Version: {version}-{release}\n\
         Architecture: amd64\n\
         Maintainer: SlipStream developers <root@localhost>\n\
         Installed-Size: {size}\n\
         Depends: libc6 (>= {glibc}), libgcc-s1\n\
         Section: net\n\
         Priority: optional\n\
         Description: {SUMMARY}\n {DESCRIPTION}\n"
    )
}

/// Whatever the user's umask is.
fn lay(tree: &Path, path: &str, mode: u16, what: &What) -> anyhow::Result<()> {
    let target = tree.join(path.trim_start_matches('/'));
    make_folders(tree, target.parent().context("it lies in the tree")?)?;
    match what {
        What::Folder => fs::create_dir(&target),
        What::File(bytes) | What::Configuration(bytes) => fs::write(&target, bytes),
    }
    .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(fs::set_permissions(&target, Permissions::from_mode(mode.into()))?)
}

fn make_folders(tree: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    if folder != tree
        && let Some(above) = folder.parent()
    {
        make_folders(tree, above)?;
    }
    fs::create_dir(folder)?;
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o755))?)
}

impl What {
    fn size(&self) -> usize {
        match self {
            Self::Folder => 0,
            Self::File(bytes) | Self::Configuration(bytes) => bytes.len(),
        }
    }
}
