//! About this engine, and this session.

use maud::html;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::{ENTRY_POINT, STORE};

use super::Asked;
use super::failure::Failure;
use crate::page::{Page, Regions, Tab};
use crate::parts::{shown, text, time};

/// What answers here.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let entry_point: Document = asked.api.get(ENTRY_POINT).await?;
    let store = entry_point.get(STORE).and_then(|store| store["id"].as_str());
    let (name, description) = (shown(&entry_point, "name"), shown(&entry_point, "description"));
    let body = html! {
        h1 { "About" }
        div.card {
            dl.facts {
                dt { "Program" } dd { "slipstream-job " (env!("CARGO_PKG_VERSION")) }
                @if !name.is_empty() { dt { "Name" } dd { (name) } }
                @if !description.is_empty() { dt { "Description" } dd { (description) } }
                @if let Some(store) = store { dt { "Store" } dd { code { (store) } } }
                dt { "API" } dd { code { (text(&entry_point, "baseURI")) } }
                dt { "In use since" } dd { (time(text(&entry_point, "created"))) }
            }
        }
    };
    Ok(Regions::default().page("About", Tab::About, body))
}

/// The session of whoever asks.
pub async fn session(asked: &Asked<'_>) -> Result<Page, Failure> {
    let session: Document = asked.api.get(asked.who.session.as_deref().ok_or(Failure::NoPage)?).await?;
    let body = html! {
        h1 { "This session" }
        div.card {
            dl.facts {
                dt { "User" } dd { (text(&session, "username")) }
                dt { "Roles" } dd { (text(&session, "roles")) }
                dt { "Address" } dd { (text(&session, "clientIP")) }
                dt { "Begun" } dd { (time(text(&session, "created"))) }
                dt { "Ends" } dd { (time(text(&session, "expiry"))) }
            }
            form method="post" action=(format!("{}logout", asked.up)) { button type="submit" { "Log out" } }
        }
    };
    Ok(Regions::default().page("This session", Tab::Other, body))
}
