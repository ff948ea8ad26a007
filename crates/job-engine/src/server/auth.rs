//! Who asks: accounts, sessions and passwords, and what a trusted proxy says.

pub mod accounts;
pub mod caller;
mod passwords;
pub mod proxy;
pub mod sessions;
mod throttle;
