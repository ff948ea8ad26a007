use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::test_kill_process;
use tokio::time::interval;

use super::*;
use crate::programs::program::Limits;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let mut pause = interval(Duration::from_millis(10));
    let met = async {
        loop {
            if let Some(met) = condition() {
                return met;
            }
            pause.tick().await;
        }
    };
    timeout(LIMIT, met).await.expect("in time")
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_keeper() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keeper");
    // never says that it has started its program
    fs::write(&file, "#!/bin/sh\necho $$ > new\nmv new pid\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let program = Program {
        command: vec!["true".into()],
        file: file.clone(),
        env: BTreeMap::new(),
        pass_env: Vec::new(),
        limits: Limits::default(),
    };
    let keepers = Keepers::beside_others(file);
    let start = Start {
        keepers: &keepers,
        program: &program,
        directory: folder.path(),
        errors: folder.path().join("errors"),
        stacks: None,
        environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
        log: Log::new("a".to_owned()),
    };
    let said = || fs::read_to_string(folder.path().join("pid")).ok()?.trim().parse().ok().and_then(Pid::from_raw);
    let keeper = tokio::select! {
        started = Process::start(start) => panic!("{started:?}"),
        keeper = until(said) => keeper,
    };
    until(|| test_kill_process(keeper).is_err().then_some(())).await;
}
