//! [`version`]: what a server says to the four letters `srvr`.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for one server.
const LIMIT: Duration = Duration::from_secs(1);
/// Most servers that are asked.
const MOST: usize = 3;
/// Most of an answer that is read.
const LONGEST: usize = 4 * 1024;

/// The version of the first of these servers that says it.
pub(super) async fn version(hosts: &str) -> Option<String> {
    let hosts = hosts.split_once('/').map_or(hosts, |(hosts, _)| hosts);
    for host in hosts.split(',').take(MOST) {
        if let Ok(Some(said)) = timeout(LIMIT, ask(host)).await {
            return version_in(&said);
        }
    }
    None
}

async fn ask(host: &str) -> Option<String> {
    let stream = TcpStream::connect(host).await.ok()?;
    write_all(&stream, b"srvr").await?;
    let mut said = Vec::new();
    while said.len() < LONGEST {
        stream.readable().await.ok()?;
        match stream.try_read_buf(&mut said) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&said).into_owned())
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        stream.writable().await.ok()?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// `3.9.2` of `Zookeeper version: 3.9.2-e454e8c, built on …`. What is not allowed says so instead.
fn version_in(said: &str) -> Option<String> {
    let line = said.lines().find_map(|line| line.strip_prefix("Zookeeper version: "))?;
    let version: String = line.chars().take_while(|it| it.is_ascii_digit() || *it == '.').take(20).collect();
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SAID: &str = "Zookeeper version: 3.9.2-e454e8c7283100c7caec6dcae2bc82aaecb63023, built on 2024-02-12 20:59 UTC\nMode: standalone\n";

    #[test]
    fn a_version_is_read_where_it_is_said() {
        let rows = [
            (SAID, Some("3.9.2")),
            ("srvr is not executed because it is not in the whitelist.\n", None),
            ("Zookeeper version: unknown\n", None),
            ("", None),
        ];
        for (said, expected) in rows {
            assert_eq!(version_in(said).as_deref(), expected, "{said}");
        }
    }

    #[tokio::test]
    async fn the_next_server_is_asked_where_one_does_not_answer() {
        let [silent, talking] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (silent, talking) = (silent.await.unwrap(), talking.await.unwrap());
        let hosts = format!("{},{}/folder", silent.local_addr().unwrap(), talking.local_addr().unwrap());
        drop(silent);
        let answering = async {
            let (stream, _) = talking.accept().await.unwrap();
            let mut asked = Vec::new();
            while asked != b"srvr" {
                stream.readable().await.unwrap();
                drop(stream.try_read_buf(&mut asked));
            }
            write_all(&stream, SAID.as_bytes()).await.unwrap();
        };
        let (version, ()) = tokio::join!(version(&hosts), answering);
        assert_eq!(version.as_deref(), Some("3.9.2"));
    }
}
