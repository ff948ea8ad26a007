//! The `SlipStream` job engine: server, executor and distributors. `ARCHITECTURE.md` follows one job through it.
//!
//! [`Engine`] is all of it in your own program; the crate's binary is built on it.
//!
//! ```
//! use slipstream_job_engine::{Engine, EngineError, Failure, JobHandle, State, Success};
//!
//! async fn greet(job: JobHandle) -> Result<Success, Failure> {
//!     let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("nobody to greet"))?;
//!     Ok(Success::with_message(format!("hello, {}", target.href)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), EngineError> {
//! let engine = Engine::builder().action("greet", greet).start().await?;
//! let (first, second) = (engine.submit("greet").target("user/jane").await?, engine.submit("greet").await?);
//! assert_eq!(engine.wait(&first).await?.status_message.as_deref(), Some("hello, user/jane"));
//! assert_eq!(engine.wait(&second).await?.state, State::Failed);
//! engine.stop().await
//! # }
//! ```

mod actions;
mod cli;
mod collections;
mod config;
mod distributor;
mod engine;
mod executor;
mod instance;
#[doc(hidden)]
pub mod internals;
pub mod keeper;
mod marks;
mod process;
mod programs;
mod roles;
mod server;

pub use engine::{Engine, EngineBuilder, EngineError, InstanceError, Submit};
pub use process::stop::Stop;
pub use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
pub use slipstream_cimi::{Client, Document, Job, State};

/// The examples of the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
