//! The login templates (specification 2.1): there is one.

use serde_json::{Value, json};
use slipstream_cimi::dialect::{self, SESSION_TEMPLATE};

use super::collection;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// The login templates; anybody may read them.
pub fn search(request: &ApiRequest) -> Result<Answer, ApiError> {
    collection::of(SESSION_TEMPLATE, vec![internal()], false, &request.search()?.aggregations)
}

/// Reads a login template.
pub fn read(request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    request.parameters()?;
    match id {
        dialect::INTERNAL_TEMPLATE => Ok(Answer::ok(&internal())),
        _ => Err(ApiError::not_found(id)),
    }
}

fn internal() -> Value {
    json!({
        "id": dialect::INTERNAL_TEMPLATE, "resourceURI": SESSION_TEMPLATE.resource_uri,
        "name": "Internal", "description": "Internal Authentication via Username/Password",
        "method": "internal", "methodKey": "internal", "instance": "internal", "group": "Login Methods",
        "username": "username", "password": "password",
        "created": "1970-01-01T00:00:00.000Z", "updated": "1970-01-01T00:00:00.000Z",
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"},
                "rules": [{"principal": "ANON", "type": "ROLE", "right": "VIEW"}]},
    })
}
