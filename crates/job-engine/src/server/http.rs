//! Requests and answers, whatever they are about: connections, limits, bodies.
//!
//! On hyper alone, without a router or layers of a framework: how long a body may be depends on who sends it and counts
//! against that user's memory, its time-out is one for the whole body and answered in words, a request goes on when its
//! client leaves or its handler panics, and its id is part of what a refusal says.

pub mod answer;
pub mod body;
mod connection;
mod cross_site;
pub mod in_process;
mod json_text;
pub mod listen;
pub mod request;
pub mod shares;

use std::sync::Arc;

use ::http::{Request, Response};
use futures_util::future::BoxFuture;

use self::body::Body;

/// What answers every request.
pub type Service = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;
