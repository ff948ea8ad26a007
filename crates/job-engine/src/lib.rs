//! The `SlipStream` job engine: server, executor and distributors. `ARCHITECTURE.md` follows one job through it.
//!
//! [`Engine`] is all of it in your own program, see [`engine`]; the crate's binary is built on it. [`server`],
//! [`executor`] and [`distributor`] do not know each other: they meet at CIMI and at the queue.

pub mod actions;
pub mod api;
pub mod cli;
pub mod config;
pub mod distributor;
pub mod engine;
pub mod executor;
mod instance;
pub mod marks;
pub mod process;
pub mod roles;
pub mod server;

pub use engine::{Engine, EngineBuilder, EngineError, InstanceError, Submit};
pub use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
pub use slipstream_cimi::{Client, Document, Job, State};

/// The examples of the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
