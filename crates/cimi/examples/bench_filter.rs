//! `cargo xtask bench filter`: how long a filter takes to be parsed and to be held against a document.
//!
//! One thread, medians of five runs. The ratio is to parsing the same document as JSON, in the same run.

#![expect(clippy::print_stdout, reason = "it is no part of the product, and may end where nothing can be written")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use slipstream_cimi::Document;
use slipstream_cimi::filter::Filter;

/// What people and programs ask, and whether the job below satisfies it.
const FILTERS: [(&str, bool); 7] = [
    ("state='QUEUED'", false),
    ("state='SUCCESS' and action='collect_virtual_machines'", true),
    ("state='QUEUED' or state='RUNNING'", false),
    ("state=['FAILED', 'SUCCESS'] and targetResource/href^='credential/'", true),
    ("created>='2026-11-24T00:00:00Z' and created<'now+1d'", true),
    ("(priority<50 or progress=100) and statusMessage!=null and acl/rules/principal='jane'", true),
    ("statusMessage=='machines found'", true),
];
const NOW: &str = "2026-11-25T12:00:00Z";
const RUNS: usize = 5;
/// How long one run goes on.
const LENGTH: Duration = Duration::from_millis(100);
/// Operations between two looks at the clock.
const BATCH: u32 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let document = job();
    let text = serde_json::to_string(&document)?;
    let now = NOW.parse()?;
    let json = nanoseconds(|| serde_json::from_str::<Document>(black_box(&text)).is_ok());
    println!("document     {} bytes of JSON, parsed by serde_json in {json:.0} ns", text.len());
    println!("{:<88} {:>8} {:>7} {:>8} {:>7}", "nanoseconds", "parse", "ratio", "match", "ratio");
    for (filter, expected) in FILTERS {
        let parsed = Filter::parse(filter)?.resolve(now);
        if parsed.matches(&document) != expected {
            return Err(format!("{filter} should be {expected}").into());
        }
        let parse = nanoseconds(|| Filter::parse(black_box(filter)).is_ok());
        let matches = nanoseconds(|| parsed.matches(black_box(&document)));
        println!("{filter:<88} {parse:>8.0} {:>7.3} {matches:>8.0} {:>7.3}", parse / json, matches / json);
    }
    Ok(())
}

/// Median time of one operation.
fn nanoseconds(operation: impl Fn() -> bool) -> f64 {
    let mut runs = [0.0; RUNS];
    for run in &mut runs {
        let mut times = 0.0;
        let begin = Instant::now();
        while begin.elapsed() < LENGTH {
            for _ in 0..BATCH {
                black_box(operation());
            }
            times += f64::from(BATCH);
        }
        *run = begin.elapsed().as_secs_f64() * 1e9 / times;
    }
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

/// A job as a server keeps it.
fn job() -> Document {
    let job = json!({
        "id": "job/4ab3cc9e-0e9e-4b2c-a76c-0f3b9f2a7f5e",
        "resourceURI": "http://sixsq.com/slipstream/1/Job",
        "created": "2026-11-24T09:13:42.117Z",
        "updated": "2026-11-24T09:13:45.902Z",
        "action": "collect_virtual_machines",
        "state": "SUCCESS",
        "progress": 100,
        "priority": 999,
        "targetResource": {"href": "credential/0d4e1f0a-6f86-4a0c-8f0e-6d2b0a6f2b11"},
        "affectedResources": [{"href": "virtual-machine/1"}, {"href": "virtual-machine/2"}],
        "statusMessage": "2 machines found",
        "returnCode": 0,
        "started": "2026-11-24T09:13:43.001Z",
        "duration": 2,
        "acl": {
            "owner": {"principal": "ADMIN", "type": "ROLE"},
            "rules": [
                {"principal": "ADMIN", "type": "ROLE", "right": "ALL"},
                {"principal": "jane", "type": "USER", "right": "VIEW"},
            ],
        },
    });
    match job {
        serde_json::Value::Object(job) => job,
        _ => Document::new(),
    }
}
