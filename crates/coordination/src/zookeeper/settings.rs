//! [`Settings`]: where an ensemble is, and who asks.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use zookeeper_client::{Client, Connector, SaslOptions, TlsOptions};

/// Where an ensemble is, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port,host:port`, with a folder behind the last one (`/chroot`) if everything lies in that. Ports may be left
    /// out; an IPv6 address with a port is in brackets.
    pub hosts: String,
    /// How long a session lives without being heard of: from then on others may have what it held. The ensemble may
    /// choose another one.
    pub session_timeout: Duration,
    /// Who asks; without one, anybody.
    pub login: Option<Login>,
    /// How the connection is secured, if it is.
    pub tls: Option<Tls>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Login {
    /// How the password is shown to the ensemble.
    pub scheme: Scheme,
    /// Name of the user.
    pub user: String,
    /// Password of the user.
    pub password: SecretString,
    /// Whether nodes are made so that nobody else may read or change them. Only if everybody has this login: the
    /// original engines have none.
    pub protects: bool,
}

/// How a password is shown to an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With each connection, for access control lists of the scheme `digest`. The ensemble takes any user.
    Digest,
    /// SASL with DIGEST-MD5: the ensemble knows its users.
    Sasl,
}

/// How the connection is secured. Texts in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Certificates of those who may sign the servers' certificates.
    pub authorities: String,
    /// Certificate (X.509 v3) and key of this client, if the servers ask for one.
    pub identity: Option<(String, SecretString)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Something among the hosts that is none.
    #[error(
        "`{0}` is not an address of ZooKeeper: give host:port,host:port and at most one /folder at the end, IPv6 as \
             [::1]:2181"
    )]
    Hosts(String),
    /// Certificates or key.
    #[error("cannot use the certificates for ZooKeeper")]
    Certificates(#[source] zookeeper_client::Error),
    /// A session that is too short or too long to be.
    #[error("a session time-out is from 100 ms to 1 hour")]
    SessionTimeout,
}

impl Settings {
    /// An ensemble that anybody may use, by a session of 10 seconds.
    #[must_use]
    pub fn new(hosts: &str) -> Self {
        Self { hosts: hosts.to_owned(), session_timeout: Duration::from_secs(10), login: None, tls: None }
    }

    pub(super) fn protects(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.protects)
    }

    /// The library's own settings, all of them checked.
    pub(super) fn connector(&self) -> Result<Connector, SettingsError> {
        if !(Duration::from_millis(100)..=Duration::from_hours(1)).contains(&self.session_timeout) {
            return Err(SettingsError::SessionTimeout);
        }
        let connector = Client::connector().with_session_timeout(self.session_timeout).with_fail_eagerly();
        let connector = match &self.login {
            None => connector,
            Some(Login { scheme: Scheme::Digest, user, password, .. }) => {
                connector.with_auth("digest", format!("{user}:{}", password.expose_secret()).as_bytes())
            }
            Some(Login { scheme: Scheme::Sasl, user, password, .. }) => {
                connector.with_sasl(SaslOptions::digest_md5(user.clone(), password.expose_secret().to_owned()))
            }
        };
        let Some(tls) = &self.tls else { return Ok(connector) };
        let options = TlsOptions::new().with_pem_ca(&tls.authorities).map_err(SettingsError::Certificates)?;
        let options = match &tls.identity {
            None => options,
            Some((certificate, key)) => {
                options.with_pem_identity(certificate, key.expose_secret()).map_err(SettingsError::Certificates)?
            }
        };
        Ok(connector.with_tls(options))
    }
}
