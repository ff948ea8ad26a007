//! The documents behind the API, and how they are found and shown (specification 3.4 and 4).

pub mod collection;
pub mod declared;
pub mod entry_point;
pub mod jobs;
pub mod operations;
mod pages;
pub mod search;
pub mod sessions;
pub mod templates;
pub mod users;

use serde_json::Value;
use slipstream_cimi::Document;

use super::Shared;
use super::error::ApiError;
use super::http::request::ApiRequest;

/// An attempt writes to other documents than its job, too: only as long as it is the latest (decision 4).
pub(super) async fn fence(shared: &Shared, request: &ApiRequest) -> Result<(), ApiError> {
    match request.attempt()? {
        Some(attempt) => super::jobs::fence(shared, &request.caller, &attempt).await,
        None => Ok(()),
    }
}

fn object(value: Value) -> Document {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("written as an object by the caller"),
    }
}
