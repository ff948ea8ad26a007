//! Which requests a browser sends for a page of another site (the names that browsers use: Fetch Metadata, Origin).

use http::{HeaderMap, Method, header};

const FETCH_SITE: &str = "sec-fetch-site";

/// Whether a page of another site asks to change something. Whoever sends neither `Sec-Fetch-Site` nor `Origin` is no
/// browser. `hosts` are the names by which this server was asked.
#[must_use]
pub fn is_foreign(method: &Method, headers: &HeaderMap, hosts: &[String]) -> bool {
    if method.is_safe() {
        return false;
    }
    let mut sites = headers.get_all(FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return !sites.all(|site| site == "same-origin" || site == "none");
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    !origins.all(|origin| origin.to_str().is_ok_and(|origin| hosts.iter().any(|host| is_at(origin, host))))
}

/// Whether an origin is that of a host. Browsers leave out the port that a scheme has anyway.
fn is_at(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(usual).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(sent: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_request_of_another_site_is_one_that_its_browser_says_is() {
        let site = |value| (FETCH_SITE, value);
        let origin = |value| ("origin", value);
        let rows: &[(&[(&'static str, &str)], bool)] = &[
            // the Python clients, curl, this project's own
            (&[], false),
            (&[site("same-origin")], false),
            (&[site("none")], false),
            (&[site("cross-site")], true),
            (&[site("same-site")], true),
            (&[site("Same-Origin")], true),
            (&[site("same-origin"), site("cross-site")], true),
            (&[site("cross-site"), origin("http://here:8201")], true),
            (&[site("same-origin"), origin("http://evil.example")], false),
            (&[origin("http://here:8201")], false),
            (&[origin("http://HERE:8201")], false),
            (&[origin("http://here")], true),
            (&[origin("http://evil.example")], true),
            (&[origin("http://here:8201"), origin("http://evil.example")], true),
            (&[origin("http://here:8201.evil.example")], true),
            (&[origin("http://front")], false),
            (&[origin("https://front")], false),
            (&[origin("https://front:443")], false),
            (&[origin("https://front:80")], true),
            (&[origin("null")], true),
            (&[origin("")], true),
            (&[origin("ftp://front")], true),
        ];
        let hosts = ["here:8201".to_owned(), "front".to_owned(), String::new()];
        for (sent, expected) in rows {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(is_foreign(&method, &headers(sent), &hosts), *expected, "{method} {sent:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(!is_foreign(&method, &headers(sent), &hosts), "{method} changes nothing");
            }
        }
        assert!(is_foreign(&Method::POST, &headers(&[origin("http://")]), &hosts), "no host is nobody's");
    }
}
