//! What `up` and `server` say when they start, or cannot.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::anyhow;
use ipnet::IpNet;

use crate::instance::data_dir;
use crate::instance::error::InstanceError;

/// What should be known of a server that listens there and believes these.
pub(super) fn notes(listen: SocketAddr, proxies: &[IpNet]) -> Vec<String> {
    let mut notes = Vec::new();
    if !listen.ip().is_loopback() {
        notes.push(format!("  note          plain HTTP on {listen}: put a proxy with TLS in front of it"));
    }
    if !proxies.is_empty() {
        let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
        notes.push(format!("  note          clients at {} are trusted to act as any user", proxies.join(", ")));
    }
    notes
}

/// How a shell is told where the commands find what runs in this folder, if they do not look there anyway.
pub(super) fn environment_line(folder: &Path) -> Option<String> {
    let is_set = std::env::var_os(data_dir::DATA_DIR_VARIABLE).is_some();
    if !is_set && data_dir::default_path().is_some_and(|default| default == folder) {
        return None;
    }
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let quoted = path.display().to_string().replace('\'', r"'\''");
    Some(format!("\n  export {}='{quoted}'", data_dir::DATA_DIR_VARIABLE))
}

/// The same, with what can be done about it on the command line; `advice` says how another folder is chosen.
pub(super) fn start_error(error: InstanceError, advice: &str) -> anyhow::Error {
    match error {
        InstanceError::InUse { path } => {
            anyhow!("another slipstream-job up or server uses the folder {}: stop it, or {advice}", path.display())
        }
        InstanceError::Make { path, source } => {
            anyhow!(source).context(format!("cannot create the folder {}: {advice}", path.display()))
        }
        InstanceError::Listen { address, source } => {
            let advice = match source.kind() {
                ErrorKind::AddrInUse => "stop what listens there, or choose",
                ErrorKind::AddrNotAvailable => "this machine has no such address, choose",
                ErrorKind::PermissionDenied => "ports below 1024 are for administrators, choose",
                _ => "choose",
            };
            anyhow!(source).context(format!("cannot listen on {address}: {advice} another address with --listen"))
        }
        error => error.into(),
    }
}
