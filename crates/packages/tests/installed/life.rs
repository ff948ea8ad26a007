//! From the first install to the last trace.

use std::process::Command;

use crate::root::{Root, deb, pack, rpm, succeed};

/// What is there after an install, however it was installed.
const RIGHTS: [(&str, &str); 18] = [
    ("/usr/bin/slipstream-job", "755 root root"),
    ("/usr/lib/systemd/system/slipstream-job-executor.service", "644 root root"),
    ("/usr/lib/systemd/system/slipstream-job-distributor@.service", "644 root root"),
    ("/usr/lib/systemd/system/slipstream-job-server.service", "644 root root"),
    ("/usr/lib/slipstream/actions", "755 root root"),
    ("/usr/lib/slipstream/distributors", "755 root root"),
    ("/usr/share/man/man1/slipstream-job-executor.1.gz", "644 root root"),
    ("/etc/default/slipstream-job-executor", "640 root root"),
    ("/etc/default/slipstream-job-distributor", "640 root root"),
    ("/etc/default/slipstream-job-server", "640 root root"),
    ("/etc/logrotate.d/slipstream-job-engine", "644 root root"),
    ("/etc/slipstream", "750 root slipstream"),
    ("/etc/slipstream/job-engine.toml", "640 root slipstream"),
    ("/etc/slipstream/job-engine.d", "750 root slipstream"),
    ("/usr/share/man/man5/job-engine.toml.5.gz", "644 root root"),
    ("/var/lib/slipstream", "750 slipstream slipstream"),
    ("/var/log/slipstream/log", "755 slipstream slipstream"),
    ("/var/log/slipstream/job", "777 root root"),
];
const EDITED: &str = "DAEMON_ARGS='--threads=3'\n";
const CONFIGURATION: &str = "/etc/default/slipstream-job-executor";
const FILE: &str = "/etc/slipstream/job-engine.toml";

fn assert_installed(root: &Root) {
    for (path, rights) in RIGHTS {
        assert_eq!(root.rights(path), rights, "{path}");
    }
    assert_eq!(root.shell("readlink /var/log/slipstream/job"), "log\n");
    let user = root.shell("getent passwd slipstream");
    assert!(user.ends_with(":/var/lib/slipstream:/bin/bash\n"), "{user}");
    assert!(root.shell("slipstream-job --version").starts_with("slipstream-job "));
    root.shell("logrotate --debug /etc/logrotate.d/slipstream-job-engine 2>&1");
}

#[test]
fn a_deb_is_installed_upgraded_removed_and_purged() {
    let root = Root::new();
    root.dpkg(&deb(1));
    assert_installed(&root);

    root.write(CONFIGURATION, EDITED);
    let edited = edit(&root);
    root.write("/var/lib/slipstream/server/jobs.db", "documents");
    root.write("/etc/slipstream/super.password", "secret");
    root.dpkg(&deb(2));
    assert_eq!(root.read(CONFIGURATION), EDITED);
    assert_kept(&root, &edited);
    assert!(root.shell("dpkg-query --show slipstream-job-engine").ends_with("-2\n"));
    root.dpkg(&deb(1));
    assert_eq!(root.read(CONFIGURATION), EDITED);

    refuses_documents_of_a_newer_version(&root);

    root.shell("dpkg --remove slipstream-job-engine 2>&1");
    assert_eq!(root.rights("/usr/bin/slipstream-job"), "");
    assert_eq!(root.read(CONFIGURATION), EDITED);
    assert_eq!(root.rights("/var/log/slipstream/log"), "755 slipstream slipstream");

    root.shell("dpkg --purge slipstream-job-engine 2>&1");
    assert_eq!(root.rights(CONFIGURATION), "");
    assert_eq!(root.rights("/var/log/slipstream"), "");
    assert_eq!(root.read("/var/lib/slipstream/server/jobs.db"), "documents");
    assert_eq!(root.read("/etc/slipstream/super.password"), "secret");
    root.shell("getent passwd slipstream");
}

/// What an administrator edits in the configuration file; answers what it is then.
fn edit(root: &Root) -> String {
    root.shell(&format!("sed -i 's/^threads = 8/threads = 3/' {FILE}"));
    let edited = root.read(FILE);
    assert!(edited.contains("\nthreads = 3\n"), "{edited}");
    edited
}

