//! Programs that do jobs for a real executor, which is a process of its own beside a server and a real `ZooKeeper`: what is left
//! when something is killed, paused, or works for long.

mod explain;
mod kills;
mod many;
mod misbehaving;
pub mod support;
mod zombies;
