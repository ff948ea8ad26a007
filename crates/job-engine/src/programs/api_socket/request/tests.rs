use http_body_util::{Full, StreamBody};
use hyper::body::Frame;

use super::*;

fn request(target: &str, host: Option<&str>) -> Request<()> {
    let mut request = Request::builder().uri(target);
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    request.body(()).unwrap()
}

#[test]
fn the_token_is_the_host() {
    for (target, host, expected) in [
        ("/api/job/1", Some("0a1b"), Some("0a1b")),
        ("/api/job/1", Some("0A1B:80"), Some("0a1b")),
        ("http://0a1b/api/job/1", None, Some("0a1b")),
        ("http://0a1b:80/api/job/1", Some("proxy"), Some("0a1b")),
        ("/api/job/1", None, None),
        ("/api/job/1", Some(""), None),
        ("/api/job/1", Some("no host"), None),
    ] {
        assert_eq!(token(&request(target, host)).as_deref(), expected, "{target} {host:?}");
    }
}

#[test]
fn nothing_but_the_api_is_sent_on() {
    for (sent, expected) in [
        ("/api", "/api"),
        ("/api/job/1?select=a,b", "/api/job/1?select=a,b"),
        ("//api//job/1/", "/api/job/1"),
        ("http://0a1b/api/job", "/api/job"),
        ("/api/job/a%20b", "/api/job/a%20b"),
    ] {
        assert_eq!(target(&sent.parse().unwrap()).map(|uri| uri.to_string()).as_deref(), Some(expected));
    }
    for other in
        ["/", "/apis", "/other/api", "/api/../admin", "/api/%2e%2E/admin", "/api/.%2e", "/api/./job", "http://0a1b"]
    {
        assert_eq!(target(&other.parse().unwrap()), None, "{other}");
    }
    assert_eq!(target(&"0a1b:443".parse().unwrap()), None, "CONNECT");
}

#[tokio::test]
async fn bodies_are_bounded_as_the_server_bounds_them() {
    let form = HeaderMap::from_iter([(CONTENT_TYPE, "application/x-www-form-urlencoded; a=b".parse().unwrap())]);
    for (headers, limit) in [(HeaderMap::new(), BODY_LIMIT), (form, FORM_LIMIT)] {
        let full = |length| Full::new(Bytes::from(vec![b' '; length]));
        assert_eq!(body(full(limit), &headers).await.unwrap().len(), limit);
        let refused = body(full(limit + 1), &headers).await.unwrap_err();
        assert_eq!(refused.status(), 413);
        let piece = Bytes::from(vec![b' '; limit / 2 + 1]);
        let pieces =
            futures_util::stream::iter([piece.clone(), piece].map(|piece| Ok::<_, std::io::Error>(Frame::data(piece))));
        let refused = body(StreamBody::new(pieces), &headers).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("connection")), (413, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_arrives_is_waited_for_within_the_limit() {
    let never = StreamBody::new(futures_util::stream::pending::<std::io::Result<Frame<Bytes>>>());
    let refused = tokio::time::timeout(BODY_TIME * 2, body(never, &HeaderMap::new())).await.unwrap().unwrap_err();
    assert_eq!(refused.status(), 400);
}
