//! What a foreign hand does to the node tree: somebody else's program, a backup tool, an operator.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_coordination::Session as _;
use slipstream_coordination::session::{Mode, Operation, make_path};
use slipstream_job_engine::internals::process::paths::{ELECTION, ENTRIES, EXECUTORS, RECONCILER, TAKEN};

use crate::plan::{Fault, Meddling};
use crate::process::DISTRIBUTOR;
use crate::world::World;

/// Whose hand it is, in the trace and in the nodes.
pub const FOREIGN: &str = "foreign";
/// Between two looks at the queue: everybody's turn, so that it is always the world's.
const LOOK: Duration = Duration::from_millis(10);
/// A candidate before all others, and an executor.
const FIRST: &str = "00000000000000000000000000000000";

impl World {
    /// Does it, if there is something to do it to.
    pub fn meddle(self: &Arc<Self>, meddling: Meddling) {
        match meddling {
            Meddling::UnreadableEntry => self.put_unreadable(),
            Meddling::QueuesAgain(times) => {
                self.with_a_waiting_one(move |world, name, job| world.queue_again(name, job, times));
            }
            Meddling::StrayCandidate(length) => {
                let path = format!("{ELECTION}/{DISTRIBUTOR}/{FIRST}__lock__0000000000");
                self.create(Fault::StrayCandidate, path, Some(length));
            }
            Meddling::StrayClaim(length) => self.with_a_waiting_one(move |world, name, _| {
                // whoever looks knows that it is taken
                world.board().tried(name);
                world.create(Fault::StrayClaim, format!("{TAKEN}/{name}"), Some(length));
            }),
            Meddling::StrayPlaces => {
                self.create(Fault::StrayPlaces, format!("{EXECUTORS}/{FIRST}"), None);
                self.create(Fault::StrayPlaces, format!("{RECONCILER}/{FIRST}__lock__0000000000"), None);
            }
        }
    }

    /// Does something to one of the entries that nobody holds, and its job, as soon as there is one.
    fn with_a_waiting_one(self: &Arc<Self>, act: impl FnOnce(&Arc<Self>, &str, &str) + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            while world.is_stormy() {
                let waiting = world.board().waiting();
                if !waiting.is_empty() {
                    let choice = world.below(waiting.len() as u64, FOREIGN, "which");
                    let (name, job) = &waiting[usize::try_from(choice).unwrap_or(0)];
                    return act(&world, name, job);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    fn put_unreadable(&self) {
        let entry = Operation::create(format!("{ENTRIES}/entry-000-"), "what is this", Mode::PersistentSequential);
        if let Some(paths) = self.commit(ENTRIES, vec![entry]) {
            self.inject(Fault::UnreadableEntry, FOREIGN, &paths.concat());
            self.reach().forbid(paths.concat());
        }
    }

    fn queue_again(&self, name: &str, job: &str, times: usize) {
        // as the first one, but for the sequence
        let path = format!("{ENTRIES}/{}", &name[.."entry-999-".len()]);
        let again = Operation::create(path, job, Mode::PersistentSequential);
        if let Some(paths) = self.commit(ENTRIES, vec![again; times]) {
            self.inject(Fault::QueuedAgain, FOREIGN, &format!("{job}, {times} times"));
            for path in paths {
                self.board().entry_put(path.rsplit('/').next().unwrap_or_default(), job);
            }
        }
    }

    /// Creates a node that goes with no session; an operator deletes it after a while, if anybody does.
    fn create(self: &Arc<Self>, fault: Fault, path: String, length: Option<Duration>) {
        if self.commit(folder_of(&path), vec![Operation::create(path.clone(), FOREIGN, Mode::Persistent)]).is_none() {
            return;
        }
        self.inject(fault, FOREIGN, &path);
        if let Some(length) = length {
            self.later(length, move |world| {
                // after a wipe it is gone, and somebody else's may have its name
                let node = world.coordinator().session().data(&path).now_or_never();
                let is_ours = node.is_some_and(|node| node.is_ok_and(|node| node.data == FOREIGN.as_bytes()));
                let deleted =
                    is_ours && world.commit(folder_of(&path), vec![Operation::delete(path.clone())]).is_some();
                world.trace.note(FOREIGN, &format!("deletes {path}: {deleted}"));
            });
        }
    }

    /// Carried out at once, or not at all.
    fn commit(&self, folder: &str, operations: Vec<Operation>) -> Option<Vec<String>> {
        let session = self.coordinator().session();
        make_path(&session, folder).now_or_never()?.ok()?;
        session.commit(operations).now_or_never()?.ok()
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(folder, _)| folder)
}

/// Whether this is the name of a candidate that goes with no session.
pub fn is_stray(name: &str) -> bool {
    name.starts_with(FIRST)
}
