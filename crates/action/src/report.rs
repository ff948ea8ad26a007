//! [`Report`] and [`Reports`]: what an action says, on its way into the document.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex};

use slipstream_cimi::resource::is_id;
use tokio::sync::{Notify, watch};

/// Most documents that one run of an action can name. A server reads requests of 1 MiB.
pub const MOST_AFFECTED_RESOURCES: usize = 1000;
/// Longest id of such a document, in bytes.
const LONGEST_ID: usize = 256;
/// Longest message, in bytes: old servers fail above about 32 KB (specification 5.1).
pub const LONGEST_MESSAGE: usize = 32_000;

/// What an action has said and is not yet in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Percent, 0 to 100.
    pub progress: Option<u8>,
    /// For people.
    pub status_message: Option<String>,
    /// Ids of documents that the action touched, each once, in the order in which they were named.
    pub affected_resources: Vec<String>,
}

impl Report {
    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was said earlier: of progress and message the later one stays, of the documents all.
    fn put_before(&mut self, earlier: Report) {
        let later = mem::replace(self, earlier);
        self.progress = later.progress.or(self.progress);
        self.status_message = later.status_message.or_else(|| self.status_message.take());
        self.affected_resources.extend(later.affected_resources);
    }
}

/// A text of at most `longest` bytes: beginning and end of one that is longer.
#[must_use]
pub fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let half = (longest / 2).saturating_sub(8);
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head}\n...\n{tail}").into()
}

/// What a job's last message says of affected resources that were left out.
#[must_use]
pub fn left_out_note(left_out: usize) -> String {
    format!("(left out, as they are no ids or too many: {left_out} affected resources)")
}

/// For executors: where the reports of one action arrive, each merged into what was not taken out yet, so that an
/// action never waits and whoever sends them on sends the latest. Clones share it.
#[derive(Clone, Debug)]
pub struct Reports(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    report: watch::Sender<Report>,
    named: Mutex<Named>,
    /// Notified of each report, beside those who wait.
    notice: Option<Arc<Notify>>,
}

/// The documents that were named since the beginning.
#[derive(Debug, Default)]
struct Named {
    ids: BTreeSet<String>,
    left_out: usize,
}

impl Default for Reports {
    fn default() -> Self {
        Self::new()
    }
}

