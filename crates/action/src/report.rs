//! [`Report`] and [`Reports`]: what an action says, on its way into the document.

use std::mem;
use std::sync::Arc;

use tokio::sync::watch;

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
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add_affected_resource(&mut self, id: String) {
        if !self.affected_resources.contains(&id) {
            self.affected_resources.push(id);
        }
    }

    /// Adds what was said earlier: of progress and message the later one stays, of the documents all.
    fn put_before(&mut self, earlier: Report) {
        let later = mem::replace(self, earlier);
        self.progress = later.progress.or(self.progress);
        self.status_message = later.status_message.or_else(|| self.status_message.take());
        for id in later.affected_resources {
            self.add_affected_resource(id);
        }
    }
}

/// For executors: where the reports of one action arrive, each merged into what was not taken out yet, so that an
/// action never waits and whoever sends them on sends the latest. Clones share it.
#[derive(Clone, Debug)]
pub struct Reports(Arc<watch::Sender<Report>>);

impl Default for Reports {
    fn default() -> Self {
        Self::new()
    }
}

impl Reports {
    /// Nothing was reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Report::default())))
    }

    /// Ends as soon as there is something to take out.
    pub async fn waiting(&self) {
        let mut receiver = self.0.subscribe();
        if receiver.wait_for(|report| !report.is_empty()).await.is_err() {
            unreachable!("self keeps the sender");
        }
    }

    /// Takes out what was reported since it was last taken out.
    #[must_use = "what is taken out is told by nobody else"]
    pub fn take(&self) -> Report {
        let mut taken = Report::default();
        self.0.send_if_modified(|report| {
            taken = mem::take(report);
            false
        });
        taken
    }

    /// Gives back what was taken out and could not be sent on; what was reported meanwhile counts as later.
    pub fn put_back(&self, report: Report) {
        self.0.send_modify(|later| later.put_before(report));
    }

    pub(crate) fn set_progress(&self, percent: u8) {
        self.0.send_modify(|report| report.progress = Some(percent.min(100)));
    }

    pub(crate) fn set_status_message(&self, message: String) {
        self.0.send_modify(|report| report.status_message = Some(message));
    }

    pub(crate) fn add_affected_resource(&self, id: String) {
        self.0.send_modify(|report| report.add_affected_resource(id));
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
