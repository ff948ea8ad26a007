//! Users: who may log in. For administrators.

use http::StatusCode;
use maud::{Markup, html};
use serde_json::{Value, json};
use slipstream_cimi::dialect::USER;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::query::{Order, Search};
use slipstream_cimi::{Document, Refusal};

use super::failure::Failure;
use super::{Asked, Done, sessions};
use crate::api::{ApiError, encoded};
use crate::page::{Page, Regions, Tab};
use crate::parts::{number, text, time};
use crate::request::Fields;

/// Most users that are listed.
const MOST: i64 = 1_000;
/// Fewest characters of a password, as the API has it.
const SHORTEST_PASSWORD: &str = "8";

/// What can be done with a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Password,
    Disable,
    Enable,
    Promote,
    Demote,
    EndSessions,
    Delete,
}

impl Deed {
    const ALL: [Self; 7] =
        [Self::Password, Self::Disable, Self::Enable, Self::Promote, Self::Demote, Self::EndSessions, Self::Delete];

    /// As a path has it.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::EndSessions => "end-sessions",
            Self::Delete => "delete",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Password => "Set password",
            Self::Disable => "Disable",
            Self::Enable => "Enable",
            Self::Promote => "Make administrator",
            Self::Demote => "Take administrator's role",
            Self::EndSessions => "End all sessions",
            Self::Delete => "Delete",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Password => "All sessions of this user end.",
            Self::Disable => "This user cannot log in any more, and all of its sessions end. Its jobs go on.",
            Self::Enable => "This user may log in again, with the password of before.",
            Self::Promote => "This user may then see and do everything.",
            Self::Demote => "This user then sees only its own jobs and those that name it. All of its sessions end.",
            Self::EndSessions => "This user is logged out everywhere, and may log in again.",
            Self::Delete => "This user is gone, and all of its sessions end. Its jobs stay.",
        }
    }

    /// Whether it makes sense for this user; the administrator that is always there stays as it is.
    fn is_open(self, user: &Document) -> bool {
        if text(user, "username") == ADMINISTRATOR {
            return self == Self::EndSessions;
        }
        let is_active = text(user, "state") == "ACTIVE";
        let is_administrator = user.get("isSuperUser") == Some(&Value::Bool(true));
        match self {
            Self::Password | Self::EndSessions | Self::Delete => true,
            Self::Disable => is_active,
            Self::Enable => !is_active,
            Self::Promote => !is_administrator,
            Self::Demote => is_administrator,
        }
    }

    /// The change that it is; none of what is deleted.
    fn change(self, form: &Fields) -> Option<Value> {
        match self {
            Self::Password => Some(json!({"password": form.get("password").unwrap_or_default()})),
            Self::Disable => Some(json!({"state": "SUSPENDED"})),
            Self::Enable => Some(json!({"state": "ACTIVE"})),
            Self::Promote => Some(json!({"isSuperUser": true})),
            Self::Demote => Some(json!({"isSuperUser": false})),
            Self::EndSessions | Self::Delete => None,
        }
    }
}

/// All users.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    list(asked, None).await
}

async fn list(asked: &Asked<'_>, refusal: Option<&str>) -> Result<Page, Failure> {
    let order = vec![Order { attribute: "id".to_owned(), descending: false }];
    let found = asked.api.search(USER.name, &Search { order, last: Some(MOST), ..Search::default() }).await?;
    let up = asked.up;
    let shown = found.documents.len() as u64;
    let body = html! {
        h1 { "Users" }
        div.scroll.card.flush tabindex="0" role="region" aria-label="Users" {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Role" } th scope="col" { "Added" } } }
                tbody {
                    @for user in &found.documents {
                        @let name = text(user, "username");
                        tr {
                            th scope="row" { a href=(format!("{up}users/{}", encoded(name))) { (name) } }
                            td { (state(user)) }
                            td { (role(user)) }
                            td { (time(text(user, "created"))) }
                        }
                    }
                }
            }
        }
        @if found.count > shown { p.muted { (number(shown)) " of " (number(found.count)) " users." } }
        form.card.narrow.login method="post" action=(format!("{up}users")) {
            h2 { "Add a user" }
            @if let Some(refusal) = refusal { pre.refusal role="alert" { (refusal) } }
            label for="username" { "User name" }
            input #username name="username" autocomplete="off" autocapitalize="none" spellcheck="false" required;
            (password_field())
            button.primary type="submit" { "Add" }
        }
    };
    Ok(Regions::default().page("Users", Tab::Users, body))
}

fn password_field() -> Markup {
    html! {
        label for="password" { "Password" }
        input #password name="password" type="password" autocomplete="new-password" minlength=(SHORTEST_PASSWORD) required;
    }
}

