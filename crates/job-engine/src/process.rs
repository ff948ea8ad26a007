//! What every process of the engine has: a clock, a way to be asked to stop, a log, a registration, and its place in the
//! node tree.

pub mod activity;
pub mod address;
pub(crate) mod admin;
pub(crate) mod admin_listener;
pub mod clock;
pub(crate) mod descendants;
pub(crate) mod health;
pub mod metrics;
pub(crate) mod output;
pub mod owner;
pub(crate) mod password_file;
pub mod paths;
pub mod registry;
pub(crate) mod service_manager;
pub(crate) mod statsd;
pub mod stop;
pub(crate) mod supervise;
pub mod telemetry;
pub(crate) mod visible;
pub(crate) mod written;
