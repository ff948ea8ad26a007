//! Requests and answers, whatever they are about: connections, limits, bodies.

pub mod body;
mod connection;
pub mod cross_site;
pub mod in_process;
mod json_text;
pub mod listen;
pub mod pages;
pub mod shares;
