//! Which job is meant: by its id, or by a beginning of it that no other job has.

use std::str::FromStr;

use anyhow::bail;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document, Error};
use uuid::Uuid;

use super::super::terminal::{one_line, text};

/// So many characters at least are the beginning of an id.
const SHORTEST: usize = 4;
/// So many of the jobs that a beginning fits are named.
const NAMED: i64 = 5;

/// What somebody has written for a job: `job/<name>` or `<name>`; a UUID in any of its spellings is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobId {
    id: String,
    /// Whether nothing follows what was written.
    is_whole: bool,
}

impl FromStr for JobId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("job/").unwrap_or(text);
        let (id, is_whole) = match Uuid::try_parse(name) {
            Ok(uuid) => (format!("{}/{uuid}", JOB.name), true),
            Err(_) if text.contains('/') => (text.to_owned(), false),
            Err(_) => (format!("{}/{text}", JOB.name), false),
        };
        if is_job_id(&id) {
            Ok(Self { id, is_whole })
        } else {
            Err("expected the id of a job, such as job/01991d3c-7c1e-7a3b-8f3c-0123456789ab, or its beginning")
        }
    }
}

/// The id of the job that is meant. A whole one is taken as it is, whether there is such a job or not.
pub async fn found(client: &Client, JobId { id, is_whole }: &JobId) -> anyhow::Result<String> {
    if *is_whole {
        return Ok(id.clone());
    }
    let missing = match client.get(id).await {
        Ok(_) => return Ok(id.clone()),
        Err(error) if error.is_not_found(id) && id.len() >= JOB.name.len() + 1 + SHORTEST => error,
        Err(error) => return Err(error.into()),
    };
    let beginning = id.to_ascii_lowercase();
    let search = Search {
        filter: Some(format!("id^='{beginning}'")),
        last: Some(NAMED),
        select: vec!["id".to_owned()],
        ..Search::default()
    };
    let found = client.search(JOB.name, &search).await?;
    the_one(id, found.count, &found.documents, missing)
}

/// Of the jobs that a beginning fits the one; `missing` says that there is none.
fn the_one(beginning: &str, count: u64, fitting: &[Document], missing: Error) -> anyhow::Result<String> {
    match fitting {
        [] => Err(missing.into()),
        [one] if count == 1 => Ok(text(one, "id").to_owned()),
        several => {
            let mut names: Vec<String> = several.iter().map(|job| one_line(text(job, "id"))).collect();
            if count > names.len() as u64 {
                names.push("…".to_owned());
            }
            bail!("{count} jobs begin with {beginning}, give more of the id: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_accepted_with_and_without_their_kind() {
        let parsed = |text: &str| text.parse::<JobId>().map(|id| (id.id, id.is_whole));
        assert_eq!(parsed("0a-b"), Ok(("job/0a-b".to_owned(), false)));
        assert_eq!(parsed("job/0a-b"), Ok(("job/0a-b".to_owned(), false)));
        let id = "job/01991d3c-7c1e-7a3b-8f3c-0123456789ab";
        for spelling in [id, "job/01991D3C-7C1E-7A3B-8F3C-0123456789AB", "01991d3c7c1e7a3b8f3c0123456789ab"] {
            assert_eq!(parsed(spelling), Ok((id.to_owned(), true)), "{spelling}");
        }
        for wrong in ["", "/", "job/", "session/0a", "job/0a/stop", "a b", "-", "job/../x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_beginning_means_the_one_job_that_has_it() {
        let jobs: Vec<Document> = ["job/0a1b2c", "job/0a1b2d"]
            .iter()
            .map(|id| [("id".to_owned(), json!(id))].into_iter().collect())
            .collect();
        let missing = || Error::Unintelligible { request: "GET".to_owned(), reason: "there is none".to_owned() };
        let meant = |count, jobs| the_one("job/0a1b", count, jobs, missing()).map_err(|error| error.to_string());
        assert_eq!(meant(1, &jobs[..1]), Ok("job/0a1b2c".to_owned()));
        let several = "jobs begin with job/0a1b, give more of the id: job/0a1b2c, job/0a1b2d";
        assert_eq!(meant(2, &jobs), Err(format!("2 {several}")));
        assert_eq!(meant(31, &jobs), Err(format!("31 {several}, …")));
        assert!(meant(0, &[]).is_err_and(|error| error.contains("there is none")));
    }
}
