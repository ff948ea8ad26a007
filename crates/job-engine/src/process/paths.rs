//! Paths in the node tree on which server, executor and distributor agree.

use slipstream_coordination::queue::EntryName;

/// Root of the queue, as the original engines have it.
pub const JOB: &str = "/job";
/// Waiting entries.
pub const ENTRIES: &str = "/job/entries";
/// Claims.
pub const TAKEN: &str = "/job/taken";
/// Elections of distributors, as the original engines have them.
pub const ELECTION: &str = "/election";
/// All that the original engines do not have lies below this.
pub const OWN: &str = "/slipstream";
/// Holds the generation (decision 3) as decimal text.
pub const GENERATION: &str = "/slipstream/generation";
/// Holds the identity of the store whose queue this is, as text.
pub const STORE: &str = "/slipstream/store";
/// Election of the reconciler.
pub const RECONCILER: &str = "/slipstream/reconciler";
/// What the reconciler leaves alone, for people: an ephemeral node for the time of the session in which it leads.
pub const RECONCILED: &str = "/slipstream/reconciled";
/// Where the coordinator is asked what time it is.
pub const CLOCK: &str = "/slipstream/clock";
/// High-water marks of distributors, one node each.
pub const MARKS: &str = "/slipstream/marks";
/// Registered executors: an ephemeral node each, named by the claimant that its claims' data show.
pub const EXECUTORS: &str = "/slipstream/executors";
/// When actions were last somebody's: a persistent node for each, with that time as text.
pub const ACTIONS: &str = "/slipstream/actions";
/// Registered distributors: an ephemeral node for each session of each process that stands as a candidate.
pub const DISTRIBUTORS: &str = "/slipstream/distributors";

/// Nobody who raises it by one comes near this. Which of those below are believed the server decides, who knows what was
/// before: whoever claims under another one is refused as late, and reads the node again once the server has mended it.
const HIGHEST_GENERATION: i64 = 1 << 62;

/// The generation that these data of its node show, if that is one.
#[must_use]
pub fn shown_generation(data: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(data).ok()?.trim().parse().ok()?;
    (1..=HIGHEST_GENERATION).contains(&number).then_some(number)
}

/// Whether this is the path of an entry of the queue.
#[must_use]
pub fn is_entry(path: &str) -> bool {
    entry_name(path).is_some()
}

/// The name of the entry of this path; none if it is not that of an entry of the queue.
#[must_use]
pub fn entry_name(path: &str) -> Option<EntryName> {
    EntryName::parse(path.strip_prefix(ENTRIES)?.strip_prefix('/')?)
}

/// The path of the entry of this name.
#[must_use]
pub fn entry_path(name: EntryName) -> String {
    format!("{ENTRIES}/{name}")
}
