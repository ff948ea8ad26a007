//! Server, executor and distributor as processes of their own: what they refuse, what they keep to themselves, and how
//! they do jobs together over a real `ZooKeeper`.

mod folders;
mod metrics;
mod outages;
mod passwords;
mod refusals;
mod secrets;
mod site;
pub mod support;
