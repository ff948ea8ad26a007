//! What all documents have in common (specification 3).

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// A document as it travels and as it is stored: attribute → value, in the order written.
pub type Document = Map<String, Value>;

/// A reference to another document; a link may carry further members, which are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Id of the document referred to, e.g. `credential/abc`.
    pub href: String,
    /// Further members of the link object.
    #[serde(flatten)]
    pub members: Document,
}

impl Link {
    /// A link with nothing but its `href`.
    pub fn to(href: impl Into<String>) -> Self {
        Self { href: href.into(), members: Document::new() }
    }
}

/// One thing that may be done with a document or a collection (specification 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What it does: `add`, `edit`, `delete` or an action URI.
    pub rel: String,
    /// Where, relative to `/api/`.
    pub href: String,
}

/// Whether the text has the syntax of an id, `<type>` or `<type>/<name>` (specification 3.1); links have it too.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    let is_kind = surrounded(kind, |byte| byte.is_ascii_lowercase(), b"-");
    is_kind && name.is_none_or(|name| surrounded(name, |byte| byte.is_ascii_alphanumeric(), b"-_"))
}

/// Whether all bytes are `ends` or one of `inner`, and the first and the last are `ends`.
fn surrounded(text: &str, ends: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let at_ends = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| ends(*first) && ends(*last));
    at_ends && bytes.iter().all(|byte| ends(*byte) || inner.contains(byte))
}

/// Whether the value is a link: an object whose `href` is an id (specification 3.1).
#[must_use]
pub fn is_link(value: &Value) -> bool {
    value.get("href").and_then(Value::as_str).is_some_and(is_id)
}

/// A time as the original servers print it: UTC, three decimals, `Z` (specification 3.2).
#[must_use]
pub fn format_time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Writes a time as servers print it, so that a document that is read and written is the same for whoever takes it apart.
pub(crate) fn serialize_time<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format_time(*time))
}

/// The same for a time that there may be.
#[expect(clippy::ref_option, reason = "serde asks for it")]
pub(crate) fn serialize_any_time<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    time.map(format_time).serialize(to)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_as_the_pattern_says() {
        let good = [
            "dummy",
            "job",
            "j",
            "session-template",
            "a--b",
            "credential/A_b-1",
            "job/1",
            "user/jane",
            "job/11111111-2222-3333-4444-555555555555",
            "session-template/internal",
        ];
        let bad = [
            "", "/", "Job", "job/", "/job", "job//1", "job/1/2", "job/a.b", "j.b", "job1", "job1/a", "1/a", "-job",
            "job-", "job/-a", "job/a-", "job/_a", "job/a_", "job_a", "job/ä", "job a", "job/1 ", "job\n",
        ];
        for text in good {
            assert!(is_id(text), "{text}");
        }
        for text in bad {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn links_are_objects_with_an_id() {
        assert!(is_link(&json!({"href": "credential/A_b-1", "further": 1})));
        for value in [json!({"href": "A/b"}), json!({"href": 1}), json!({}), json!("job/1"), json!([{"href": "job/1"}])]
        {
            assert!(!is_link(&value), "{value}");
        }
    }
}
