//! [`canonical`]: where the servers of an ensemble are, as the library takes it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::SettingsError;
use crate::session::is_path;

/// Port of `ZooKeeper` where none is given.
const PORT: u16 = 2181;
/// Longest name of a host (RFC 1035).
const LONGEST_NAME: usize = 253;

/// `host:port,host:port/folder`, from what people write and kazoo takes: spaces around hosts, ports left out, the folder
/// behind the last host or as the last item. An IPv6 address has a port if it is in brackets only.
pub(super) fn canonical(text: &str) -> Result<String, SettingsError> {
    let (hosts, folder) = text.trim().split_at(text.trim().find('/').unwrap_or(text.trim().len()));
    // the last item of a list
    let hosts = if folder.is_empty() { hosts } else { hosts.trim_end().strip_suffix(',').unwrap_or(hosts) };
    let folder = if folder == "/" { "" } else { folder };
    if !folder.is_empty() && (!is_path(folder) || folder.contains(',')) {
        return Err(SettingsError::Hosts(folder.to_owned()));
    }
    let address = |host: &str| address(host.trim()).ok_or_else(|| SettingsError::Hosts(host.trim().to_owned()));
    let addresses: Vec<String> = hosts.split(',').map(address).collect::<Result<_, _>>()?;
    Ok(format!("{}{folder}", addresses.join(",")))
}

/// `host:port`, or `[address]:port`.
fn address(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            is_ipv6(address).then_some((format!("[{address}]"), port))?
        }
        // so many colons that the last one need not be that of a port
        None if host.matches(':').count() > 1 => is_ipv6(host).then(|| (format!("[{host}]"), ""))?,
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            is_name(name).then(|| (name.to_owned(), port))?
        }
    };
    let port = match port {
        "" | ":" => PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    Some(format!("{name}:{port}"))
}

/// An address, or one that is unique on the link of one interface alone.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let is_zone = |zone: &str| {
        !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}

/// A name, or an IPv4 address; `_` is no letter of a host's name, and in use all the same.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_good = name.len() <= LONGEST_NAME && name.split('.').all(is_label);
    if is_number { text.parse::<Ipv4Addr>().is_ok() } else { is_good }
}
