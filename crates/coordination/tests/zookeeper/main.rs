//! What the adapter to `ZooKeeper` promises beyond the seam, and what only real servers can show: members that fail,
//! connections that break, logins, certificates, limits; and kazoo as a peer.
//!
//! The cases that hold for every coordinator are in the conformance suite, which runs over `ZooKeeper` too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod connection;
mod kazoo;
mod limits;
mod members;
mod support;
mod tls;
