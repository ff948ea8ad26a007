//! A locking queue and an election above a `ZooKeeper` node tree. Knows no job and no CIMI.
//!
//! * [`session`]: the seam, [`session::Session`] in `ZooKeeper`'s own vocabulary.
//! * [`tree`]: the node tree as a pure state machine, without clock or socket.
//! * [`embedded`]: the adapter that keeps such a tree in this process.
//! * [`zookeeper`]: the adapter that talks to a `ZooKeeper` ensemble.
//! * [`queue`]: [`queue::LockingQueue`] and [`queue::Claim`], byte-compatible with kazoo's.
//! * [`retry`]: when and how loudly what failed is tried again.
//! * [`election`]: [`election::Election`] and [`election::Leadership`], byte-compatible with kazoo's.

pub mod election;
pub mod embedded;
pub mod queue;
pub mod retry;
pub mod session;
mod tasks;
pub mod tree;
mod watch_sender;
pub mod zookeeper;

pub use election::{Contender, Election, Leadership};
pub use embedded::Embedded;
pub use queue::{Claim, LockingQueue};
pub use session::{Coordinator, Error, Session};
pub use zookeeper::ZooKeeper;
