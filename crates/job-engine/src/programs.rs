//! Programs that are not ours: each a process of its own, under a keeper (`keeper.rs`), from which nothing is left when it or this
//! process ends. Executors have jobs done by them, and distributors are told by them which jobs to add.

pub mod api_socket;
pub mod context;
pub mod directories;
pub(crate) mod environment;
pub mod keepers;
pub(crate) mod limits;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod ownership;
pub(crate) mod process;
pub mod program;
pub(crate) mod python;
pub(crate) mod throttle;
