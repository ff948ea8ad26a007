//! The `SlipStream` job engine: server, executor and distributors. `ARCHITECTURE.md` follows one job through it.
//!
//! [`server`], [`executor`] and [`distributor`] do not know each other: they meet at CIMI and at the queue. [`up`] puts
//! them together in one process.

pub mod actions;
pub mod cli;
pub mod clock;
pub mod config;
pub mod distributor;
pub mod executor;
pub mod nodes;
pub mod pauses;
pub mod registry;
pub mod server;
pub mod stop;
pub mod telemetry;
pub mod up;
