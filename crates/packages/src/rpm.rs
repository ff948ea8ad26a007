//! Writes an RPM. Its epoch makes it newer than the original's package of the same name, which is of version 3.71.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};

use crate::contents::{Item, What};
use crate::scriptlets::{AFTER, AFTER_REMOVAL, AT_THE_END, BEFORE, BEFORE_REMOVAL, script};
use crate::{DESCRIPTION, NAME, Package, SUMMARY};

const EPOCH: u32 = 1;

/// Answers where the package is.
pub fn write(package: &Package, items: &[Item], root: &Path, output: &Path) -> anyhow::Result<PathBuf> {
    let mut builder = PackageBuilder::new(NAME, package.version, env!("CARGO_PKG_LICENSE"), "x86_64", SUMMARY);
    let config = BuildConfig::v4().source_date(package.time).compression(CompressionType::Gzip);
    builder.using_config(config).epoch(EPOCH).release(package.release.to_string()).description(DESCRIPTION);
    builder.build_host("localhost");
    builder
        .requires(Dependency::any("/bin/sh"))
        .requires(Dependency::any(format!("libc.so.6(GLIBC_{})(64bit)", package.glibc)))
        .requires(Dependency::any("libgcc_s.so.1()(64bit)"));
    builder
        .pre_install_script(script(root, BEFORE)?)
        .post_install_script(script(root, AFTER)?)
        .pre_uninstall_script(script(root, BEFORE_REMOVAL)?)
        .post_uninstall_script(script(root, AFTER_REMOVAL)?)
        .post_trans_script(script(root, AT_THE_END)?);
    for Item { path, mode, what } in items {
        match what {
            What::Folder => builder.with_dir_entry(FileOptions::dir(path).permissions(*mode))?,
            What::File(bytes) => {
                builder.with_file_contents(bytes.clone(), FileOptions::new(path).permissions(*mode))?
            }
            What::Configuration(bytes) => {
                let options = FileOptions::new(path).permissions(*mode).config().noreplace();
                builder.with_file_contents(bytes.clone(), options)?
            }
        };
    }
    let file = output.join(format!("{NAME}-{}-{}.x86_64.rpm", package.version, package.release));
    let built = builder.build().context("cannot build the RPM")?;
    built.write_file(&file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
