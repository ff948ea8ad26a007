use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::executor::load::settings::DEFAULT_PYTHON;

/// A folder of actions of this process's user, whatever its umask.
struct Actions(tempfile::TempDir);

impl Actions {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.set("", 0o755);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.path().to_owned() } else { self.0.path().join(name) }
    }

    fn set(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn put(&self, name: &str, mode: u32, content: &str) {
        fs::write(self.path(name), content).unwrap();
        self.set(name, mode);
    }

    fn script(&self, name: &str) {
        self.put(name, 0o755, "#!/bin/sh\necho done\n");
    }

    fn read(&self) -> Found {
        read(&[self])
    }

    /// What failed: the file's name, the line, the reason.
    fn failed(&self) -> Vec<(String, Option<usize>, String)> {
        let found = self.read().failed.into_iter();
        found.map(|failed| (name_of(&failed.file), failed.line, failed.reason)).collect()
    }
}

fn read(folders: &[&Actions]) -> Found {
    read_folders(&Settings {
        folders: folders.iter().map(|folder| folder.path("")).collect(),
        only: None,
        python: DEFAULT_PYTHON.into(),
        package: "/run/package".into(),
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Names of commands, and of hosts their programs' names.
fn names(found: &Found) -> Vec<String> {
    let name = |provider: &Provider| match provider {
        Provider::Command(command) => command.name.clone(),
        Provider::Host(host) => name_of(Path::new(&host.program.command[0])),
    };
    found.providers.iter().map(name).collect()
}

#[test]
fn a_file_is_what_its_name_and_its_mode_say() {
    for (name, is_executable, expected) in [
        ("backup.sh", true, Sort::Command),
        ("backup", true, Sort::Command),
        ("backup.tar.sh", true, Sort::Command),
        ("backup.sh", false, Sort::Other),
        ("README.md", false, Sort::Other),
        ("m.toml", false, Sort::Manifest),
        ("m.toml", true, Sort::Manifest),
        ("quotas.py", false, Sort::ClassFile),
        ("quotas.py", true, Sort::ClassFile),
        ("__init__.py", false, Sort::Helper),
        ("_util.py", true, Sort::Helper),
        ("_common.sh", true, Sort::LeftOut),
        (".backup.sh", true, Sort::LeftOut),
        (".m.toml", false, Sort::LeftOut),
        ("backup.sh~", true, Sort::LeftOut),
        ("backup.sh.dpkg-old", true, Sort::LeftOut),
        ("m.toml.rpmsave", false, Sort::LeftOut),
    ] {
        assert_eq!(Sort::of(name, false, is_executable), expected, "{name}");
    }
    assert_eq!(Sort::of("lib", true, true), Sort::LeftOut);
    assert_eq!(Sort::of("__pycache__", true, true), Sort::Helper);
}

#[test]
fn executables_are_commands_named_by_their_stem() {
    let folder = Actions::new();
    folder.script("backup.sh");
    folder.script("_helper.sh");
    folder.put("README.md", 0o644, "how to");
    fs::create_dir(folder.path("lib")).unwrap();
    let found = folder.read();
    let program = Program {
        command: vec![folder.path("backup.sh").into()],
        file: folder.path("backup.sh"),
        env: std::collections::BTreeMap::new(),
        pass_env: Vec::new(),
        limits: Limits::default(),
    };
    let backup = CommandProvider { name: "backup".to_owned(), program, terms: Terms::default() };
    assert_eq!(found, Found { providers: vec![Provider::Command(backup)], failed: Vec::new() });
}

#[test]
fn what_a_manifest_names_is_its_program_alone() {
    let folder = Actions::new();
    for name in ["a.sh", "b.sh", "c.py", "greeter"] {
        folder.script(name);
    }
    let manifest = "[[action]]\nname = \"a\"\ncommand = [\"./a.sh\"]\n\
                    [[host]]\ncommand = [\"./greeter\"]\n[[host]]\ncommand = [\"sh\", \"./c.py\"]\n";
    folder.put("m.toml", 0o644, manifest);
    let found = folder.read();
    assert_eq!((names(&found), found.failed), (vec!["b".into(), "a".into(), "greeter".into(), "sh".into()], vec![]));
    folder.put("m.toml", 0o644, &manifest.replace("name = \"a\"", "nme = \"a\""));
    let found = folder.read();
    assert_eq!(names(&found), ["b", "greeter", "sh"], "a file whose table is wrong runs in no other way either");
    assert_eq!(found.failed.iter().map(|failed| failed.line).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn a_script_that_others_may_write_is_handed_to_no_interpreter() {
    let folder = Actions::new();
    folder.script("c.py");
    fs::create_dir(folder.path("cache")).unwrap();
    folder.set("cache", 0o777);
    folder.put("m.toml", 0o644, "[[host]]\ncommand = [\"sh\", \"./c.py\", \"./cache\"]\n");
    assert_eq!(names(&folder.read()), ["sh"]);
    folder.set("c.py", 0o757);
    assert_eq!(names(&folder.read()), Vec::<String>::new());
    let failed = folder.failed();
    let [(_, None, of_file), (manifest, Some(2), of_manifest)] = &failed[..] else { panic!("{failed:?}") };
    assert!(manifest == "m.toml" && of_manifest.ends_with(&format!("c.py: {of_file}")), "{failed:?}");
}

#[test]
fn class_files_of_a_folder_are_one_host() {
    let folder = Actions::new();
    folder.put("quotas.py", 0o644, "");
    folder.put("__init__.py", 0o644, "");
    folder.put("notes.txt", 0o644, "");
    let found = folder.read();
    let [Provider::Host(host)] = &found.providers[..] else { panic!("{found:?}") };
    let path = folder.path("");
    let command: [&OsStr; 6] = ["python3", "-u", "-m", "slipstream_host", "actions"]
        .map(OsStr::new)
        .into_iter()
        .chain([path.as_os_str()])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(
        (host.kind, &host.program.command[..], &host.program.file),
        (Kind::Python, &command.map(OsString::from)[..], &path)
    );
    assert_eq!(host.program.env["PYTHONPATH"], "/run/package");
    assert_eq!((host.processes, host.jobs_per_process, host.start_within), (None, JOBS_PER_PROCESS, START_WITHIN));

    folder.script("python");
    let manifest = "[python]\ninterpreter = \"./python\"\ndialect = \"nuvla\"\nprocesses = 3\nmemory = \"1 GiB\"\n\
                    env = { PYTHONPATH = \"/opt/lib\" }\nactions.collect_quotas.python3 = true\n";
    folder.put("m.toml", 0o644, manifest);
    let found = folder.read();
    let hosts = found.providers.iter().filter_map(|provider| match provider {
        Provider::Host(host) => Some(host),
        Provider::Command(_) => None,
    });
    let host = hosts.into_iter().next().unwrap();
    assert_eq!(host.program.command[0], folder.path("python"));
    assert_eq!(host.program.command[6..], ["--dialect", "nuvla", "--python3", "collect_quotas"]);
    assert_eq!(host.program.env["PYTHONPATH"], "/run/package:/opt/lib");
    assert_eq!((host.processes, host.program.limits.memory), (Some(3), Some(1 << 30)));
}

#[test]
fn a_class_file_that_a_manifest_starts_is_no_class_file() {
    let folder = Actions::new();
    for name in ["quotas.py", "tool.py"] {
        folder.put(name, 0o644, "");
    }
    folder.put("m.toml", 0o644, "[[action]]\nname = \"a\"\ncommand = [\"python3\", \"./tool.py\"]\n");
    let found = folder.read();
    let [Provider::Command(_), Provider::Host(host)] = &found.providers[..] else { panic!("{found:?}") };
    assert_eq!(host.program.command[5..], [folder.path("").as_os_str(), "--without".as_ref(), "tool.py".as_ref()]);
    fs::remove_file(folder.path("quotas.py")).unwrap();
    let found = folder.read();
    assert!(matches!(found.providers[..], [Provider::Command(_)]), "{found:?}");
}

#[test]
fn class_files_without_their_interpreter_or_with_two_are_told() {
    let folder = Actions::new();
    folder.put("quotas.py", 0o644, "");
    folder.put("a.toml", 0o644, "[python]\ninterpreter = \"no-such-python\"\n");
    let failed = folder.failed();
    let [(name, Some(2), reason)] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!(name, "a.toml");
    assert!(
        reason.starts_with("cannot start no-such-python: no program of this name is found in PATH; name"),
        "{reason}"
    );
    folder.put("b.toml", 0o644, "\n[python]\n");
    let failed = folder.failed();
    let [(one, Some(1), first), (other, Some(2), second)] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!([one, other], ["a.toml", "b.toml"]);
    assert!(first.contains("b.toml:2 says how, too") && second.contains("a.toml:1 says how, too"), "{failed:?}");
}

#[test]
fn two_files_of_one_name_are_refused_naming_both() {
    let (one, other) = (Actions::new(), Actions::new());
    one.script("a.sh");
    one.script("good.sh");
    other.script("a");
    other.script("tool");
    other.put("m.toml", 0o644, "[[action]]\nname = \"a\"\ncommand = [\"./tool\"]\n");
    let found = read(&[&one, &other]);
    assert_eq!(names(&found), ["good"]);
    let mut told: Vec<_> = found.failed.iter().map(|failed| (name_of(&failed.file), failed.line)).collect();
    told.sort();
    assert_eq!(told, [("a".to_owned(), None), ("a.sh".to_owned(), None), ("m.toml".to_owned(), Some(1))]);
    let first = found.failed.iter().find(|failed| failed.file == one.path("a.sh")).unwrap();
    let expected = format!(
        "the action `a` is also in {} and {}:1: rename or remove one",
        other.path("a").display(),
        other.path("m.toml").display()
    );
    assert_eq!(first.reason, expected);
    assert_eq!(names(&read(&[&one, &one])), ["a", "good"], "a folder that is named twice is read once");
}

#[test]
fn a_name_is_taken_also_by_a_table_that_is_wrong() {
    let folder = Actions::new();
    folder.script("tool");
    let right = "[[action]]\nname = \"a\"\ncommand = [\"./tool\"]\n";
    for (wrong, line) in [
        ("[[action]]\nname = \"a\"\ncommand = [\"./tool\"]\nmemory = 1\n", 4),
        ("[[action]]\nname = \"a\"\ncommand = [\"./gone\"]\n\n", 3),
    ] {
        for text in [format!("{wrong}{right}"), format!("{right}\n{wrong}")] {
            folder.put("m.toml", 0o644, &text);
            assert_eq!(names(&folder.read()), Vec::<String>::new(), "which of them is meant nobody can tell");
            let failed = folder.failed();
            let lines: Vec<_> = failed.iter().map(|(_, line, _)| line.unwrap()).collect();
            let expected = if text.starts_with(wrong) { [1, line, 5] } else { [1, 5, 4 + line] };
            assert_eq!(lines, expected, "{failed:#?}");
            assert!(failed[0].2.starts_with("the action `a` is also in "), "{failed:?}");
        }
    }
}

#[test]
fn of_a_table_that_is_wrong_the_interpreter_is_looked_for_too() {
    let folder = Actions::new();
    folder.put("quotas.py", 0o644, "");
    folder.put("m.toml", 0o644, "[python]\ndialect = 1\ninterpreter = \"no-such-python\"\n");
    let failed = folder.failed();
    assert_eq!(failed.iter().map(|(_, line, _)| *line).collect::<Vec<_>>(), [Some(2), Some(3)], "{failed:?}");
    folder.put("m.toml", 0o644, "[python]\ndialect = 1\ninterpreter = \"sh\"\n");
    assert_eq!((names(&folder.read()), folder.failed().len()), (Vec::new(), 1));
}

#[test]
fn of_a_folder_one_file_can_be_read_alone() {
    let folder = Actions::new();
    for name in ["a.sh", "b.sh", "greeter"] {
        folder.script(name);
    }
    folder.put("quotas.py", 0o644, "");
    folder.put(
        "m.toml",
        0o644,
        "[[action]]\nname = \"x\"\ncommand = [\"./b.sh\"]\n[[host]]\ncommand = [\"./greeter\"]\n",
    );
    let only = |name: &str| {
        let settings = Settings {
            folders: vec![folder.path("")],
            only: Some(folder.path(name)),
            python: DEFAULT_PYTHON.into(),
            package: PathBuf::new(),
        };
        names(&read_folders(&settings))
    };
    assert_eq!(only("a.sh"), ["a"]);
    assert_eq!(only("b.sh"), ["x"]);
    assert_eq!(only("greeter"), ["greeter"]);
    assert_eq!(only("m.toml"), ["x", "greeter"]);
    assert_eq!(only("quotas.py"), ["python3"]);
    assert_eq!(only("missing"), Vec::<String>::new());
}

#[test]
fn everything_wrong_is_told_at_once_and_the_rest_is_read() {
    let folder = Actions::new();
    folder.script("good.sh");
    folder.put("a_text.bin", 0o755, "no program\n");
    folder.put("b_lost.sh", 0o755, "#!/no/such/shell\n");
    folder.put("c_off.sh", 0o644, "#!/bin/sh\n");
    folder.script("d_open.sh");
    folder.set("d_open.sh", 0o757);
    folder.script("e name.sh");
    symlink("nowhere", folder.path("f_link.sh")).unwrap();
    folder.put(
        "g.toml",
        0o644,
        "[[action]]\nname = \"g\"\ncommand = [\"./g.sh\"]\nmemory = \"1 G\"\n[[host]]\ncommand = [\"no-such-host\"]\n",
    );
    folder.put(
        "h.toml",
        0o644,
        "[[action]]\nname = \"h\"\ncommand = [\"good.sh\"]\n[[action]]\nname = \"i\"\ncommand = [\"./i.sh\"]\n",
    );
    fs::write(folder.path("j.toml"), b"# gr\xfc\xdfe\n").unwrap();
    folder.put("k.toml", 0o666, "");
    folder.put("l.toml", 0o644, "");
    let found = folder.read();
    assert_eq!(names(&found), ["good"]);
    let expected = [
        ("a_text.bin", None, "it is no program"),
        ("b_lost.sh", None, "its interpreter /no/such/shell is not there"),
        ("c_off.sh", None, "it is not executable: chmod +x"),
        ("d_open.sh", None, "everybody may write it: chmod o-w"),
        ("e name.sh", None, "`e name` is not the name of an action"),
        ("f_link.sh", None, "it is a link that leads nowhere"),
        ("g.toml", Some(3), "/g.sh: No such file"),
        ("g.toml", Some(4), "`memory`: `1 G` is not a size"),
        ("g.toml", Some(6), "cannot start no-such-host: no program of this name is found in PATH"),
        ("h.toml", Some(3), "is found in PATH, write ./good.sh for the file beside this one"),
        ("h.toml", Some(6), "/i.sh: No such file"),
        ("j.toml", Some(1), "not UTF-8"),
        ("k.toml", None, "everybody may write it"),
        ("l.toml", Some(1), "it says nothing, write `[[action]]`"),
    ];
    let failed = folder.failed();
    assert_eq!(failed.len(), expected.len(), "{failed:#?}");
    for ((name, line, reason), expected) in failed.iter().zip(expected) {
        assert_eq!((&**name, *line), (expected.0, expected.1), "{reason}");
        assert!(reason.contains(expected.2), "{name}: {reason}");
    }
}

#[test]
fn what_class_files_load_is_trusted_as_a_whole_or_not_at_all() {
    for helper in ["_util.py", "__init__.py", "other.py", "__pycache__"] {
        let folder = Actions::new();
        folder.script("good.sh");
        folder.put("quotas.py", 0o644, "");
        if helper == "__pycache__" {
            fs::create_dir(folder.path(helper)).unwrap();
        } else {
            folder.put(helper, 0o644, "");
        }
        folder.set(helper, 0o755);
        assert_eq!(names(&folder.read()), ["good", "python3"], "{helper}");
        folder.set(helper, 0o757);
        let found = folder.read();
        assert_eq!((names(&found), found.failed.len()), (vec!["good".to_owned()], 2), "{helper}: {:?}", found.failed);
        let whole = &found.failed[0];
        assert_eq!(whole.file, folder.path(""));
        assert!(whole.reason.ends_with(&format!("none is loaded because of {helper}")), "{}", whole.reason);
    }
}

#[test]
fn a_folder_that_others_may_write_offers_nothing_and_a_missing_one_is_no_fault() {
    let folder = Actions::new();
    folder.script("a.sh");
    folder.set("", 0o777);
    let found = folder.read();
    assert_eq!(found.providers, []);
    let [FailedToLoad { file, line: None, reason }] = &found.failed[..] else { panic!("{found:?}") };
    assert_eq!((file, reason), (&folder.path(""), &format!("everybody may write it: chmod o-w {}", file.display())));
    folder.set("", 0o755);
    let settings = |path: PathBuf| Settings {
        folders: vec![path],
        only: None,
        python: DEFAULT_PYTHON.into(),
        package: PathBuf::new(),
    };
    assert_eq!(read_folders(&settings(folder.path("missing"))), Found::default());
    let found = read_folders(&settings(folder.path("a.sh")));
    assert!(found.failed[0].reason.starts_with("cannot read it: Not a directory"), "{found:?}");
}

#[test]
fn what_is_no_regular_file_is_told_and_never_opened() {
    let folder = Actions::new();
    folder.script("backup.sh");
    folder.put("quotas.py", 0o644, "");
    for (name, mode) in [("m.toml", 0o644), ("pipe", 0o755), ("other", 0o644), ("pipe.py", 0o644), ("pipe.bak", 0o755)]
    {
        mknodat(CWD, folder.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        folder.set(name, mode);
    }
    assert_eq!(names(&folder.read()), ["backup"]);
    let mut failed = folder.failed();
    let class_files = failed.remove(0);
    assert!(class_files.2.ends_with("none is loaded because of pipe.py"), "{class_files:?}");
    let special = |name: &str| (name.to_owned(), None, "it is no regular file".to_owned());
    assert_eq!(failed, ["m.toml", "other", "pipe", "pipe.py"].map(special));
}
