//! `slipstream-job jobs retry`: runs final jobs again, each as a new job.

use slipstream_cimi::overview::retries::{RETRIES, RETRY, Retries, Wish};
use slipstream_cimi::{Client, Document};

use super::super::terminal::text;

/// Runs a job again and answers the new job's id.
pub async fn retry(client: &Client, id: &str) -> anyhow::Result<String> {
    let Retries { count, .. } = client.view(&format!("{id}/{RETRIES}")).await?;
    let added: Document = client.operation_with(id, RETRY, &Wish { retries: count }).await?;
    Ok(text(&added, "resource-id").to_owned())
}
