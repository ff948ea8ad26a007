//! [`Renewal`]: the folder of the entries is made anew before its counter ends.
//!
//! `ZooKeeper` numbers sequential nodes by a counter of their parent, which ends at 2147483647: from then on it gives the
//! same number again, so that of one priority only one entry can wait at a time. A folder that is made anew counts from 0.
//! That is done in one transaction, and refused while anything lies in it, so no entry is ever lost and nobody finds it
//! missing.

use std::sync::Mutex;

use super::entry_name::EntryName;
use super::requests::Requests;
use crate::session::{Cause, Error, Mode, Operation};

/// Entries numbered from here say that the end is near: at a thousand jobs a minute it is a hundred days away.
pub(super) const WORN_FROM: i64 = 2_000_000_000;

/// What the counter was seen to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wear {
    #[default]
    New,
    Worn,
    /// The folder may not be made anew.
    Kept(Cause),
}

/// Sees what is put, and makes the folder anew.
pub(super) struct Renewal {
    wear: Mutex<Wear>,
    worn_from: Mutex<i64>,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self { wear: Mutex::default(), worn_from: Mutex::new(WORN_FROM) }
    }

    pub(super) fn set_worn_from(&self, sequence: i64) {
        *self.worn_from.lock().expect("nothing panics while it holds this") = sequence;
    }

    fn wear(&self) -> Wear {
        *self.wear.lock().expect("nothing panics while it holds this")
    }

    fn set(&self, wear: Wear) -> bool {
        let mut now = self.wear.lock().expect("nothing panics while it holds this");
        std::mem::replace(&mut *now, wear) != wear
    }

    /// What became of a put says how far the counter is: past its end the names that it gives exist.
    pub(super) fn note(&self, queue: &str, put: &Result<Vec<String>, Error>) {
        let worn_from = *self.worn_from.lock().expect("nothing panics while it holds this");
        let is_worn = match put {
            Ok(paths) => {
                let name = paths.last().and_then(|path| EntryName::parse(path.rsplit_once('/')?.1));
                name.is_some_and(|name| name.sequence() >= worn_from || name.sequence() < 0)
            }
            Err(error) => error.is(Cause::NodeExists),
        };
        if is_worn && self.wear() == Wear::New && self.set(Wear::Worn) {
            tracing::warn!(
                queue,
                "entry counter is near its limit of 2147483647: the folder of entries is recreated once it is empty"
            );
        }
    }

    /// Makes the folder anew if its counter is near the end and nothing lies in it. What cannot be done now is tried again
    /// at the next put.
    pub(super) async fn renew_if_worn(&self, requests: &Requests) {
        if self.wear() == Wear::New {
            return;
        }
        match renew(requests).await {
            Ok(()) => {
                self.set(Wear::New);
                tracing::info!(queue = requests.root, "empty folder of entries recreated");
            }
            // entries wait, or the folder is being made
            Err(Error::Refused { cause: Cause::NotEmpty | Cause::NoNode | Cause::BadVersion, .. }) => {}
            Err(Error::Refused { path, cause, .. }) => {
                if self.set(Wear::Kept(cause)) {
                    tracing::error!(path, %cause, "cannot recreate the folder of entries, which is needed soon");
                }
            }
            Err(error) => tracing::debug!(%error, "folder of entries not recreated yet"),
        }
    }
}

async fn renew(requests: &Requests) -> Result<(), Error> {
    let folder = requests.session.data(&requests.entries).await?;
    // kazoo's consumers wait for changes below the folders and take none of a folder itself for one: so they list again
    let nudge = format!("{}/renewed", requests.taken);
    let operations = vec![
        Operation::Delete { path: requests.entries.clone(), version: Some(folder.version) },
        Operation::create(&requests.entries, folder.data, Mode::PersistentAnew),
        Operation::create(&nudge, "", Mode::Persistent),
        Operation::delete(nudge),
    ];
    requests.session.commit(operations).await.map(drop)
}
