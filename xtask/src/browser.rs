//! The browser in which the tests look at the dashboard.

use crate::commands::exists;
use crate::debian;

/// Makes sure that Chromium is there. Quick when it is.
pub fn set_up() -> anyhow::Result<()> {
    if exists("chromium") {
        println!("up to date: Chromium");
        return Ok(());
    }
    debian::install("Chromium", &["chromium"])
}
