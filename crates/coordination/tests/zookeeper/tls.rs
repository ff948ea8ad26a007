//! TLS with an own authority, where client and server show each other who they are.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use slipstream_coordination::Error;
use slipstream_coordination::session::{Mode, Session};
use slipstream_coordination::zookeeper::{Settings, Tls};
use slipstream_test_ensemble::Ensemble;
use tokio::net::TcpSocket;

use crate::support::{connect, create, eventually, exists, open};

/// `openssl`, in this folder.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and certificates that it signed (X.509 v3, for 127.0.0.1).
fn certificates(folder: &Path, authority: &str, names: &[&str]) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
    openssl(folder, &format!("req -x509 {key} -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"));
    std::fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    for name in names {
        openssl(folder, &format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.request"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.request -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 \
                 -extfile extensions -out {name}.pem"
            ),
        );
    }
}

fn tls(folder: &Path, authority: &str, identity: Option<&str>) -> Tls {
    let read = |name: String| std::fs::read_to_string(folder.join(name)).unwrap();
    Tls {
        authorities: read(format!("{authority}.pem")),
        identity: identity.map(|name| (read(format!("{name}.pem")), read(format!("{name}.key")).into())),
    }
}

#[tokio::test]
async fn client_and_server_show_each_other_who_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificates(folder, "ours", &["server", "client"]);
    certificates(folder, "theirs", &["stranger"]);
    let server = ["server.pem", "server.key"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
    std::fs::write(folder.join("store.pem"), server.concat()).unwrap();
    let held = TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    let (port, store, trusted) = (address.port().to_string(), folder.join("store.pem"), folder.join("ours.pem"));
    let settings = [
        ("secureClientPort", port.as_str()),
        ("secureClientPortAddress", "127.0.0.1"),
        ("serverCnxnFactory", "org.apache.zookeeper.server.NettyServerCnxnFactory"),
        ("ssl.clientAuth", "need"),
        ("ssl.keyStore.location", store.to_str().unwrap()),
        ("ssl.trustStore.location", trusted.to_str().unwrap()),
    ];
    let _ensemble = Ensemble::start_with(1, &settings, &[]).await;
    let hosts = address.to_string();
    let settings =
        |tls: Option<Tls>| Settings { tls, session_timeout: Duration::from_secs(5), ..Settings::new(&hosts) };
    // the port of the ensemble is open before this one
    eventually("it listens", async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
    let own = || settings(Some(tls(folder, "ours", Some("client"))));
    // its first handshake may take longer than a session may be silent
    eventually("it shows who it is", async || open(own()).await.is_ok()).await;
    let session = connect(own()).await;
    create(&*session, "/over-tls", Mode::Persistent).await.unwrap();
    let wrong = [
        None,
        Some(tls(folder, "ours", None)),
        Some(tls(folder, "ours", Some("stranger"))),
        Some(tls(folder, "theirs", Some("client"))),
    ];
    for tls in wrong {
        let what = format!("{tls:?}");
        assert!(matches!(open(settings(tls)).await, Err(Error::Unreachable { .. })), "{what}");
    }
    assert!(exists(&*session, "/over-tls").await);
    session.close().await;
}
