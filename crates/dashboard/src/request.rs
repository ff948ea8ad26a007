//! [`PageRequest`]: what a browser asks, taken apart.

use bytes::Bytes;
use cookie::Cookie;
use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, Method, Request};
use percent_encoding::percent_decode_str;

use crate::api::{Api, Site};

/// The cookie that remembers how the pages are to look.
pub const LOOK_COOKIE: &str = "slipstream-look";

/// A request for a page, or for something to be done.
pub struct PageRequest {
    /// How it is asked.
    pub method: Method,
    /// What is asked, below `/ui/`.
    pub target: Target,
    /// The fields of a form that was sent.
    pub form: Fields,
    /// The API, asked as the sender.
    pub api: Api,
    /// How pages are to look.
    pub look: Look,
    headers: HeaderMap,
}

/// What is asked, below `/ui/`: a path and a query.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// As it was written, with its query: `jobs?filter=…`.
    pub text: String,
    /// The parts of the path, decoded; the last one is empty after a slash.
    pub segments: Vec<String>,
    /// The fields of the query.
    pub query: Fields,
}

/// The fields of a form or of a query, in their order.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

/// Light, dark, or as the system says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    #[default]
    System,
    Light,
    Dark,
}

impl PageRequest {
    /// Takes a request to a path below `/ui/` apart.
    pub fn of(site: &Site, request: Request<Bytes>) -> Self {
        let api = Api::of(site.clone(), &request);
        let (head, body) = request.into_parts();
        let text = head.uri.path_and_query().map_or("", |whole| whole.as_str());
        Self {
            method: head.method,
            target: Target::of(text.strip_prefix("/ui/").unwrap_or_default()),
            form: Fields::of(&body),
            api,
            look: look(&head.headers),
            headers: head.headers,
        }
    }

    /// A header that is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Target {
    /// Takes it apart.
    pub fn of(text: &str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        Self {
            text: text.to_owned(),
            segments: path.split('/').map(decoded).collect(),
            query: Fields::of(query.as_bytes()),
        }
    }

    /// The way from this page up to where all pages are: relative, as whatever is before `/ui/` is a proxy's affair.
    pub fn up(&self) -> String {
        if self.segments.len() > 1 { "../".repeat(self.segments.len() - 1) } else { "./".to_owned() }
    }
}

impl Fields {
    fn of(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first field of this name, if it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(field, value)| field == name && !value.is_empty());
        values.next().map(|(_, value)| &**value)
    }
}

impl Look {
    /// As a form and the cookie have it.
    pub fn from_text(text: &str) -> Self {
        match text {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    /// As a form and the cookie have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

fn look(headers: &HeaderMap) -> Look {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = texts.flat_map(Cookie::split_parse).filter_map(Result::ok);
    let found = cookies.find(|cookie| cookie.name() == LOOK_COOKIE);
    found.map_or(Look::System, |cookie| Look::from_text(cookie.value()))
}