/// What is edited stays, and no package manager leaves its own beside it, as the package has no other one.
fn assert_kept(root: &Root, edited: &str) {
    assert_eq!(root.read(FILE), edited);
    assert_eq!(root.rights(FILE), "640 root slipstream");
    assert_eq!(root.shell("find /etc/slipstream /etc/default -name 'job-engine.*.*' -o -name 'slipstream-*.*'"), "");
}

/// After a downgrade the documents may be of the version that was there before.
fn refuses_documents_of_a_newer_version(root: &Root) {
    root.shell(
        "mkdir -m 700 /srv/newer && python3 -c \"import sqlite3; \
         sqlite3.connect('/srv/newer/jobs.db').execute('PRAGMA user_version = 1000000')\"",
    );
    let said = root.shell(
        "slipstream-job server --store sqlite:/srv/newer/jobs.db --zk-hosts 127.0.0.1:1 2>&1 || echo \"exit code $?\"",
    );
    assert!(said.contains("has version 1000000") && said.ends_with("exit code 2\n"), "{said}");
}

#[test]
fn an_rpm_is_installed_upgraded_and_erased() {
    let root = Root::new();
    root.rpm(&["--install"], &rpm(1));
    assert_installed(&root);

    root.write(CONFIGURATION, EDITED);
    let edited = edit(&root);
    root.write("/var/lib/slipstream/server/jobs.db", "documents");
    root.rpm(&["--upgrade"], &rpm(2));
    assert_eq!(root.read(CONFIGURATION), EDITED);
    assert_kept(&root, &edited);
    assert_installed_but_for(&root, CONFIGURATION);
    root.rpm(&["--upgrade", "--oldpackage"], &rpm(1));
    assert_eq!(root.read(CONFIGURATION), EDITED);

    root.rpm(&["--erase"], "slipstream-job-engine".as_ref());
    assert_eq!(root.rights("/usr/bin/slipstream-job"), "");
    assert_eq!(root.read(&format!("{CONFIGURATION}.rpmsave")), EDITED);
    assert_eq!(root.read("/var/lib/slipstream/server/jobs.db"), "documents");
    root.shell("getent passwd slipstream");
}

/// A file that was written by hand has other rights.
fn assert_installed_but_for(root: &Root, edited: &str) {
    for (path, rights) in RIGHTS.into_iter().filter(|(path, _)| *path != edited) {
        assert_eq!(root.rights(path), rights, "{path}");
    }
}

#[test]
fn both_packages_hold_the_same_and_are_packed_alike_each_time() {
    let again = tempfile::tempdir().expect("done");
    pack("1", again.path());
    for package in [rpm(1), deb(1)] {
        let other = again.path().join(package.file_name().expect("done"));
        assert!(
            std::fs::read(&package).expect("done") == std::fs::read(&other).expect("done"),
            "{} differs",
            package.display()
        );
    }
    let rpm = succeed(
        Command::new("rpm")
            .args(["--query", "--package", "--queryformat"])
            .arg("[%{FILEMODES:perms} %{FILENAMES}\n]")
            .arg(rpm(1)),
    );
    let deb = succeed(Command::new("dpkg-deb").arg("--contents").arg(deb(1)));
    let files = |list: &str, zsh: &str| {
        let mut files: Vec<String> = list
            .lines()
            .filter_map(|line| {
                let mode = line.split_whitespace().next()?;
                let path = line.split_whitespace().last()?.trim_start_matches('.');
                (!mode.starts_with('d')).then(|| format!("{mode} {}", path.replace(zsh, "ZSH")))
            })
            .collect();
        files.sort();
        files
    };
    let (rpm, deb) = (files(&rpm, "site-functions"), files(&deb, "vendor-completions"));
    assert!(rpm.len() > 30, "{rpm:?}");
    assert_eq!(rpm, deb);
}

#[test]
fn what_the_program_needs_is_asked_for() {
    let needs = succeed(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(rpm(1)));
    assert!(needs.contains("libc.so.6(GLIBC_2."), "{needs}");
    let needs = succeed(Command::new("dpkg-deb").args(["--field"]).arg(deb(1)).arg("Depends"));
    assert!(needs.starts_with("libc6 (>= 2."), "{needs}");
    let epoch = succeed(Command::new("rpm").args(["--query", "--queryformat", "%{EPOCH}", "--package"]).arg(rpm(1)));
    assert_eq!(epoch, "1", "else the original's 3.71 were newer");
}
