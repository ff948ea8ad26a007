//! [`JobMetrics`]: what happened to jobs, as it is scraped. Nothing of it is counted here.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use slipstream_cimi::{Code, State};

use super::counters::{BUCKETS, Count, Counters, Span, bound};
use super::definitions::definition;

/// Why writes are refused, and what of it is counted as what.
pub(super) const REFUSED: [(Code, Count); 4] = [
    (Code::LateLease, Count::RefusedLate),
    (Code::Superseded, Count::RefusedSuperseded),
    (Code::Final, Count::RefusedFinal),
    (Code::Conflict, Count::RefusedConflict),
];
const ENDED: [(State, Count); 3] =
    [(State::Success, Count::Success), (State::Failed, Count::Failed), (State::Stopped, Count::Stopped)];
const ATTEMPTS: [(&str, Count); 4] = [
    ("finished", Count::AttemptFinished),
    ("failed", Count::AttemptFailed),
    ("released", Count::AttemptReleased),
    ("lost", Count::AttemptLost),
];
/// The first bucket of ours that ends one which is scraped, and how many of ours each of those has: 8 ms, 32 ms, … 2.3 h.
const FIRST: usize = 6;
const STEP: usize = 4;
/// How many are scraped, without the one for all longer times.
const FINITE: usize = 11;

/// Reads [`Counters`] whenever it is scraped.
pub(super) struct JobMetrics(Arc<Counters>);

impl JobMetrics {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self(counters)
    }

    /// A counter of the table: of each action, what this answers with a second label.
    fn counter<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        (label, values): (&str, [(&str, Count); N]),
    ) -> fmt::Result {
        let mut metric = begin(encoder, name, MetricType::Counter)?;
        for of in self.0.actions() {
            for (value, count) in values {
                add(&mut metric, &[("action", &*of.name), (label, value)], of.get(count))?;
            }
        }
        Ok(())
    }
}

impl Collector for JobMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut added = begin(&mut encoder, "slipstream_jobs_added_total", MetricType::Counter)?;
        for of in self.0.actions() {
            add(&mut added, &[("action", &*of.name)], of.get(Count::Added))?;
        }
        let ended = ENDED.map(|(state, count)| (state.as_str(), count));
        self.counter(&mut encoder, "slipstream_jobs_ended_total", ("state", ended))?;
        self.counter(&mut encoder, "slipstream_attempts_total", ("outcome", ATTEMPTS))?;
        let mut refused = begin(&mut encoder, "slipstream_writes_refused_total", MetricType::Counter)?;
        for (code, count) in REFUSED {
            let of_all = self.0.actions().map(|of| of.get(count)).sum();
            add(&mut refused, &[("code", code.as_str())], of_all)?;
        }
        let mut waits = begin(&mut encoder, "slipstream_job_wait_seconds", MetricType::Histogram)?;
        for of in self.0.actions() {
            let (buckets, sum) = (scraped(&of.buckets(Span::Wait)), of.sum(Span::Wait).as_secs_f64());
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("action", &*of.name)];
            waits.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

impl fmt::Debug for JobMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JobMetrics").finish_non_exhaustive()
    }
}

fn begin<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let definition = definition(name);
    // as the registry has it of others
    let help = format!("{}.", definition.help);
    encoder.encode_descriptor(definition.registered(), &help, None, kind)
}

fn add<const N: usize>(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], count: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&count, None)
}

/// The buckets that are scraped, each the sum of some of ours.
fn scraped(buckets: &[u64; BUCKETS]) -> Vec<(f64, u64)> {
    let mut scraped = Vec::new();
    let mut begin = 0;
    for end in (FIRST..BUCKETS).step_by(STEP).take(FINITE) {
        scraped.push((bound(end), buckets[begin..=end].iter().sum()));
        begin = end + 1;
    }
    scraped.push((f64::INFINITY, buckets[begin..].iter().sum()));
    scraped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scraped_has_all_that_was_measured() {
        let mut buckets = [1; BUCKETS];
        buckets[BUCKETS - 1] = 5;
        let scraped = scraped(&buckets);
        assert_eq!((scraped.len(), scraped[0], scraped[1]), (FINITE + 1, (0.008, 7), (0.032, 4)));
        assert_eq!(scraped.last(), Some(&(f64::INFINITY, 9)));
        assert_eq!(scraped.iter().map(|(_, count)| count).sum::<u64>(), buckets.iter().sum::<u64>());
    }
}
