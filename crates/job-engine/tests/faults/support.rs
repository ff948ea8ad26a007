//! Waiting for a condition with a limit, and small readers of documents.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use slipstream_cimi::{Credentials, Document};
use tokio::time::Instant;

/// Longest wait for anything in a test, on a machine that does much else.
pub const LIMIT: Duration = Duration::from_mins(2);
/// Of the administrator.
pub const PASSWORD: &str = "for-tests";
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `condition` until it answers something.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(LIMIT, condition).await.unwrap_or_else(|| panic!("not within {LIMIT:?}: {what}"))
}

/// Asks `condition` until it answers something, or for so long.
pub async fn within<T>(limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = tokio::time::interval(PAUSE);
    loop {
        pause.tick().await;
        if let Some(value) = condition().await {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
    }
}

pub fn credentials() -> Credentials {
    Credentials { username: "super".to_owned(), password: PASSWORD.into() }
}

pub fn text<'a>(document: &'a Document, attribute: &str) -> &'a str {
    document.get(attribute).and_then(Value::as_str).unwrap_or_default()
}

/// Says something on the page that `cargo xtask faults` writes, if that is who runs this.
pub fn write_for_the_page(name: &str, text: &str) {
    if let Some(folder) = std::env::var_os("FAULTS_FOLDER") {
        std::fs::write(Path::new(&folder).join(name), text).expect("the folder for the page can be written to");
    }
}

/// Lets something go on for as long as a plan says.
pub async fn lasts(length: Duration) {
    tokio::time::sleep_until(Instant::now() + length).await;
}

/// The program that a variable names, or the one that was built with the tests: processes of the version before work beside
/// those of this one.
pub fn program_in(variable: &str, built: impl Into<OsString>) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| built.into())
}
