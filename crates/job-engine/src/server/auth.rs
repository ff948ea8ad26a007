//! Who asks: sessions, users and their passwords, and what a trusted proxy says.

pub mod access;
mod passwords;
pub mod peer;
pub mod sessions;
mod throttle;
pub mod users;
