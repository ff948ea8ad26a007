//! What administrators see and set right. Nothing of what is seen is stored: it is joined of the queue, the registry
//! (decision 17), the elections and the ledgers, each read once, so it may show a job that has just ended.

mod attention;
pub mod distributors;
pub mod doctor;
pub mod executors;
mod longest;
pub mod marks;
pub mod notices;
pub mod overview;
pub mod queue;
mod waiting;

use serde::Serialize;
use slipstream_coordination::Contender;

use super::http::answer::Answer;

/// A view of the engine.
#[derive(Serialize)]
struct View<T> {
    id: &'static str,
    #[serde(rename = "resourceURI")]
    resource_uri: &'static str,
    #[serde(flatten)]
    seen: T,
}

impl<T: Serialize> View<T> {
    fn answer(id: &'static str, resource_uri: &'static str, seen: T) -> Answer {
        Answer::ok(&Self { id, resource_uri, seen })
    }
}

/// What those candidates call themselves that somebody owns.
fn identifiers(contenders: &[Contender]) -> impl Iterator<Item = String> {
    let owned = contenders.iter().filter(|contender| !contender.is_stray);
    owned.map(|contender| contender.identifier.clone().unwrap_or_else(|| "(may not be read)".to_owned()))
}
