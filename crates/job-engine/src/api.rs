//! What our extensions of the API answer, as the server writes it and the command line reads it.

pub mod distributors;
pub mod executors;
pub mod ledger;
pub mod queue;
pub mod user;
