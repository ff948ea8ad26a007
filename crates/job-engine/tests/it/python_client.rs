//! The unmodified `slipstream-api` 3.71.1 from `PyPI` as a peer. `cargo xtask test` installs it and names its Python.

use std::path::Path;
use std::process::Command;

use slipstream_job_engine::stop::Stop;
use tokio::net::TcpListener;

use crate::support::{InProcess, PASSWORD};

/// Without an executor: the states of its jobs are the client's alone to change.
#[tokio::test(flavor = "multi_thread")]
async fn the_original_python_client_works_unchanged() {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names the Python with slipstream-api: run the tests by `cargo xtask test`");
    let engine = InProcess::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let stop = Stop::new();
    let serving = tokio::spawn({
        let (server, stop) = (engine.server.clone(), stop.clone());
        async move { server.serve(listener, stop).await }
    });
    let client = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/slipstream_api_client.py");
        let arguments = [&endpoint, "super", PASSWORD];
        Command::new(python).arg(script).args(arguments).env("HOME", folder.path()).output().expect("Python starts")
    });
    let output = client.await.expect("no panic");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(said.lines().last(), Some("ok"), "{said}\n{complained}");
    assert!(said.lines().count() > 20, "the script does its steps: {said}");
    stop.ask();
    serving.await.expect("no panic");
}
