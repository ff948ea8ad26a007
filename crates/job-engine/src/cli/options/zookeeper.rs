//! Where `ZooKeeper` is and how one is let in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use secrecy::SecretString;
use slipstream_coordination::zookeeper::{Login, Scheme, Settings, Tls};

use super::parse_duration;
use crate::cli::faults::both;
use crate::cli::secrets;
use crate::cli::secrets::{ZK_PASSWORD_FILE_VARIABLE, ZK_PASSWORD_VARIABLE};
use crate::roles::peers;

/// The original's.
const DEFAULT_HOSTS: &str = "127.0.0.1:2181";

/// Flags of everything that works with a `ZooKeeper` ensemble.
#[derive(Debug, Args)]
#[command(next_help_heading = "ZooKeeper")]
pub struct ZooKeeperArguments {
    // an id is one for all that a command is made of; what was no other option's prefix in the original engines stays one of this
    /// Servers, host:port,host:port, with an optional /folder after the last one
    #[arg(
        id = "zk-hosts",
        long = "zk-hosts",
        aliases = ["z", "zk", "zk-"],
        value_name = "HOSTS",
        num_args = 1..,
        action = ArgAction::Set,
        default_value = DEFAULT_HOSTS,
        env = "SLIPSTREAM_ZK_HOSTS"
    )]
    hosts: Vec<String>,
    /// Session time-out, after which a lost process's claims are free; longer than the ensemble's own elections take
    #[arg(
        id = "zk-session-timeout",
        long = "zk-session-timeout",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_duration,
        env = "SLIPSTREAM_ZK_SESSION_TIMEOUT"
    )]
    session_timeout: Duration,
    /// User name, if there is one
    #[arg(id = "zk-user", long = "zk-user", value_name = "NAME", env = "SLIPSTREAM_ZK_USER")]
    user: Option<String>,
    #[arg(
        id = "zk-pass-file",
        long = "zk-pass-file",
        value_name = "FILE",
        env = ZK_PASSWORD_FILE_VARIABLE,
        help = "Read the password from the first line of this file, and not from SLIPSTREAM_ZK_PASS"
    )]
    password_file: Option<OsString>,
    /// Not an option: it would be taken for a prefix, and the password for the name of a file, which errors show.
    #[arg(id = "zk-pass", long = "zk-pass", hide = true, value_parser = secrets::parser())]
    password: Option<SecretString>,
    /// How to log in
    #[arg(
        id = "zk-scheme",
        long = "zk-scheme",
        value_name = "SCHEME",
        value_enum,
        default_value = "sasl",
        env = "SLIPSTREAM_ZK_SCHEME"
    )]
    scheme: LoginScheme,
    /// Create nodes that only this user may read and change; for all processes or for none
    #[arg(id = "zk-protect", long = "zk-protect", env = "SLIPSTREAM_ZK_PROTECT", value_parser = FalseyValueParser::new())]
    protect: bool,
    /// Use TLS; the servers' certificates are signed by one of these (PEM)
    #[arg(id = "zk-ca", long = "zk-ca", value_name = "FILE", env = "SLIPSTREAM_ZK_CA")]
    authorities: Option<OsString>,
    /// Certificate of this process (PEM), if the servers ask for one
    #[arg(id = "zk-certificate", long = "zk-certificate", value_name = "FILE", env = "SLIPSTREAM_ZK_CERTIFICATE")]
    certificate: Option<OsString>,
    /// Key of that certificate (PEM)
    #[arg(id = "zk-key", long = "zk-key", value_name = "FILE", env = "SLIPSTREAM_ZK_KEY")]
    key: Option<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LoginScheme {
    /// The ensemble knows its users (SASL with DIGEST-MD5)
    Sasl,
    /// The ensemble takes any user (access control lists of the scheme digest)
    Digest,
}

impl ZooKeeperArguments {
    /// The settings, with what is in the files; the password of the environment counts if no file has one.
    pub fn settings(self, password: Option<SecretString>) -> anyhow::Result<Settings> {
        // each may come with the comma that people set between them
        let hosts: Vec<&str> = self.hosts.iter().map(|host| host.trim().trim_end_matches(',')).collect();
        let hosts = hosts.join(",");
        let hosts = if hosts.is_empty() { DEFAULT_HOSTS.to_owned() } else { hosts };
        let login = match self.password {
            Some(_) => Err(anyhow!(
                "arguments are visible to all users: give ZooKeeper's password with --zk-pass-file or \
                     {ZK_PASSWORD_VARIABLE}"
            )),
            None => login(self.user, self.password_file, password, self.scheme, self.protect),
        };
        let others = both(login, tls(self.authorities, self.certificate, self.key));
        let (hosts, (login, tls)) = both(sound(hosts, self.session_timeout), others)?;
        Ok(Settings { hosts, session_timeout: self.session_timeout, login, tls })
    }
}

/// The hosts, if they and the time-out can be, whatever else is wrong.
fn sound(hosts: String, session_timeout: Duration) -> anyhow::Result<String> {
    if hosts.contains('@') {
        bail!("an address of ZooKeeper has no user and no password: use --zk-user and --zk-pass-file");
    }
    peers::ensemble(Settings { session_timeout, ..Settings::new(&hosts) })?;
    Ok(hosts)
}

fn login(
    user: Option<String>,
    password_file: Option<OsString>,
    password: Option<SecretString>,
    scheme: LoginScheme,
    protects: bool,
) -> anyhow::Result<Option<Login>> {
    let password = match given(password_file) {
        Some(file) => Some(secrets::from_file(&file)?),
        None => password,
    };
    let user = user.filter(|user| !user.is_empty());
    let scheme = match scheme {
        LoginScheme::Sasl => Scheme::Sasl,
        LoginScheme::Digest => Scheme::Digest,
    };
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(Login { scheme, user, password, protects })),
        (Some(user), None) => {
            bail!("no password of ZooKeeper's user {user}: give it with --zk-pass-file or {ZK_PASSWORD_VARIABLE}")
        }
        (None, Some(_)) => bail!("a password for ZooKeeper needs a user: give one with --zk-user"),
        (None, None) if protects => bail!("protected nodes need a user: give one with --zk-user"),
        (None, None) => Ok(None),
    }
}

fn tls(
    authorities: Option<OsString>,
    certificate: Option<OsString>,
    key: Option<OsString>,
) -> anyhow::Result<Option<Tls>> {
    let (certificate, key) = (given(certificate), given(key));
    let has_identity = certificate.is_some() && key.is_some();
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => both(text(&certificate), text(&key)).map(Some),
        (None, None) => Ok(None),
        (Some(_), None) => Err(anyhow!("a certificate for ZooKeeper needs its key: give it with --zk-key")),
        (None, Some(_)) => Err(anyhow!("a key for ZooKeeper needs its certificate: give it with --zk-certificate")),
    };
    let authorities = match given(authorities) {
        Some(authorities) => text(&authorities).map(Some),
        None if has_identity => {
            Err(anyhow!("a certificate for ZooKeeper needs those of its servers' authorities: give them with --zk-ca"))
        }
        None => Ok(None),
    };
    let (authorities, identity) = both(authorities, identity)?;
    let identity = identity.map(|(certificate, key)| (certificate, SecretString::from(key)));
    Ok(authorities.map(|authorities| Tls { authorities, identity }))
}

/// An environment variable that is set to nothing gives nothing.
fn given(path: Option<OsString>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}, check its name and permissions", path.display()))
}

#[cfg(test)]
mod tests;
