//! Which server a service works with, and as whom; the options of the original engines.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use secrecy::{ExposeSecret, SecretString};
use slipstream_cimi::Credentials;

use super::secrets;
use crate::roles::peers::Account;

/// Flags of the services that work with a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct AccountArguments {
    /// Where the server is
    #[arg(id = "ss-url", long = "ss-url", value_name = "URL", env = "SLIPSTREAM_URL")]
    url: Option<String>,
    /// User name; an administrator's
    #[arg(
        id = "ss-user",
        long = "ss-user",
        value_name = "NAME",
        required = true,
        env = "SLIPSTREAM_USER",
        value_parser = NonEmptyStringValueParser::new()
    )]
    user: String,
    // what was no other option's prefix in the original engines stays one of this
    /// Password
    #[arg(
        id = "ss-pass",
        long = "ss-pass",
        aliases = ["ss-p", "ss-pa", "ss-pas"],
        value_name = "PASSWORD",
        env = "SLIPSTREAM_PASS",
        hide_env_values = true,
        value_parser = secrets::parser()
    )]
    password: Option<SecretString>,
    /// Read the password from the first line of this file
    #[arg(id = "ss-pass-file", long = "ss-pass-file", value_name = "FILE", env = "SLIPSTREAM_PASS_FILE")]
    password_file: Option<OsString>,
    /// Do not check the server's certificate
    #[arg(id = "ss-insecure", long = "ss-insecure")]
    is_insecure: bool,
}

impl AccountArguments {
    /// The server that is named, with the password that was found.
    pub fn account(self) -> anyhow::Result<Account> {
        // a site of somebody else would be told the password
        let Some(url) = self.url.filter(|url| !url.is_empty()) else {
            bail!("there is no server named: give its address with --ss-url or SLIPSTREAM_URL")
        };
        if url.contains('@') {
            bail!("an address holds no user and no password: use --ss-user and --ss-pass-file");
        }
        let password = match (self.password_file.filter(|file| !file.is_empty()), self.password) {
            (Some(file), _) => secrets::from_file(Path::new(&file))?,
            (None, Some(password)) if !password.expose_secret().is_empty() => password,
            (None, _) => {
                let user = self.user;
                bail!("no password of the user {user}: give it with --ss-pass-file, --ss-pass or SLIPSTREAM_PASS")
            }
        };
        Ok(Account {
            endpoint: url,
            credentials: Credentials { username: self.user, password },
            is_insecure: self.is_insecure,
        })
    }
}
