//! Sessions: where a user has logged in, and how that ends.

use maud::{Markup, html};
use slipstream_cimi::dialect::{SESSION, USER};
use slipstream_cimi::overview::sessions::{PLACE, SESSIONS, Session, Sessions};

use super::failure::Failure;
use super::{Asked, Done};
use crate::api::encoded;
use crate::page::{Page, Regions, Tab};
use crate::parts::{since, time};
use crate::request::Fields;

/// Most that are shown of a user's.
const MOST: usize = 200;

/// Those of whoever asks.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let sessions: Sessions = asked.api.get(PLACE).await?;
    let up = asked.up;
    let mut regions = Regions::default();
    let body = html! {
        h1 { "Sessions" }
        div.card {
            p { "Where " strong { (sessions.user) } " has logged in. A session ends a day after it was made." }
            (regions.whole("sessions", listed(up, &sessions, None)))
            @if sessions.count > 0 {
                div.deeds { a.button href=(format!("{up}sessions/end")) { "Log out everywhere…" } }
            }
        }
    };
    Ok(regions.page("Sessions", Tab::Other, body))
}

/// Those of a user, for the page of that user.
pub async fn of(asked: &Asked<'_>, name: &str) -> Result<Markup, Failure> {
    let sessions: Sessions = asked.api.get(&place_of(name)).await?;
    Ok(listed(asked.up, &sessions, Some(name)))
}

/// Where the API has those of a user.
pub fn place_of(name: &str) -> String {
    format!("{}/{name}/{SESSIONS}", USER.name)
}

fn listed(up: &str, sessions: &Sessions, of: Option<&str>) -> Markup {
    html! {
        @if sessions.sessions.is_empty() { p.muted { "None." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Sessions" {
                table.plain {
                    thead { tr { th scope="col" { "Address" } th scope="col" { "Made by" } th scope="col" { "Made" } th scope="col" { "Used last" }
                        th scope="col" { "Ends" } th scope="col" { "End it" } } }
                    tbody { @for session in sessions.sessions.iter().take(MOST) { (row(up, session, of)) } }
                }
            }
        }
        @if sessions.count > MOST { p.muted { "The latest " (MOST) " of " (sessions.count) " are shown." } }
    }
}

fn row(up: &str, session: &Session, of: Option<&str>) -> Markup {
    let name = session.id.strip_prefix("session/").unwrap_or(&session.id);
    html! {
        tr {
            th scope="row" { (session.address.as_deref().unwrap_or("this machine")) }
            td { (session.made_by()) }
            td { (time(&session.created.to_string())) }
            td { (since(&session.used.to_string())) " ago" }
            td { (time(&session.expiry.to_string())) }
            td {
                @if session.current {
                    form method="post" action=(format!("{up}logout")) { button type="submit" { "This one: log out" } }
                } @else {
                    form method="post" action=(format!("{up}sessions/{}/end", encoded(name))) {
                        @if let Some(user) = of { input type="hidden" name="user" value=(user); }
                        button type="submit" aria-label=(format!("End the session of {}", session.created)) { "End" }
                    }
                }
            }
        }
    }
}

/// Ends the session of this name, and goes back to where one was.
pub async fn end(asked: &Asked<'_>, name: &str, form: &Fields) -> Result<Done, Failure> {
    asked.api.delete(&format!("{}/{name}", SESSION.name)).await?;
    let next = form.get("user").map_or_else(|| "sessions".to_owned(), |user| format!("users/{}", encoded(user)));
    Ok(Done::To(format!("{}{next}", asked.up)))
}

/// Asks whether all of them are really to be ended.
pub fn confirmation(asked: &Asked<'_>) -> Page {
    let up = asked.up;
    let body = html! {
        form.card.narrow.login method="post" action=(format!("{up}sessions/end")) {
            h1 { "Log out everywhere?" }
            p { "All of your sessions end, this one too, and those of programs that use your login: such log in again by themselves." }
            div.deeds {
                button.primary type="submit" { "Log out everywhere" }
                a.button href=(format!("{up}sessions")) { "Back" }
            }
        }
    };
    Regions::default().page("Log out everywhere?", Tab::Other, body)
}

/// Ends them all.
pub async fn end_all(asked: &Asked<'_>) -> Result<Done, Failure> {
    asked.api.delete(PLACE).await?;
    Ok(Done::To(format!("{}login", asked.up)))
}
