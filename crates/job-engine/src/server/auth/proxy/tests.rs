use http::HeaderValue;

use super::*;
use crate::process::address::parse_network;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn origin(peer: Option<Peer>, headers: &HeaderMap) -> Origin {
    let mut extensions = Extensions::new();
    if let Some(peer) = peer {
        extensions.insert(peer);
    }
    Origin::of(&extensions, headers)
}

fn user(name: &str, roles: &[&str], session: Option<&str>) -> Caller {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Caller::User { name: name.to_owned(), roles, session: session.map(str::to_owned) }
}

#[test]
fn a_peer_is_believed_within_a_trusted_network_only() {
    for (networks, peer, is_trusted) in [
        (vec![], "127.0.0.1", false),
        (vec!["10.0.0.0/8"], "10.255.0.1", true),
        (vec!["10.0.0.0/8"], "11.0.0.1", false),
        (vec!["10.0.0.0/8"], "::ffff:10.0.0.1", true),
        (vec!["::ffff:10.0.0.0/104"], "10.0.0.1", true),
        (vec!["::ffff:10.0.0.0/104"], "11.0.0.1", false),
        (vec!["::/0"], "10.0.0.1", false),
        (vec!["0.0.0.0/0"], "::1", false),
        (vec!["127.0.0.1"], "127.0.0.1", true),
        (vec!["127.0.0.1"], "127.0.0.2", false),
        (vec!["192.0.2.0/24", "fd00::/8"], "fd12::1", true),
    ] {
        let trusted: Vec<IpNet> = networks.iter().map(|network| parse_network(network).unwrap()).collect();
        let headers = headers(&[(AUTHN_HEADER, b"jane USER"), (CLIENT_HEADER, b"192.0.2.7")]);
        let origin = origin(Some(Peer::new(address(peer), &trusted)), &headers);
        assert_eq!(origin.vouched(&headers).is_some(), is_trusted, "{peer} in {networks:?}");
        let client = if is_trusted { address("192.0.2.7") } else { address(peer).to_canonical() };
        assert_eq!(origin.client, Some(client), "{peer} in {networks:?}");
    }
}

#[test]
fn nobody_in_this_process_is_believed() {
    let headers = headers(&[(AUTHN_HEADER, b"super ADMIN"), (CLIENT_HEADER, b"192.0.2.7")]);
    let origin = origin(None, &headers);
    assert_eq!((origin.vouched(&headers), origin.client, origin.is_local), (None, None, true));
}

#[test]
fn the_header_names_user_roles_and_session() {
    let trusted = Some(Peer::new(address("192.0.2.1"), &[parse_network("192.0.2.0/24").unwrap()]));
    let vouched = |values: &[&[u8]]| {
        let headers = headers(&values.iter().map(|value| (AUTHN_HEADER, *value)).collect::<Vec<_>>());
        origin(trusted, &headers).vouched(&headers)
    };
    for (value, expected) in [
        ("super ADMIN USER ANON", user("super", &["ADMIN", "USER", "ANON"], None)),
        ("jane", user("jane", &["ANON"], None)),
        ("  jane   USER  ", user("jane", &["USER", "ANON"], None)),
        ("jane USER session/1 session/2", user("jane", &["USER", "session/1", "session/2", "ANON"], Some("session/1"))),
        ("session/1 USER", user("session/1", &["USER", "ANON"], None)),
    ] {
        assert_eq!(vouched(&[value.as_bytes()]), Some(expected), "{value}");
    }
    for nothing in [vec![], vec![&b""[..]], vec![b"   "], vec![b"jan\xe9 ADMIN"], vec![b"jane USER", b"super ADMIN"]] {
        assert_eq!(vouched(&nothing), None, "{nothing:?}");
    }
}

#[test]
fn a_trusted_proxy_without_a_good_address_of_its_client_is_the_client() {
    let trusted = Some(Peer::new(address("127.0.0.1"), &[parse_network("127.0.0.1").unwrap()]));
    for (values, client, is_local) in [
        (vec![&b"192.0.2.7"[..]], "192.0.2.7", false),
        (vec![b" ::ffff:192.0.2.7 "], "192.0.2.7", false),
        (vec![], "127.0.0.1", true),
        (vec![b"unknown"], "127.0.0.1", false),
        (vec![b"192.0.2.7", b"192.0.2.8"], "127.0.0.1", false),
    ] {
        let headers = headers(&values.iter().map(|value| (CLIENT_HEADER, *value)).collect::<Vec<_>>());
        let origin = origin(trusted, &headers);
        assert_eq!((origin.client, origin.is_local), (Some(address(client)), is_local), "{values:?}");
    }
    let local = |text: &str| origin(Some(Peer::new(address(text), &[])), &HeaderMap::new()).is_local;
    for (text, is_local) in [("::1", true), ("127.9.9.9", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)] {
        assert_eq!(local(text), is_local, "{text}");
    }
}

/// Somebody behind a proxy that hands `X-Real-IP` on could guess the administrator's password without a pause.
#[test]
fn nobody_is_on_this_machine_because_a_proxy_says_so() {
    for peer in ["127.0.0.1", "192.0.2.1"] {
        for said in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "", "127.0.0.1, 127.0.0.1"] {
            let headers = headers(&[(CLIENT_HEADER, said.as_bytes())]);
            let trusted = Peer::new(address(peer), &[parse_network(peer).unwrap()]);
            assert!(!origin(Some(trusted), &headers).is_local, "{said:?} by {peer}");
        }
    }
    let headers = headers(&[(CLIENT_HEADER, b"192.0.2.7")]);
    assert!(origin(Some(Peer::new(address("127.0.0.1"), &[])), &headers).is_local, "nobody's word counts");
}

#[test]
fn a_program_is_what_it_says_as_far_as_that_is_text_of_some_length() {
    let said = |bytes: &[u8]| program(&headers(&[("user-agent", bytes)]));
    assert_eq!(said(b"slipstream-job/0.1.0"), Some("slipstream-job/0.1.0".to_owned()));
    assert_eq!([said(b" "), said(b"\xff"), program(&HeaderMap::new())], [None, None, None]);
    assert_eq!(said(&[b'x'; 10_000]).map(|text| text.len()), Some(LONGEST_PROGRAM));
}
