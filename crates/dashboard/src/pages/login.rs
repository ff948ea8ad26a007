//! Login, logout, and how pages look.

use cookie::{Cookie, SameSite};
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use maud::html;
use serde_json::json;
use slipstream_cimi::dialect::{INTERNAL_TEMPLATE, SESSION};

use super::Place;
use super::failure::Failure;
use crate::api::{ApiError, Who};
use crate::frame::{self, Frame};
use crate::page::{Page, Regions, Tab};
use crate::parts::sentence;
use crate::request::{LOOK_COOKIE, Look, PageRequest, Target};
use crate::response::{self, Body};

/// Where one goes who has come from nowhere.
const FIRST: &str = "./";

/// The form; `next` is where one wanted to go, `refusal` why the last try failed.
pub fn page(next: Option<&str>, refusal: Option<&str>) -> Page {
    let described_by = refusal.map(|_| "refusal");
    let body = html! {
        form.card.narrow.login method="post" action="login" {
            h1 { "Log in" }
            @if let Some(refusal) = refusal { p.refusal #refusal role="alert" { (refusal) } }
            @if let Some(next) = next { input type="hidden" name="next" value=(next); }
            label for="username" { "User name" }
            input #username name="username" autocomplete="username" autocapitalize="none" spellcheck="false"
                required autofocus aria-describedby=[described_by];
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button.primary type="submit" { "Log in" }
        }
    };
    Regions::default().page("Log in", Tab::Other, body)
}

/// Logs in by the API, which knows how often this has failed, and goes to where one wanted to go.
pub async fn log_in(request: &PageRequest) -> Result<Response<Body>, Failure> {
    let field = |name| request.form.get(name).unwrap_or_default();
    let next = request.form.get("next");
    let template = json!({"href": INTERNAL_TEMPLATE, "username": field("username"), "password": field("password")});
    match request.api.post(SESSION.name, Some(&json!({"sessionTemplate": template}))).await {
        Ok(answer) => {
            let mut response = response::see_other(safe(next));
            for cookie in answer.headers().get_all(SET_COOKIE) {
                response.headers_mut().append(SET_COOKIE, cookie.clone());
            }
            Ok(response)
        }
        Err(ApiError::Refused { refusal, retry_after }) if matches!(refusal.status, 400 | 403 | 429 | 503) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
            let page = Page { status, ..page(next, Some(&sentence(&refusal.message))) };
            let frame = Frame { up: "./", look: request.look, who: None, target: "login" };
            let mut response = response::page(status, frame::whole(&frame, &page));
            response.headers_mut().extend(retry_after.map(|seconds| (RETRY_AFTER, seconds)));
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes the session.
pub async fn log_out(request: &PageRequest, who: Option<&Who>) -> Result<Response<Body>, Failure> {
    let mut response = response::see_other("login");
    if let Some(session) = who.and_then(|who| who.session.as_deref()) {
        let answer = request.api.delete(session).await?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
    }
    Ok(response)
}

/// Remembers how pages are to look, in this browser.
pub fn look(request: &PageRequest) -> Response<Body> {
    let look = Look::from_text(request.form.get("look").unwrap_or_default());
    let cookie = Cookie::build((LOOK_COOKIE, look.as_str())).same_site(SameSite::Lax).http_only(true);
    let cookie = if look == Look::System { cookie.removal() } else { cookie.permanent() };
    let mut response = response::see_other(safe(request.form.get("next")));
    if let Ok(value) = HeaderValue::from_str(&cookie.build().to_string()) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// Where one wanted to go, if that is one of the pages here.
fn safe(next: Option<&str>) -> &str {
    let is_page = |next: &&str| {
        let segments = Target::of(next).segments;
        let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic()) && !next.contains(['\\', '#']);
        // the first page is where one goes anyway, and is not named
        is_plain
            && !segments[0].is_empty()
            && Place::of(&segments.iter().map(String::as_str).collect::<Vec<_>>()).is_some()
    };
    next.filter(is_page).unwrap_or(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_pages_of_this_server_only() {
        for next in ["jobs", "jobs?filter=state%3D'FAILED'", "jobs/0a", "jobs/0a/stop"] {
            assert_eq!(safe(Some(next)), next);
        }
        for next in
            ["", "//evil.example", "https://evil.example/jobs", "/jobs", "../jobs", "jobs\r\nx: y", "\\\\evil", "live"]
        {
            assert_eq!(safe(Some(next)), FIRST, "{next}");
        }
    }
}
