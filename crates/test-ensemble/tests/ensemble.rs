//! What tests rely on when they rely on an ensemble.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use slipstream_test_ensemble::{Ensemble, Fault, Proxy};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_mins(1);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("this should have ended long ago")
}

/// What a server says of itself.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    stream.writable().await?;
    stream.try_write(b"srvr")?;
    let mut answer = Vec::new();
    loop {
        match read(&stream).await? {
            bytes if bytes.is_empty() => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            bytes => answer.extend(bytes),
        }
    }
}

fn mode(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).unwrap_or("none")
}

#[tokio::test]
async fn one_member_serves_and_goes_with_its_folder() {
    let ensemble = Ensemble::start_with(1, &[("maxClientCnxns", "7")], &[]).await;
    let (address, process) = (ensemble.addresses()[0], ensemble.process_id(0));
    assert_eq!(ensemble.hosts(), address.to_string());
    assert_eq!(mode(&within(ask(address)).await.unwrap()), "standalone");
    let folder = std::fs::read_link(format!("/proc/{process}/cwd")).unwrap();
    assert!(folder.join("zoo.cfg").exists());
    drop(ensemble);
    assert!(!std::fs::exists(format!("/proc/{process}")).unwrap());
    assert!(!folder.parent().unwrap().exists());
    assert_eq!(within(ask(address)).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_member_comes_back_at_its_address_whatever_others_bound() {
    let mut ensemble = Ensemble::start(1).await;
    let address = ensemble.addresses()[0];
    ensemble.kill(0);
    let mut others = Vec::new();
    for _ in 0..1000 {
        others.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    assert!(others.iter().all(|other| other.local_addr().unwrap() != address));
    ensemble.restart(0).await;
    assert_eq!(mode(&within(ask(address)).await.unwrap()), "standalone");
}

#[tokio::test]
async fn three_members_elect_a_leader_and_another_one_when_it_is_gone() {
    let mut ensemble = Ensemble::start(3).await;
    let first = within(elected(&ensemble)).await;
    ensemble.kill(first);
    within(ensemble.wait_until_serving()).await;
    let second = within(elected(&ensemble)).await;
    assert_ne!(first, second);
    ensemble.restart(first).await;
    assert_eq!(within(elected(&ensemble)).await, second);
    ensemble.wipe().await;
    within(elected(&ensemble)).await;
    ensemble.kill(0);
    ensemble.kill(1);
    within(async { while ensemble.leader().await.is_some() {} }).await;
}

/// Who leads, once somebody does: members of a leader that was just killed may answer for a moment longer.
async fn elected(ensemble: &Ensemble) -> usize {
    loop {
        if let Some(leader) = ensemble.leader().await {
            return leader;
        }
    }
}

/// The process that is killed is this test once more.
#[tokio::test]
async fn an_ensemble_goes_with_a_process_that_is_killed() {
    const NAME: &str = "an_ensemble_goes_with_a_process_that_is_killed";
    const INNER: &str = "SLIPSTREAM_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        let ensemble = Ensemble::start(1).await;
        println!("serving {}", ensemble.process_id(0));
        std::future::pending::<()>().await;
    }
    let mut inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(INNER, "")
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(inner.stdout.take().unwrap()).lines();
    let server = lines.find_map(|line| Some(line.ok()?.split_once("serving ")?.1.to_owned())).unwrap();
    let process = Path::new("/proc").join(server);
    let folder = std::fs::read_link(process.join("cwd")).unwrap();
    // as somebody does who interrupts a test in a terminal, but harder
    let group = format!("-{}", inner.id());
    assert!(Command::new("sh").args(["-c", r#"kill -s KILL -- "$1""#, "signal", &group]).status().unwrap().success());
    inner.wait().unwrap();
    within(async {
        while process.exists() || folder.parent().unwrap().exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A connection through a proxy, and its other end.
async fn connection(proxy: &Proxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (client, within(target.accept()).await.unwrap().0)
}

/// Sends a word and waits until it is there.
async fn passes(from: &TcpStream, to: &TcpStream) {
    from.try_write(b"word").unwrap();
    assert_eq!(within(read(to)).await.unwrap(), b"word");
}

async fn read(from: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 1024];
    loop {
        from.readable().await?;
        match from.try_read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            length => return length.map(|length| buffer[..length].to_vec()),
        }
    }
}

async fn injects(proxy: &Proxy, at_least: u64) {
    while proxy.injected() < at_least {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cut_resets_and_refuses() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(target.local_addr().unwrap()).await;
    let (client, server) = connection(&proxy, &target).await;
    passes(&client, &server).await;
    passes(&server, &client).await;
    assert_eq!((proxy.injected(), proxy.connections()), (0, 1));
    proxy.set(Fault::Cut);
    for end in [&client, &server] {
        assert_eq!(within(read(end)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.injected(), 1);
    assert_eq!(TcpStream::connect(proxy.address()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.set(Fault::None);
    let (client, server) = loop {
        match TcpStream::connect(proxy.address()).await {
            Ok(client) => break (client, within(target.accept()).await.unwrap().0),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    passes(&client, &server).await;
    drop(client);
    assert_eq!(within(read(&server)).await.unwrap(), b"", "an end that somebody wished is passed on as one");
}

#[tokio::test]
async fn half_open_connections_stay_and_swallow() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(target.local_addr().unwrap()).await;
    let (client, server) = connection(&proxy, &target).await;
    let (untouched, its_server) = connection(&proxy, &target).await;
    proxy.set(Fault::HalfOpen);
    client.try_write(b"word").unwrap();
    server.try_write(b"word").unwrap();
    within(injects(&proxy, 2)).await;
    let (new, _its_server) = connection(&proxy, &target).await;
    new.try_write(b"word").unwrap();
    within(injects(&proxy, 3)).await;
    for end in [&client, &server, &untouched, &new] {
        assert_eq!(end.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    proxy.set(Fault::None);
    for end in [&client, &server, &new] {
        assert_eq!(within(read(end)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    passes(&untouched, &its_server).await;
}

#[tokio::test]
async fn answers_are_lost_and_requests_pass() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(target.local_addr().unwrap()).await;
    let (client, server) = connection(&proxy, &target).await;
    proxy.set(Fault::LoseAnswers);
    passes(&client, &server).await;
    server.try_write(b"word").unwrap();
    within(injects(&proxy, 1)).await;
    drop(server);
    within(injects(&proxy, 2)).await;
    assert_eq!(client.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.set(Fault::None);
    assert_eq!(within(read(&client)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_kept() {
    const DELAY: Duration = Duration::from_secs(1);
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(target.local_addr().unwrap()).await;
    let (client, server) = connection(&proxy, &target).await;
    proxy.set(Fault::Delay(DELAY));
    let start = tokio::time::Instant::now();
    client.try_write(b"word").unwrap();
    assert_eq!(read(&server).await.unwrap(), b"word");
    assert!(start.elapsed() >= DELAY);
    assert_eq!(proxy.injected(), 1);
}
