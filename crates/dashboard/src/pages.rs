//! The pages, one file each, and the table of what shows them and what changes something.

pub mod about;
pub mod actions;
pub mod bulk;
mod deeds;
pub mod distributors;
pub mod executors;
pub mod failure;
pub mod job;
pub mod jobs;
pub mod login;
mod longest;
pub mod notices;
mod offers;
pub mod operations;
pub mod overview;
pub mod queue;
pub mod sessions;
pub mod users;

use slipstream_cimi::overview::bulk::Deed as BulkDeed;

use self::failure::Failure;
use crate::api::{Api, Who};
use crate::page::Page;
use crate::request::Fields;

/// What a page is made from.
pub struct Asked<'a> {
    /// The API, asked as whoever asks for the page.
    pub api: &'a Api,
    /// Who that is.
    pub who: &'a Who,
    /// The way up to where all pages are.
    pub up: &'a str,
    /// The fields of the page's address.
    pub query: &'a Fields,
}

/// What came of something that was to be done.
pub enum Done {
    /// It is done; the browser goes on to that page.
    To(String),
    /// It is not; the page says why, and keeps what can be changed.
    Not(Page),
}

/// A page behind the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first page.
    Overview,
    /// Jobs by a filter.
    Jobs,
    /// The job of this name: its id without `job/`.
    Job(String),
    /// Asks whether that is really to be done with a job.
    JobDeed(String, job::Deed),
    /// Asks whether that is really to be done with all jobs of a filter.
    Bulk(BulkDeed),
    Operations,
    /// The bulk operation of this name.
    Operation(String),
    OperationStop(String),
    Queue,
    /// Asks whether the queue is really to be restored.
    QueueRestore,
    Actions,
    Distributors,
    Distributor(String),
    /// Asks whether a distributor is really to begin anew.
    DistributorReset(String),
    Executors,
    /// By what it shows in its claims.
    Executor(String),
    Users,
    User(String),
    /// Asks whether that is really to be done with a user.
    UserDeed(String, users::Deed),
    /// Those of whoever asks.
    Sessions,
    /// Asks whether they are really all to end.
    SessionsEnd,
    SessionEnd(String),
    About,
}

impl Place {
    /// Where the parts of a path lead.
    pub fn of(segments: &[&str]) -> Option<Self> {
        match *segments {
            [""] => Some(Self::Overview),
            ["jobs"] => Some(Self::Jobs),
            ["jobs", "bulk", deed] => deeds::deed_from_text(deed).map(Self::Bulk),
            ["jobs", name] if !name.is_empty() => Some(Self::Job(name.to_owned())),
            ["jobs", name, deed] if !name.is_empty() => {
                job::Deed::from_text(deed).map(|deed| Self::JobDeed(name.to_owned(), deed))
            }
            ["operations"] => Some(Self::Operations),
            ["operations", name] if !name.is_empty() => Some(Self::Operation(name.to_owned())),
            ["operations", name, "stop"] if !name.is_empty() => Some(Self::OperationStop(name.to_owned())),
            ["queue"] => Some(Self::Queue),
            ["queue", "restore"] => Some(Self::QueueRestore),
            ["actions"] => Some(Self::Actions),
            ["distributors"] => Some(Self::Distributors),
            ["distributors", name] if !name.is_empty() => Some(Self::Distributor(name.to_owned())),
            ["distributors", name, "reset"] if !name.is_empty() => Some(Self::DistributorReset(name.to_owned())),
            ["executors"] => Some(Self::Executors),
            ["executors", claimant] if !claimant.is_empty() => Some(Self::Executor(claimant.to_owned())),
            ["users"] => Some(Self::Users),
            ["users", name] if !name.is_empty() => Some(Self::User(name.to_owned())),
            ["users", name, deed] if !name.is_empty() => {
                users::Deed::from_text(deed).map(|deed| Self::UserDeed(name.to_owned(), deed))
            }
            ["sessions"] => Some(Self::Sessions),
            ["sessions", "end"] => Some(Self::SessionsEnd),
            ["sessions", name, "end"] if !name.is_empty() => Some(Self::SessionEnd(name.to_owned())),
            ["about"] => Some(Self::About),
            _ => None,
        }
    }

    /// Whether it shows what changes without the server hearing of it: who has registered, who holds what.
    pub fn is_to_be_asked_for(&self) -> bool {
        matches!(
            self,
            Self::Overview
                | Self::Operations
                | Self::Operation(_)
                | Self::Queue
                | Self::Actions
                | Self::Executors
                | Self::Executor(_)
                | Self::Distributors
                | Self::Distributor(_)
        )
    }

