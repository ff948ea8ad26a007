//! [`measure`]: how much waits at each priority, and for how long.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use slipstream_coordination::queue::EntryName;

use crate::process::metrics::QueueOfPriority;
use crate::process::paths;
use crate::server::Shared;
use crate::server::jobs::document::time_of;

/// What priorities are counted as: by hundreds, and the last one, which is that of jobs without any, by itself.
const BANDS: [&str; 11] =
    ["0-99", "100-199", "200-299", "300-399", "400-499", "500-599", "600-699", "700-799", "800-899", "900-998", "999"];

/// The entries of a band that nobody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Band {
    jobs: u64,
    /// The entry that was put first.
    oldest: Option<EntryName>,
}

/// Counts the entries that nobody holds, and looks when the jobs of the oldest ones were added: as of this round. What cannot
/// be read is not said.
pub(super) async fn measure(shared: &Shared, entries: impl Iterator<Item = EntryName>, claims: &[String]) {
    let claimed: HashSet<EntryName> = claims.iter().filter_map(|name| EntryName::parse(name)).collect();
    let bands = bands(entries.filter(|name| !claimed.contains(name)));
    let oldest: Vec<String> = bands.iter().filter_map(|band| band.oldest).map(paths::entry_path).collect();
    let mut ids = shared.queue.texts_at(oldest).await.unwrap_or_default().into_iter();
    let now = shared.clock.now();
    let mut queue = Vec::with_capacity(BANDS.len());
    for (priority, band) in BANDS.into_iter().zip(bands) {
        let id = band.oldest.and_then(|_| ids.next()).and_then(|read| read.ok().flatten());
        let job = match id {
            Some(id) => shared.jobs.get(&id).await.ok().flatten(),
            None => None,
        };
        let oldest = job.map(|job| age(now, time_of(&job.document, "created")));
        queue.push(QueueOfPriority { priority, jobs: band.jobs, oldest });
    }
    shared.metrics.waits(&queue);
}

/// Entries rise in the order in which they are put, whatever their priority.
fn bands(entries: impl Iterator<Item = EntryName>) -> [Band; BANDS.len()] {
    let mut bands = [Band::default(); BANDS.len()];
    for entry in entries {
        let band = &mut bands[band(entry.priority())];
        band.jobs += 1;
        if band.oldest.is_none_or(|oldest| entry.sequence() < oldest.sequence()) {
            band.oldest = Some(entry);
        }
    }
    bands
}

fn band(priority: u16) -> usize {
    let last = BANDS.len() - 1;
    if priority >= 999 { last } else { usize::from(priority / 100).min(last - 1) }
}

/// None if it comes from a clock that is ahead.
fn age(now: Timestamp, created: Timestamp) -> Duration {
    now.duration_since(created).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(priority: u16, sequence: u32) -> EntryName {
        EntryName::parse(&format!("entry-{priority:03}-{sequence:010}")).unwrap()
    }

    #[test]
    fn every_priority_has_its_band() {
        let rows = [(0, "0-99"), (99, "0-99"), (100, "100-199"), (899, "800-899"), (900, "900-998"), (998, "900-998")];
        for (priority, name) in rows.into_iter().chain([(999, "999")]) {
            assert_eq!(BANDS[band(priority)], name, "{priority}");
        }
    }

    #[test]
    fn the_oldest_of_a_band_is_the_one_that_was_put_first() {
        let entries = [entry(10, 9), entry(10, 11), entry(90, 3), entry(999, 4)];
        let bands = bands(entries.into_iter());
        assert_eq!(bands[0], Band { jobs: 3, oldest: Some(entry(90, 3)) });
        assert_eq!(bands[10], Band { jobs: 1, oldest: Some(entry(999, 4)) });
        assert_eq!(bands.iter().map(|band| band.jobs).sum::<u64>(), 4);
    }
}
