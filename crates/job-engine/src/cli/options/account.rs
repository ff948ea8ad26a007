//! Which server a service works with, and as whom.

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use slipstream_cimi::Credentials;

use super::login::{LoginOptions, without_user};
use crate::cli::faults::both;
use crate::roles::peers::Account;

/// Flags of the services that work with a server.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Server",
    mut_arg("ss-url", |url| url.help("Address of the server")),
    mut_arg("ss-user", |user| {
        user.help("User name of an administrator").value_parser(NonEmptyStringValueParser::new())
    })
)]
pub struct AccountArguments {
    #[command(flatten)]
    login: LoginOptions,
}

impl AccountArguments {
    /// The server that is named, with the password that was found.
    pub fn account(self) -> anyhow::Result<Account> {
        let password = self.login.password();
        let LoginOptions { url, user, is_insecure, .. } = self.login;
        let password = password.and_then(|password| {
            password.with_context(|| {
                let whose = user.as_ref().map(|user| format!(" of the user {user}")).unwrap_or_default();
                format!("no password{whose}: give it with --ss-pass-file, --ss-pass or SLIPSTREAM_PASS")
            })
        });
        // not required by the parser: without it nothing else would be told
        let user = user.context("no user given: name an administrator with --ss-user or SLIPSTREAM_USER");
        let ((endpoint, username), password) = both(both(endpoint(url), user), password)?;
        Ok(Account { endpoint, credentials: Credentials { username, password }, is_insecure })
    }
}

/// A site of somebody else would be told the password.
fn endpoint(url: Option<String>) -> anyhow::Result<String> {
    let Some(endpoint) = url.filter(|url| !url.is_empty()) else {
        bail!("no server given: name it with --ss-url or SLIPSTREAM_URL")
    };
    without_user(&endpoint)?;
    Ok(endpoint)
}
