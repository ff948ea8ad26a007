use std::os::unix::fs::PermissionsExt as _;

use clap::Parser;

use super::*;
use crate::executor::load::folders::{Found, read_folders};
use crate::executor::load::provider::Provider;
use crate::executor::load::settings::Settings;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    new: NewArguments,
}

fn new(folder: &Path, words: &[&str]) -> anyhow::Result<()> {
    let folder = folder.to_str().unwrap();
    let words = [&["new", "--dir", folder], words].concat();
    run(&Command::try_parse_from(words).unwrap().new)
}

fn found(folder: &Path) -> Found {
    read_folders(&Settings {
        folders: vec![folder.into()],
        only: None,
        python: "python3".into(),
        package: PathBuf::new(),
    })
}

#[test]
fn what_is_written_loads_at_once_and_is_never_overwritten() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("made/actions");
    for (words, file) in
        [(["--shell", "back.up-1"], "back.up-1.sh"), (["--python", "collect-quotas"], "collect_quotas.py")]
    {
        new(&folder, &words).unwrap();
        let file = folder.join(file);
        let before = std::fs::read_to_string(&file).unwrap();
        assert!(!before.contains("NAME") && before.contains(words[1]), "{before}");
        std::fs::write(&file, "mine").unwrap();
        let refused = new(&folder, &words).unwrap_err().to_string();
        let expected = format!("there is a file {} already: choose another name, or remove it", file.display());
        assert_eq!((refused, std::fs::read_to_string(&file).unwrap().as_str()), (expected, "mine"));
        std::fs::write(&file, before).unwrap();
    }
    let Found { providers, failed } = found(&folder);
    assert_eq!(failed, []);
    let [Provider::Command(shell), Provider::Host(python)] = &providers[..] else { panic!("{providers:?}") };
    assert_eq!((shell.name.as_str(), &python.program.file), ("back.up-1", &folder));
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "nobody else may write it");
}

#[test]
fn the_shell_script_runs_under_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    new(folder.path(), &["--shell", "backup"]).unwrap();
    let mut script = std::process::Command::new("sh");
    script.args(["-c", "exec 3>\"$1/reports\"; exec \"$1/backup.sh\"", "sh"]).arg(folder.path());
    let ran = script.env("SLIPSTREAM_TARGET", "user/jane").output().unwrap();
    assert_eq!((ran.status.code(), &*ran.stdout, &*ran.stderr), (Some(0), &b"hello, user/jane\n"[..], &b""[..]));
    assert_eq!(std::fs::read(folder.path().join("reports")).unwrap(), b"{\"report\": {\"progress\": 50}}\n");
}

#[test]
fn a_rust_project_lies_beside_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    new(folder.path(), &["--rust", "greet-all", "--crates", crates]).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let cargo: toml::Table = read("greet_all-project/Cargo.toml").parse().unwrap();
    assert_eq!(cargo["package"]["name"].as_str(), Some("greet_all"));
    let path = cargo["dependencies"]["slipstream-action"]["path"].as_str().unwrap();
    assert!(Path::new(path).join("Cargo.toml").is_file(), "{path}");
    assert!(read("greet_all-project/src/main.rs").contains(".with(\"greet-all\", run)"));
    let Found { providers, failed } = found(folder.path());
    assert_eq!(providers, []);
    assert!(failed[0].reason.contains("greet_all: No such file"), "until it is built: {failed:?}");
    std::fs::copy("/bin/sh", folder.path().join("greet_all")).unwrap();
    let Found { providers, failed } = found(folder.path());
    assert_eq!((providers.len(), failed), (1, Vec::new()));
    let refused = new(folder.path(), &["--rust", "other", "--crates", "/nowhere"]).unwrap_err().to_string();
    assert_eq!(refused, "there is no crate /nowhere/action: correct --crates");
}

#[test]
fn names_are_those_of_files_classes_and_programs() {
    for good in ["a", "backup", "back.up-1", "collect_quotas"] {
        assert_eq!(parse_name(good).as_deref(), Ok(good));
    }
    for wrong in ["", "1a", "_a", ".a", "-a", "a/b", "a b", "ä", &"a".repeat(101)] {
        assert!(parse_name(wrong).is_err(), "{wrong}");
    }
    assert_eq!([class("collect_quotas"), class("back.up-1")], ["CollectQuotas", "BackUp1"]);
    let paths = ["/a/b", "", "a b", "it's"].map(|path| shown(Path::new(path)));
    assert_eq!(paths, ["/a/b", "''", "'a b'", r"'it'\''s'"]);
}
