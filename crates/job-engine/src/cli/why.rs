//! Why a job runs, waits or has ended, as the server says it and people read it.

use jiff::Timestamp;
use slipstream_cimi::overview::explain::{EXPLAIN, Explanation, Reason};
use slipstream_cimi::{Client, Error};

use super::terminal::{lasting, one_line, shortened};

/// What the server says. An error is an answer of nobody who understands the question, too.
pub async fn read(client: &Client, id: &str) -> Result<Explanation, Error> {
    client.view(&format!("{id}/{EXPLAIN}")).await
}

/// What a person may want to know of a job that waits.
pub fn in_the_way(explanation: Explanation) -> Vec<Reason> {
    explanation.reasons.into_iter().filter(|reason| reason.code.is_obstacle()).collect()
}

/// The same as the server says it: nothing from a server that does not say it, or not to this user.
pub async fn obstacles(client: &Client, id: &str) -> Result<Vec<Reason>, Error> {
    match read(client, id).await {
        Ok(explanation) => Ok(in_the_way(explanation)),
        Err(error) if error.refusal().is_some_and(|refusal| matches!(refusal.status, 403..=405)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Each reason with who it is about.
pub fn rows(reasons: &[Reason], now: Timestamp) -> Vec<(String, String)> {
    let row = |reason: &Reason| {
        let who = reason.executor.as_deref().map_or_else(|| "the server".to_owned(), |name| one_line(&shortened(name)));
        let since = reason.since.map(|since| format!(", {}", lasting(since, now))).unwrap_or_default();
        let until = reason.until.map(|until| format!(" (looks again at {until:.0})")).unwrap_or_default();
        (who, format!("{}{since}{until}", one_line(&reason.text)))
    };
    reasons.iter().map(row).collect()
}

/// The same on one line, if there is any.
pub fn in_a_line(reasons: &[Reason]) -> Option<String> {
    let said = |Reason { text, executor, .. }: &Reason| match executor {
        Some(executor) => format!("{}: {}", one_line(executor), one_line(text)),
        None => one_line(text),
    };
    let said: Vec<String> = reasons.iter().map(said).collect();
    (!said.is_empty()).then(|| format!("waits because {}", said.join("; ")))
}
