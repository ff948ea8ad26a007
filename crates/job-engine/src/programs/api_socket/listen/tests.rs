use std::path::PathBuf;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A socket where nobody is admitted.
struct Listening {
    path: PathBuf,
    _serving: AbortOnDropHandle<()>,
    _folder: TempDir,
}

fn listen() -> Listening {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::default())));
    Listening { path, _serving: serving, _folder: folder }
}

/// The fault: a client begins a request and hangs.
#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends() {
    for text in ["", "GET /api/job HTTP/1.1\r\nHo"] {
        let listening = listen();
        let mut client = UnixStream::connect(&listening.path).await.unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        let begun = Instant::now();
        assert_eq!(client.read(&mut [0; 100]).await.unwrap(), 0);
        assert!(begun.elapsed() >= HEAD_TIME);
    }
}

/// The fault: a client takes nothing of its answer.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_cut_off() {
    let (client, server) = UnixStream::pair().unwrap();
    let mut server = Watched::new(server);
    let begun = Instant::now();
    let error = server.write_all(&vec![0; 64 * 1024 * 1024]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() >= TAKE_TIME);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn who_takes_little_by_little_gets_all_of_it() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut server = Watched::new(server);
    let take = async {
        let (mut buffer, mut taken) = (vec![0; 200_000], 0);
        while taken < 2_000_000 {
            sleep(TAKE_TIME / 2).await;
            taken += client.read(&mut buffer).await.unwrap();
        }
    };
    let all = vec![0; 2_000_000];
    let (written, ()) = tokio::join!(server.write_all(&all), take);
    written.unwrap();
}
