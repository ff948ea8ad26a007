//! Where `ZooKeeper` is, and how Java is told to run it.

use std::path::Path;

/// A class path to use instead of Debian's.
const CLASS_PATH: &str = "SLIPSTREAM_TEST_ZOOKEEPER";

/// Where Debian's packages put what they have of Java.
const FOLDER: &str = "/usr/share/java";

/// What a server loads. The manifest of Debian's archive leaves out what TLS needs, so all of it is listed.
const ARCHIVES: [&str; 14] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "metrics-core",
    "snappy-java",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-epoll",
    "netty-transport-native-unix-common",
];

/// What to say when there is nothing to start.
const MISSING: &str = "run cargo xtask test, which installs it";

/// Starts soon and stays small, at the price of speed; and a transaction is not forced to the disk, as no test cuts the
/// power.
const SPARING: [&str; 5] = [
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dzookeeper.forceSync=no",
    "-Dzookeeper.jmx.log4j.disable=true",
];

/// How Java runs a server.
#[derive(Clone, Debug)]
pub(crate) struct Java {
    arguments: Vec<String>,
}

impl Java {
    /// Little of everything.
    pub(crate) fn sparing(properties: &[(&str, &str)]) -> Self {
        Self::with(&SPARING, properties)
    }

    /// As Java is by itself.
    pub(crate) fn default(properties: &[(&str, &str)]) -> Self {
        Self::with(&[], properties)
    }

    fn with(options: &[&str], properties: &[(&str, &str)]) -> Self {
        let mut arguments: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        arguments.extend(properties.iter().map(|(name, value)| format!("-D{name}={value}")));
        arguments.extend(["-cp".to_owned(), class_path()]);
        Self { arguments }
    }

    /// What comes before the main class on the command line.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Says what is missing when Java cannot be started.
    pub(crate) fn cannot_start(error: &std::io::Error) -> ! {
        panic!("java cannot be started ({error}): {MISSING}")
    }
}

fn class_path() -> String {
    if let Ok(given) = std::env::var(CLASS_PATH) {
        return given;
    }
    let archive = |name: &str| format!("{FOLDER}/{name}.jar");
    assert!(Path::new(&archive(ARCHIVES[0])).exists(), "no {}: {MISSING}", archive(ARCHIVES[0]));
    ARCHIVES.map(archive).join(":")
}
