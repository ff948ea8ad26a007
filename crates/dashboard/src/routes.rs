//! From a request to an answer: the table of what each method does at each path.

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};

use crate::api::{ApiError, Site, Who, encoded};
use crate::assets;
use crate::complete;
use crate::frame::{self, Frame};
use crate::live::{self, Live};
use crate::page::Page;
use crate::pages::failure::{self, Failure};
use crate::pages::login;
use crate::pages::{self, Asked, Done, Place as PagePlace};
use crate::request::PageRequest;
use crate::response::{self, Body};

/// When there may be a place for one more stream, in seconds.
const FULL_FOR: &str = "30";

/// Answers a request to one of the dashboard's paths.
pub async fn respond(site: &Site, live: &Live, request: Request<Bytes>) -> Response<Body> {
    if !request.uri().path().starts_with("/ui/") {
        return response::see_other("ui/");
    }
    let request = PageRequest::of(site, request);
    let up = request.target.up();
    let who = match request.api.who().await {
        Ok(who) => who,
        Err(error) => return refused(&request, &up, None, &error.into()),
    };
    match answer(&request, &up, live, who.as_ref()).await {
        Ok(response) => response,
        Err(failure) if failure.is_for_want_of_a_login(who.as_ref()) => response::see_other(&to_login(&request, &up)),
        Err(failure) => refused(&request, &up, who.as_ref(), &failure),
    }
}

/// The table. Whatever is not found without a login is behind it.
async fn answer(request: &PageRequest, up: &str, live: &Live, who: Option<&Who>) -> Result<Response<Body>, Failure> {
    let place = Place::of(&request.target.segments);
    // a HEAD is a GET of which only the head is answered
    let method = if request.method == Method::HEAD { "GET" } else { request.method.as_str() };
    match (place, method) {
        (Some(Place::Asset(name)), "GET") => assets::file(name).ok_or(Failure::NoPage),
        (Some(Place::Login), "GET") => {
            Ok(shown(request, up, who, &login::page(request.target.query.get("next"), None)))
        }
        (Some(Place::Login), "POST") => login::log_in(request).await,
        (Some(Place::Logout), "POST") => login::log_out(request, who).await,
        (Some(Place::Look), "POST") => Ok(login::look(request)),
        (Some(Place::Asset(_)), _) => Err(Failure::WrongMethod("GET, HEAD")),
        (Some(Place::Login), _) => Err(Failure::WrongMethod("GET, HEAD, POST")),
        (Some(Place::Logout | Place::Look), _) => Err(Failure::WrongMethod("POST")),
        (place, _) => {
            let who = who.ok_or(Failure::NoLogin)?;
            let asked = Asked { api: &request.api, who, up, query: &request.target.query };
            match (place.ok_or(Failure::NoPage)?, method) {
                (Place::Page(place), "GET") => Ok(shown(request, up, Some(who), &pages::shown(&place, &asked).await?)),
                (Place::Page(place), "POST") => match pages::done(&place, &asked, &request.form).await? {
                    Done::To(next) => Ok(response::see_other(&next)),
                    Done::Not(page) => Ok(shown(request, up, Some(who), &page)),
                },
                (Place::Complete, "GET") => complete::answer(&asked).await,
                (Place::Live, "GET") => live::stream(live, request, who).await,
                (Place::Regions, "GET") => live::regions(live, request, who).await,
                (Place::Page(_), _) => Err(Failure::WrongMethod("GET, HEAD, POST")),
                _ => Err(Failure::WrongMethod("GET, HEAD")),
            }
        }
    }
}

/// Where a path below `/ui/` leads.
enum Place<'path> {
    Asset(&'path str),
    Login,
    Logout,
    Look,
    /// What a filter may go on with.
    Complete,
    /// The stream of a page's changes.
    Live,
    /// What a page shows now.
    Regions,
    Page(PagePlace),
}

impl<'path> Place<'path> {
    fn of(segments: &'path [String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["assets", name] => Some(Self::Asset(name)),
            ["login"] => Some(Self::Login),
            ["logout"] => Some(Self::Logout),
            ["look"] => Some(Self::Look),
            ["jobs", "complete"] => Some(Self::Complete),
            ["live"] => Some(Self::Live),
            ["regions"] => Some(Self::Regions),
            _ => PagePlace::of(&segments).map(Self::Page),
        }
    }
}

/// What a path is counted as: there are too many of those that name a document, or nothing.
#[must_use]
pub fn route_of(path: &str) -> &'static str {
    let Some(below) = path.strip_prefix("/ui/") else { return "/ui" };
    let segments: Vec<String> = below.split('/').map(str::to_owned).collect();
    match Place::of(&segments) {
        Some(Place::Asset(_)) => "/ui/assets/{name}",
        Some(Place::Login) => "/ui/login",
        Some(Place::Logout) => "/ui/logout",
        Some(Place::Look) => "/ui/look",
        Some(Place::Complete) => "/ui/jobs/complete",
        Some(Place::Live) => "/ui/live",
        Some(Place::Regions) => "/ui/regions",
        Some(Place::Page(place)) => place.route(),
        None => "other",
    }
}

fn shown(request: &PageRequest, up: &str, who: Option<&Who>, page: &Page) -> Response<Body> {
    let frame = Frame { up, look: request.look, who, target: &request.target.text };
    response::page(page.status, frame::whole(&frame, page))
}

fn to_login(request: &PageRequest, up: &str) -> String {
    let is_read = request.method.is_safe();
    let next = if is_read { format!("?next={}", encoded(&request.target.text)) } else { String::new() };
    format!("{up}login{next}")
}

/// A page that says why there is nothing else to see.
fn refused(request: &PageRequest, up: &str, who: Option<&Who>, failure: &Failure) -> Response<Body> {
    let page = failure::page(failure, up);
    let mut response = shown(request, up, who, &page);
    let header = match failure {
        Failure::WrongMethod(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
        Failure::TooManyStreams => Some((RETRY_AFTER, HeaderValue::from_static(FULL_FOR))),
        Failure::Api(ApiError::Refused { retry_after, .. }) => retry_after.clone().map(|time| (RETRY_AFTER, time)),
        _ => None,
    };
    response.headers_mut().extend(header);
    response
}
