//! [`Failure`]: why there is no such page, and the page that says so.

use http::StatusCode;
use maud::html;

use crate::api::{ApiError, Who};
use crate::page::{Page, Regions, Tab};

/// Why a page cannot be shown, or something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API says no, or nothing.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Nobody has logged in.
    #[error("log in first")]
    NoLogin,
    /// It is for administrators.
    #[error("this page is for administrators")]
    NotAllowed,
    /// There is no such page.
    #[error("there is no page at this address")]
    NoPage,
    /// The page is there, and cannot be asked so; with the methods that it takes.
    #[error("this page takes {0} only")]
    WrongMethod(&'static str),
    /// Too many look at once.
    #[error("too many pages are kept up to date at once")]
    TooManyStreams,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Api(error) => error.status(),
            Self::NoLogin | Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::NoPage => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether a login may help: nobody asks, or somebody for whom a proxy vouches that the API does not believe.
    pub fn is_for_want_of_a_login(&self, who: Option<&Who>) -> bool {
        let has_session = who.is_some_and(|who| who.session.is_some());
        match self {
            Self::NoLogin => true,
            Self::Api(ApiError::Refused { refusal, .. }) => {
                refusal.status == 403 && !has_session && refusal.message == "credentials required"
            }
            _ => false,
        }
    }
}

/// The page that says it.
pub fn page(failure: &Failure, up: &str) -> Page {
    let status = failure.status();
    let (title, advice) = match status {
        StatusCode::FORBIDDEN => ("Not allowed", Some("Ask somebody who may, or log in as somebody else.")),
        StatusCode::NOT_FOUND => ("Not found", Some("It may have been deleted meanwhile.")),
        StatusCode::CONFLICT => ("Too late", Some("It has changed meanwhile. Look at it again.")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ("Not now", Some("Try again soon.")),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => ("Not understood", None),
        _ => ("Failed", Some("The server's log says more.")),
    };
    let request_id = match failure {
        Failure::Api(ApiError::Refused { refusal, .. }) => refusal.request_id.as_deref(),
        _ => None,
    };
    let body = html! {
        div.card.narrow {
            h1 { (title) }
            pre.said { (failure.to_string_for_people()) }
            @if let Some(advice) = advice { p { (advice) } }
            @if let Some(id) = request_id { p.muted { "Request id " code { (id) } } }
            p { a href=(format!("{up}jobs")) { "Jobs" } }
        }
    };
    Page { status, ..Regions::default().page(title, Tab::Other, body) }
}

impl Failure {
    /// What it says, without the status that the page's head has.
    pub fn to_string_for_people(&self) -> String {
        match self {
            Self::Api(ApiError::Refused { refusal, .. }) => refusal.message.clone(),
            other => other.to_string(),
        }
    }
}
