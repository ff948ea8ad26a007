//! CIMI documents, jobs, filters and a client: for anyone who talks to a `SlipStream` server.
//!
//! * [`job`]: what a job is, its states and what may follow what.
//! * [`resource`]: what all documents have in common.
//! * [`acl`]: who may view and who may modify a document.
//! * [`query`] and [`filter`]: how a search is asked and what it means.
//! * [`client`]: [`client::Client`] over a [`client::Transport`]; `http` has the one over a network,
//!   `unix` the one over a Unix socket.
//! * [`lease`]: who may write into a job.
//! * [`dialect`]: the names and texts of the `SlipStream` servers' dialect.
//! * [`overview`]: what this engine answers besides: its queue, executors, distributors and ledgers.

pub mod acl;
pub mod client;
pub mod dialect;
pub mod error;
pub mod filter;
#[cfg(feature = "http")]
pub mod http;
pub mod job;
pub mod lease;
pub mod overview;
pub mod query;
pub mod resource;
#[cfg(feature = "unix")]
pub mod unix;

pub use client::{Client, Credentials, Transport};
pub use error::{Code, Error, Refusal};
pub use job::{Job, State};
pub use lease::{AttemptIdentity, Lease};
pub use resource::Document;
#[cfg(feature = "unix")]
pub use unix::UnixTransport;
