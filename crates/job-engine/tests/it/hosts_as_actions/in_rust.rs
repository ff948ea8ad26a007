//! A host in Rust: its actions ask the API by the executor's socket.

use std::path::PathBuf;
use std::process::ExitCode;

use slipstream_action::{Failure, JobHandle, Success, host};
use slipstream_job_engine::internals::programs::ApiSocket;

use super::*;
use crate::support::document;

/// Says to a process of this very binary that it is to be a host.
const HOST: &str = "TEST_IS_A_HOST";
/// The test that is the host when that is set.
const TEST: &str = "hosts_as_actions::in_rust::this_binary_is_a_host_when_it_is_told_so";

/// Reads its target, changes its own job, and is refused something.
async fn act(job: JobHandle) -> Result<Success, Failure> {
    let target = job.job().target_resource.clone().ok_or_else(|| Failure::new("it has no target"))?.href;
    let found = job.client().get(&target).await?;
    let changes = document(json!({ "description": format!("for {}", found["username"]) }));
    job.client().edit(&job.job().id, &changes, &[]).await?;
    job.add_affected_resource(&target);
    let Err(refused) = job.client().get("job/none").await else { return Err(Failure::new("there is no such job")) };
    let status = refused.refusal().map(|refusal| refusal.status);
    Ok(Success { return_code: Some(3), message: Some(format!("{status:?}")) })
}

#[test]
fn this_binary_is_a_host_when_it_is_told_so() {
    if std::env::var_os(HOST).is_some() {
        assert_eq!(host::run(Catalogue::new().with("act", act)), ExitCode::SUCCESS);
    }
}

#[tokio::test]
async fn a_host_in_rust_asks_the_api_by_the_socket() {
    let folder = tempfile::tempdir().expect("made");
    let this = std::env::current_exe().expect("this binary has a path");
    let program = Program {
        command: vec![this.clone().into(), "--exact".into(), TEST.into(), "--nocapture".into()],
        file: this,
        env: BTreeMap::from([(HOST.to_owned(), String::new())]),
        pass_env: Vec::new(),
        limits: Limits::default(),
    };
    let socket = ApiSocket::start_in(&[PathBuf::from("/tmp")]).expect("it listens");
    let context = Context { api_socket: Some(socket), ..Acting::context(&folder) };
    let world = World::of(folder, program, context, Said::default()).await;
    let job = document(json!({"action": "act", "targetResource": {"href": "user/super"}}));
    let mut processes = BTreeSet::new();
    for _ in 0..2 {
        let id = world.engine.client.add("job", &job, None).await.expect("added");
        let ended = world.ended(&id).await;
        assert_eq!(outcome_of(&ended), success("Some(404)"));
        assert_eq!((&ended["returnCode"], &ended["description"]), (&json!(3), &json!("for \"super\"")));
        assert!(ended["affectedResources"].as_array().expect("an array").contains(&json!({"href": "user/super"})));
        processes.extend(programs(world.folder.path()));
    }
    assert_eq!(processes.len(), 2, "one process with its keeper does both");
    world.close().await;
}
