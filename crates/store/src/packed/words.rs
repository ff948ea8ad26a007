//! What jobs have in common, each a byte. [`WORDS`] may grow at its end, and change in no other way.

use std::sync::LazyLock;

/// The first of [`WORDS`].
pub(super) const WORD: u8 = 32;

/// Names of members and texts that many jobs have.
pub(super) const WORDS: &[&str] = &[
    "id",
    "resourceURI",
    "created",
    "updated",
    "action",
    "targetResource",
    "href",
    "state",
    "progress",
    "priority",
    "acl",
    "owner",
    "principal",
    "type",
    "rules",
    "right",
    "affectedResources",
    "started",
    "timeOfStatusChange",
    "duration",
    "statusMessage",
    "returnCode",
    "parentJob",
    "nestedJobs",
    "properties",
    "name",
    "description",
    "expiry",
    "output",
    "payload",
    "tags",
    "entry",
    "lease",
    "generation",
    "zxid",
    "lost",
    "attempts",
    "executor",
    "begun",
    "ended",
    "outcome",
    "refused-total",
    "http://sixsq.com/slipstream/1/Job",
    "ADMIN",
    "USER",
    "ANON",
    "ROLE",
    "ALL",
    "VIEW",
    "MODIFY",
    "QUEUED",
    "RUNNING",
    "SUCCESS",
    "FAILED",
    "STOPPING",
    "STOPPED",
    "finished",
    "",
    "super",
];

/// Words, each with its byte, by their [`place`].
static PLACES: LazyLock<Vec<Vec<(&str, u8)>>> = LazyLock::new(|| {
    let mut places = vec![Vec::new(); 256];
    for (word, byte) in WORDS.iter().zip(WORD..) {
        places[place(word)].push((*word, byte));
    }
    places
});

/// Where a word is looked for. These numbers give each a place of its own.
fn place(word: &str) -> usize {
    let (first, last) = (word.bytes().next().unwrap_or_default(), word.bytes().next_back().unwrap_or_default());
    (word.len() * 11 + usize::from(first) * 6 + usize::from(last) * 15) % 256
}

/// The byte of a text that is a word.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    PLACES[place(text)].iter().find(|(word, _)| *word == text).map(|(_, byte)| *byte)
}
