//! Requests and answers, whatever they are about: connections, limits, bodies.
//!
//! Written on hyper alone. The limits of a body depend on its caller and its share of the memory, a request goes on when
//! its client leaves, and each refusal has its text and the request's id: no layer of a web framework does these.

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
