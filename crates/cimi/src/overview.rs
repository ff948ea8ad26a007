//! What this engine's extensions of the API answer, as its server writes it and everybody else reads it: command line,
//! dashboard, tests. No other server has them.

pub mod bulk;
pub mod distributors;
pub mod doctor;
pub mod executors;
pub mod explain;
pub mod ledger;
pub mod notices;
pub mod queue;
pub mod retries;
pub mod sessions;
pub mod user;
pub mod work;