    /// Whether it shows what is nobody else's affair.
    fn is_for_administrators(&self) -> bool {
        !matches!(
            self,
            Self::Overview
                | Self::Jobs
                | Self::Job(_)
                | Self::JobDeed(..)
                | Self::Bulk(_)
                | Self::Operations
                | Self::Operation(_)
                | Self::OperationStop(_)
                | Self::Sessions
                | Self::SessionsEnd
                | Self::SessionEnd(_)
        )
    }

    /// What its path is counted as.
    pub fn route(&self) -> &'static str {
        match self {
            Self::Overview => "/ui",
            Self::Jobs => "/ui/jobs",
            Self::Job(_) => "/ui/jobs/{id}",
            Self::JobDeed(..) => "/ui/jobs/{id}/{deed}",
            Self::Bulk(_) => "/ui/jobs/bulk/{deed}",
            Self::Operations => "/ui/operations",
            Self::Operation(_) => "/ui/operations/{id}",
            Self::OperationStop(_) => "/ui/operations/{id}/stop",
            Self::Queue => "/ui/queue",
            Self::QueueRestore => "/ui/queue/restore",
            Self::Actions => "/ui/actions",
            Self::Distributors => "/ui/distributors",
            Self::Distributor(_) => "/ui/distributors/{name}",
            Self::DistributorReset(_) => "/ui/distributors/{name}/reset",
            Self::Executors => "/ui/executors",
            Self::Executor(_) => "/ui/executors/{claimant}",
            Self::Users => "/ui/users",
            Self::User(_) => "/ui/users/{name}",
            Self::UserDeed(..) => "/ui/users/{name}/{deed}",
            Self::Sessions => "/ui/sessions",
            Self::SessionsEnd => "/ui/sessions/end",
            Self::SessionEnd(_) => "/ui/sessions/{id}/end",
            Self::About => "/ui/about",
        }
    }
}

/// The page at a place. What is not asked of the API as a question that only administrators may ask is refused here.
pub async fn shown(place: &Place, asked: &Asked<'_>) -> Result<Page, Failure> {
    if place.is_for_administrators() && !asked.who.is_administrator {
        return Err(Failure::NotAllowed);
    }
    let mut page = page(place, asked).await?;
    if asked.who.is_administrator {
        page.add(notices::ID, notices::of(asked).await);
    }
    Ok(page)
}

async fn page(place: &Place, asked: &Asked<'_>) -> Result<Page, Failure> {
    match place {
        Place::Overview => overview::page(asked).await,
        Place::Jobs => jobs::page(asked).await,
        Place::Job(name) => job::page(asked, name).await,
        Place::JobDeed(name, deed) => job::confirmation(asked, name, *deed).await,
        Place::Bulk(deed) => bulk::confirmation(asked, *deed).await,
        Place::Operations => operations::page(asked).await,
        Place::Operation(name) => operations::one(asked, name).await,
        Place::OperationStop(_) | Place::SessionEnd(_) => Err(Failure::WrongMethod("POST")),
        Place::Queue => queue::page(asked).await,
        Place::QueueRestore => Ok(queue::confirmation(asked)),
        Place::Actions => actions::page(asked).await,
        Place::Distributors => distributors::page(asked).await,
        Place::Distributor(name) => distributors::one(asked, name).await,
        Place::DistributorReset(name) => Ok(distributors::confirmation(asked, name)),
        Place::Executors => executors::page(asked).await,
        Place::Executor(claimant) => executors::one(asked, claimant).await,
        Place::Users => users::page(asked).await,
        Place::User(name) => users::one(asked, name).await,
        Place::UserDeed(name, deed) => users::confirmation(asked, name, *deed).await,
        Place::Sessions => sessions::page(asked).await,
        Place::SessionsEnd => Ok(sessions::confirmation(asked)),
        Place::About => about::page(asked).await,
    }
}

/// Does what the page at a place asks for.
pub async fn done(place: &Place, asked: &Asked<'_>, form: &Fields) -> Result<Done, Failure> {
    match place {
        Place::JobDeed(name, deed) => job::carry_out(asked, name, *deed, form).await,
        Place::Bulk(deed) => bulk::begin(asked, *deed, form).await,
        Place::OperationStop(name) => operations::stop(asked, name).await,
        Place::QueueRestore => queue::restore(asked).await,
        Place::DistributorReset(name) => distributors::reset(asked, name).await,
        Place::SessionsEnd => sessions::end_all(asked).await,
        Place::SessionEnd(name) => sessions::end(asked, name, form).await,
        Place::Users => users::add(asked, form).await,
        Place::UserDeed(name, deed) => users::carry_out(asked, name, *deed, form).await,
        _ => Err(Failure::WrongMethod("GET, HEAD")),
    }
}
