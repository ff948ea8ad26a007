//! The executor between a scripted server and an embedded coordinator, in paused time.

pub(crate) mod fake_server;
pub(crate) mod harness;

mod endings;
mod faults;
mod sessions;
mod stops;
