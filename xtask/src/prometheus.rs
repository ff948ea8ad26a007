//! Prometheus, which scrapes a site in the tests, and `promtool`, which tests the alerts.

use crate::commands::exists;
use crate::debian;

/// Makes sure that both are there. Quick when they are.
pub fn set_up() -> anyhow::Result<()> {
    if exists("prometheus") && exists("promtool") {
        println!("up to date: Prometheus");
        return Ok(());
    }
    debian::install("Prometheus with promtool", &["prometheus"])
}
