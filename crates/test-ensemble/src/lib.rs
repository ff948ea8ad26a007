//! For tests: private `ZooKeeper` ensembles, and a proxy that injects faults.
//!
//! * [`Ensemble`]: one or three servers on 127.0.0.1 that go with the test process, whatever becomes of it. Members can be
//!   killed, paused and started again.
//! * [`Proxy`]: one address in front of another, where connections are cut, delayed or go deaf.
//!
//! Both need real time: `start_paused` makes their waits end at once.

mod ensemble;
mod java;
mod member;
mod proxy;

pub use ensemble::Ensemble;
pub use proxy::{Fault, Proxy};