fn state(user: &Document) -> Markup {
    let is_active = text(user, "state") == "ACTIVE";
    html! { @if is_active { "active" } @else { span.badge.attention { "disabled" } } }
}

fn role(user: &Document) -> &'static str {
    if user.get("isSuperUser") == Some(&Value::Bool(true)) { "administrator" } else { "user" }
}

/// Adds a user. What the API does not take is said beside the form.
pub async fn add(asked: &Asked<'_>, form: &Fields) -> Result<Done, Failure> {
    let field = |name| form.get(name).unwrap_or_default();
    let user = json!({"username": field("username"), "password": field("password")});
    match asked.api.post(USER.name, Some(&user)).await {
        Ok(_) => Ok(Done::To(format!("{}users/{}", asked.up, encoded(field("username"))))),
        Err(ApiError::Refused { refusal, .. }) if is_of_the_form(&refusal) => {
            Ok(Done::Not(Page { status: status(&refusal), ..list(asked, Some(&refusal.message)).await? }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether what was filled in is refused, and not who asks.
fn is_of_the_form(refusal: &Refusal) -> bool {
    matches!(refusal.status, 400 | 409)
}

fn status(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST)
}

/// One user, and what may be done with it.
pub async fn one(asked: &Asked<'_>, name: &str) -> Result<Page, Failure> {
    let user: Document = asked.api.get(&format!("{}/{name}", USER.name)).await?;
    let sessions = sessions::of(asked, name).await?;
    let up = asked.up;
    let body = html! {
        nav aria-label="Where" { a href=(format!("{up}users")) { "← Users" } }
        div.card {
            h1 { (text(&user, "username")) }
            dl.facts {
                dt { "State" } dd { (state(&user)) }
                dt { "Role" } dd { (role(&user)) }
                dt { "Added" } dd { (time(text(&user, "created"))) }
                dt { "Last change" } dd { (time(text(&user, "updated"))) }
            }
            div.deeds {
                @for deed in Deed::ALL.into_iter().filter(|deed| deed.is_open(&user)) {
                    a.button href=(format!("{up}users/{}/{}", encoded(name), deed.as_str())) { (deed.name()) "…" }
                }
            }
        }
        section.card { h2 { "Sessions" } (sessions) }
    };
    Ok(Regions::default().page(format!("User {name}"), Tab::Users, body))
}

/// Asks whether that is really to be done; `refusal` says why it was not.
pub async fn confirmation(asked: &Asked<'_>, name: &str, deed: Deed) -> Result<Page, Failure> {
    let user: Document = asked.api.get(&format!("{}/{name}", USER.name)).await?;
    Ok(question(asked, text(&user, "username"), deed, None))
}

fn question(asked: &Asked<'_>, name: &str, deed: Deed, refusal: Option<&str>) -> Page {
    let back = format!("{}users/{}", asked.up, encoded(name));
    let title = format!("{}: {name}", deed.name());
    let body = html! {
        form.card.narrow.login method="post" action=(format!("{back}/{}", deed.as_str())) {
            h1 { (title) }
            @if let Some(refusal) = refusal { pre.refusal role="alert" { (refusal) } }
            p { (deed.consequence()) }
            @if deed == Deed::Password {
                // browsers keep the password under it
                input name="username" autocomplete="username" value=(name) hidden;
                (password_field())
            }
            div.deeds {
                button.primary.danger[deed == Deed::Delete] type="submit" { (deed.name()) }
                a.button href=(back) { "Back" }
            }
        }
    };
    Regions::default().page(title, Tab::Users, body)
}

/// Does it. What the API does not take is said beside the form.
pub async fn carry_out(asked: &Asked<'_>, name: &str, deed: Deed, form: &Fields) -> Result<Done, Failure> {
    let id = format!("{}/{name}", USER.name);
    let answer = match deed.change(form) {
        Some(change) => asked.api.put(&id, &change).await,
        None if deed == Deed::EndSessions => asked.api.delete(&sessions::place_of(name)).await,
        None => asked.api.delete(&id).await,
    };
    match answer {
        Ok(_) if deed == Deed::Delete => Ok(Done::To(format!("{}users", asked.up))),
        Ok(_) => Ok(Done::To(format!("{}users/{}", asked.up, encoded(name)))),
        Err(ApiError::Refused { refusal, .. }) if is_of_the_form(&refusal) => {
            let status = status(&refusal);
            Ok(Done::Not(Page { status, ..question(asked, name, deed, Some(&refusal.message)) }))
        }
        Err(error) => Err(error.into()),
    }
}
