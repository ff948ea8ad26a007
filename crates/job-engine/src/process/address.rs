//! How addresses and networks are written on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ipnet::{IpNet, Ipv4Net};

/// Bits of an IPv6 address before an IPv4 address that is mapped into it.
const MAPPED_BITS: u8 = 96;

/// Reads where to listen: an address or a name, and a port. Without either, on all addresses of this machine.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected HOST:PORT, such as 127.0.0.1:8201, localhost:8201, or :8201 for all addresses";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    // what somebody has written as a password would be told as a port
    if text.contains('@') {
        return Err(expected.to_owned());
    }
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let port: u16 = port.parse().map_err(|_| format!("invalid port `{port}`: {expected}"))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if host.contains(':') {
        return Err(format!("an IPv6 address needs brackets, [{host}]:{port}"));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("cannot find the host `{host}`: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("the host `{host}` has no address"))
}

/// Reads a network in CIDR notation, or one address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        network.map_err(|_| "expected a network such as 10.1.0.0/16 or fd00::/8, or an address".to_owned())?;
    let mapped = match network {
        IpNet::V6(network) if network.prefix_len() >= MAPPED_BITS => {
            network.addr().to_ipv4_mapped().map(|address| (address, network.prefix_len() - MAPPED_BITS))
        }
        _ => None,
    };
    let Some((address, length)) = mapped else { return Ok(network) };
    Ipv4Net::new(address, length).map(IpNet::V4).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen_may_be_a_name_or_a_port_alone() {
        for (text, expected) in [
            ("127.0.0.1:8201", "127.0.0.1:8201"),
            ("[::1]:0", "[::1]:0"),
            (":8201", "0.0.0.0:8201"),
            ("localhost:8201", "127.0.0.1:8201"),
        ] {
            assert_eq!(parse_address(text).unwrap().to_string(), expected, "{text}");
        }
        for (text, said) in [
            ("localhost", "expected HOST:PORT"),
            ("8201", "expected HOST:PORT"),
            ("localhost:http", "invalid port `http`"),
            ("localhost:99999", "invalid port `99999`"),
            ("::1:8201x", "invalid port"),
            ("2001:db8::z:8201", "needs brackets"),
            ("no such host:1", "cannot find the host `no such host`"),
        ] {
            let refused = parse_address(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.1-9"] {
            let refused = parse_network(wrong).expect_err(wrong);
            assert!(refused.contains("10.1.0.0/16"), "{refused}");
        }
    }
}
