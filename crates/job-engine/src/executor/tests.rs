//! The executor between a scripted server and an embedded coordinator, in paused time.

pub(crate) mod fake_server;
pub(crate) mod harness;

mod crashes;
mod endings;
mod faults;
mod refusals;
mod sessions;
mod stops;