impl Reports {
    /// Nothing was reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_notice(None)
    }

    /// Nothing was reported yet, and whoever waits for `notice` wants to know of each report.
    pub(crate) fn with_notice(notice: Option<Arc<Notify>>) -> Self {
        Self(Arc::new(Shared { report: watch::Sender::new(Report::default()), named: Mutex::default(), notice }))
    }

    /// Ends as soon as there is something to take out.
    pub async fn waiting(&self) {
        let mut receiver = self.0.report.subscribe();
        if receiver.wait_for(|report| !report.is_empty()).await.is_err() {
            unreachable!("self keeps the sender");
        }
    }

    /// Takes out what was reported since it was last taken out.
    #[must_use = "what is taken out is reported by nobody else"]
    pub fn take(&self) -> Report {
        let mut taken = Report::default();
        self.0.report.send_if_modified(|report| {
            taken = mem::take(report);
            false
        });
        taken
    }

    /// Gives back what was taken out and could not be sent on; what was reported meanwhile counts as later.
    pub fn put_back(&self, report: Report) {
        self.0.report.send_modify(|later| later.put_before(report));
    }

    /// How many documents were named and left out, because they are no ids or too many.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.0.named.lock().expect("no holder of this lock panics").left_out
    }

    pub(crate) fn set_progress(&self, percent: u8) {
        self.change(|report| report.progress = Some(percent.min(100)));
    }

    pub(crate) fn set_status_message(&self, message: String) {
        let message = match shortened(&message, LONGEST_MESSAGE) {
            Cow::Borrowed(_) => message,
            Cow::Owned(short) => short,
        };
        self.change(|report| report.status_message = Some(message));
    }

    /// Each id once; answers whether it is among those that are reported.
    pub(crate) fn add_affected_resource(&self, id: String) -> bool {
        let mut named = self.0.named.lock().expect("no holder of this lock panics");
        if named.ids.contains(&id) {
            return true;
        }
        if id.len() > LONGEST_ID || !is_id(&id) || named.ids.len() >= MOST_AFFECTED_RESOURCES {
            named.left_out += 1;
            return false;
        }
        named.ids.insert(id.clone());
        self.change(|report| report.affected_resources.push(id));
        true
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        self.0.report.send_modify(change);
        if let Some(notice) = &self.0.notice {
            notice.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(progress: Option<u8>, message: Option<&str>, affected: &[&str]) -> Report {
        Report {
            progress,
            status_message: message.map(str::to_owned),
            affected_resources: affected.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[test]
    fn reports_are_merged_until_taken_out() {
        let reports = Reports::new();
        reports.set_progress(10);
        reports.set_status_message("first".to_owned());
        reports.add_affected_resource("a/1".to_owned());
        reports.set_progress(250);
        reports.add_affected_resource("a/2".to_owned());
        reports.add_affected_resource("a/1".to_owned());
        assert_eq!(reports.take(), report(Some(100), Some("first"), &["a/1", "a/2"]));
        assert!(reports.take().is_empty());
    }

    #[test]
    fn what_is_put_back_is_older_than_what_came_meanwhile() {
        let reports = Reports::new();
        reports.set_progress(10);
        reports.set_status_message("old".to_owned());
        reports.add_affected_resource("a/1".to_owned());
        let taken = reports.take();
        reports.set_progress(20);
        reports.add_affected_resource("a/2".to_owned());
        reports.put_back(taken);
        assert_eq!(reports.take(), report(Some(20), Some("old"), &["a/1", "a/2"]));
    }

    #[test]
    fn what_a_server_would_refuse_is_left_out_and_counted() {
        let reports = Reports::new();
        let add = |id: &str| reports.add_affected_resource(id.to_owned());
        assert!(add("credential/1") && add("credential/1"));
        let too_long = format!("a/{}", "b".repeat(LONGEST_ID));
        let refused = ["Deployment/ABC", "", "a/b/c", "a b", &too_long].map(add);
        assert_eq!((refused, reports.left_out()), ([false; 5], 5));
        assert_eq!(reports.take(), report(None, None, &["credential/1"]));
        for number in 0..2 * MOST_AFFECTED_RESOURCES {
            assert_eq!(add(&format!("a/{number}")), number < MOST_AFFECTED_RESOURCES - 1);
        }
        assert!(add("a/0"), "it was named before");
        assert_eq!(reports.take().affected_resources.len(), MOST_AFFECTED_RESOURCES - 1);
        assert_eq!(reports.left_out(), 5 + MOST_AFFECTED_RESOURCES + 1);
        reports.set_status_message("ä".repeat(LONGEST_MESSAGE));
        assert!(reports.take().status_message.unwrap().len() <= LONGEST_MESSAGE);
    }

    #[test]
    fn a_text_too_long_keeps_its_beginning_and_end() {
        let long = format!("begin{}end", "ä".repeat(1000));
        let short = shortened(&long, 1000);
        assert!(short.len() <= 1000, "{}", short.len());
        assert!(short.starts_with("beginä") && short.ends_with("äend") && short.contains("\n...\n"));
        assert_eq!(shortened("fine", 4), "fine");
    }

    #[tokio::test]
    async fn waiting_ends_when_something_is_reported_or_put_back() {
        let reports = Reports::new();
        let mut waiting = std::pin::pin!(reports.waiting());
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())).await
        );
        reports.set_progress(1);
        waiting.await;
        let taken = reports.take();
        reports.put_back(taken);
        reports.waiting().await;
    }
}
