//! The CIMI server.

pub mod store;
