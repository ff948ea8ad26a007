//! A `ZooKeeper` for tests, which start servers of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::commands::{exists, read, remove, run, target};
use crate::debian;

/// Where Debian's package puts the server; no service comes with it.
const ARCHIVE: &str = "/usr/share/java/zookeeper.jar";

/// Names a class path to use instead of Debian's.
const CLASS_PATH: &str = "SLIPSTREAM_TEST_ZOOKEEPER";

/// The oldest version that the product speaks with, and a logger for it, by the name of both in their registry. What they
/// need comes with them.
const OLDEST: [&str; 2] = ["org.apache.zookeeper:zookeeper:3.5.10", "org.slf4j:slf4j-simple:1.7.36"];

/// What Maven copies them by.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Makes sure that Java, `ZooKeeper` and what makes certificates are there. Quick when they are.
pub fn set_up() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if !exists("java") {
        missing.push("default-jre-headless");
    }
    if std::env::var_os(CLASS_PATH).is_none() && !Path::new(ARCHIVE).exists() {
        missing.push("zookeeper");
    }
    // the tests make certificates
    if read(Command::new("openssl").arg("version")).is_err() {
        missing.push("openssl");
    }
    // a server under a clock that is ahead
    if !exists("faketime") {
        missing.push("faketime");
    }
    if missing.is_empty() {
        println!("up to date: Java, ZooKeeper, openssl and faketime");
        return Ok(());
    }
    let what = format!("Java, openssl, faketime and ZooKeeper (the variable {CLASS_PATH} may say where: a class path)");
    debian::install(&what, &missing)
}

/// The class path of the oldest version, which no Debian has and only Maven can fetch. None, and a sentence that says so,
/// where it cannot be had: the product can be built and tested without.
pub fn set_up_oldest(root: &Path) -> Option<String> {
    match fetch_oldest(root) {
        Ok(class_path) => Some(class_path),
        Err(error) => {
            println!("without the tests over {}: {error:#}", OLDEST[0]);
            None
        }
    }
}

fn fetch_oldest(root: &Path) -> anyhow::Result<String> {
    let folder = target(root).join("zookeeper-oldest");
    let (mark, archives, project) = (folder.join("installed"), folder.join("archives"), folder.join("pom.xml"));
    let class_path = archives.join("*").display().to_string();
    let wanted = OLDEST.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        println!("up to date: {}", folder.display());
        return Ok(class_path);
    }
    remove(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&project, maven_project()).with_context(|| format!("cannot write {}", project.display()))?;
    println!("fetching with Maven into {}: {}", folder.display(), OLDEST.join(", "));
    // its own repository too: nothing is left outside
    let repository = format!("-Dmaven.repo.local={}", folder.join("repository").display());
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "-Dstyle.color=never", &repository, "--file"])
        .arg(&project)
        .args([COPY, &format!("-DoutputDirectory={}", archives.display())]))?;
    remove(&folder.join("repository"))?;
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(class_path)
}

/// A project that needs them and is nothing else.
fn maven_project() -> String {
    let dependency = |name: &&str| {
        let mut parts = name.split(':');
        let tags = ["groupId", "artifactId", "version"];
        let parts = tags.map(|tag| format!("<{tag}>{}</{tag}>", parts.next().unwrap_or_default()));
        format!("<dependency>{}</dependency>", parts.concat())
    };
    let dependencies: String = OLDEST.iter().map(dependency).collect();
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>oldest</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::maven_project;

    #[test]
    fn the_project_names_what_is_fetched() {
        let wanted =
            "<groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>3.5.10</version>";
        assert!(maven_project().contains(&format!("<dependency>{wanted}</dependency>")));
    }
}
