//! The table of all metrics: `docs/metrics.md` has the same one, and a test compares the two.

/// A metric.
#[derive(Debug)]
pub(crate) struct Definition {
    /// As it is scraped.
    pub name: &'static str,
    pub kind: Kind,
    #[cfg_attr(not(test), expect(dead_code, reason = "what is counted has them, and a test compares the two"))]
    pub labels: &'static [&'static str],
    /// What it means, without a full stop.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Definition {
    const fn new(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind, labels, help }
    }

    /// The name of the family: that of a counter is without the ending of its samples.
    pub(super) fn registered(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").expect("counters end so"),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

/// The one of this name.
pub(super) fn definition(name: &str) -> &'static Definition {
    ALL.iter().find(|definition| definition.name == name).expect("each metric is in the table")
}

/// All of them, in the order of the page.
pub(crate) static ALL: [Definition; 26] = [
    Definition::new("slipstream_build_info", Kind::Gauge, &["version", "commit", "part"], "Always 1: what runs here"),
    Definition::new(
        "slipstream_log_lines_dropped_total",
        Kind::Counter,
        &[],
        "Lines of log and output nobody took in time",
    ),
    Definition::new(
        "slipstream_request_duration_seconds",
        Kind::Histogram,
        &["peer", "operation"],
        "How long requests to the server, to ZooKeeper and to the store take",
    ),
    Definition::new(
        "slipstream_request_errors_total",
        Kind::Counter,
        &["peer", "operation"],
        "Such requests without a good answer; a refusal is one",
    ),
    Definition::new(
        "slipstream_session_state",
        Kind::Gauge,
        &["state"],
        "1 for the state of the session with ZooKeeper: connected, suspended or none",
    ),
    Definition::new("slipstream_jobs_added_total", Kind::Counter, &["action"], "Jobs added"),
    Definition::new(
        "slipstream_jobs_ended_total",
        Kind::Counter,
        &["action", "state"],
        "Jobs that reached a final state: SUCCESS, FAILED or STOPPED",
    ),
    Definition::new("slipstream_jobs", Kind::Gauge, &["state"], "Jobs in the store"),
    Definition::new(
        "slipstream_job_wait_seconds",
        Kind::Histogram,
        &["action"],
        "From the add of a job to the begin of its first attempt",
    ),
    Definition::new(
        "slipstream_attempts_total",
        Kind::Counter,
        &["action", "outcome"],
        "Attempts that ended: finished, failed, released or lost",
    ),
    Definition::new(
        "slipstream_writes_refused_total",
        Kind::Counter,
        &["code"],
        "Writes to jobs refused: late-lease, superseded, final or conflict",
    ),
    Definition::new(
        "slipstream_queue_jobs",
        Kind::Gauge,
        &["priority"],
        "Waiting entries by priority, as of the last round of the reconciler",
    ),
    Definition::new(
        "slipstream_queue_oldest_seconds",
        Kind::Gauge,
        &["priority"],
        "Age of the oldest waiting job by priority, as of the last round of the reconciler",
    ),
    Definition::new(
        "slipstream_reconciler_mended_total",
        Kind::Counter,
        &["what"],
        "What the reconciler mended: entries put, entries consumed",
    ),
    Definition::new(
        "slipstream_http_requests_total",
        Kind::Counter,
        &["route", "status"],
        "Requests answered by the API",
    ),
    Definition::new("slipstream_http_request_seconds", Kind::Histogram, &["route"], "How long they took"),
    Definition::new("slipstream_store_waiting_writes", Kind::Gauge, &[], "Writes that wait for the disk"),
    Definition::new("slipstream_claims_total", Kind::Counter, &[], "Entries claimed"),
    Definition::new(
        "slipstream_verdicts_total",
        Kind::Counter,
        &["verdict"],
        "What became of claims: consume, release or abandon",
    ),
    Definition::new("slipstream_action_duration_seconds", Kind::Histogram, &["action"], "How long actions run"),
    Definition::new("slipstream_slots", Kind::Gauge, &[], "Jobs that may run at once"),
    Definition::new("slipstream_slots_busy", Kind::Gauge, &[], "Slots with a job"),
    Definition::new("slipstream_hosts", Kind::Gauge, &[], "Processes of hosts of actions"),
    Definition::new("slipstream_draining", Kind::Gauge, &[], "1 while the executor is drained"),
    Definition::new(
        "slipstream_leader",
        Kind::Gauge,
        &["distributor"],
        "1 where this process leads the distributor, 0 where it stands as a candidate",
    ),
    Definition::new(
        "slipstream_rounds_total",
        Kind::Counter,
        &["distributor", "what"],
        "Rounds of schedules: distributed, or missed and given up",
    ),
];
