//! The options of the original engines that say which server is meant, and who asks.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::secrets;
use crate::process::password_file;

/// Which server, and as whom. An id is one for all that a command is made of.
#[derive(Debug, Args)]
pub struct LoginOptions {
    /// Address of the API
    #[arg(id = "ss-url", long = "ss-url", value_name = "URL", env = "SLIPSTREAM_URL")]
    pub url: Option<String>,
    /// User name
    #[arg(id = "ss-user", long = "ss-user", value_name = "NAME", env = "SLIPSTREAM_USER")]
    pub user: Option<String>,
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
    pub password: Option<SecretString>,
    /// Read the password from the first line of this file
    #[arg(id = "ss-pass-file", long = "ss-pass-file", value_name = "FILE", env = "SLIPSTREAM_PASS_FILE")]
    pub password_file: Option<OsString>,
    /// Do not check the server's certificate
    #[arg(id = "ss-insecure", long = "ss-insecure")]
    pub is_insecure: bool,
}

/// An address is shown in errors and logs, and so would be what stands in it.
pub fn without_user(address: &str) -> anyhow::Result<()> {
    if address.contains('@') {
        bail!("the address must not have a user or password: use --ss-user and --ss-pass-file");
    }
    Ok(())
}

impl LoginOptions {
    /// The password that is given, if one is; a file counts more, and a unit's credential less.
    pub fn password(&self) -> anyhow::Result<Option<SecretString>> {
        if let Some(file) = self.password_file.as_ref().filter(|file| !file.is_empty()) {
            return secrets::from_file(Path::new(file)).map(Some);
        }
        if let Some(password) = self.password.clone().filter(|password| !password.expose_secret().is_empty()) {
            return Ok(Some(password));
        }
        password_file::credential().map(|file| secrets::from_file(&file)).transpose()
    }
}
