//! Many jobs in the array of one POST.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use slipstream_cimi::dialect::INTERNAL_TEMPLATE;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Document, Transport};
use tokio::task::JoinSet;

/// A way to add many jobs at once.
#[derive(Clone)]
pub struct Bulk {
    transport: Arc<dyn Transport>,
    cookie: HeaderValue,
    job: Value,
}

impl Bulk {
    /// None if the server takes no arrays.
    pub async fn log_in(transport: Arc<dyn Transport>, password: &str, job: Document) -> anyhow::Result<Option<Self>> {
        let template = json!({"href": INTERNAL_TEMPLATE, "username": ADMINISTRATOR, "password": password});
        let mut request = Request::post("/api/session").header(CONTENT_TYPE, "application/json");
        let body = serde_json::to_vec(&json!({"sessionTemplate": template}))?;
        let answer = transport.send(request.body(body.into())?).await.map_err(anyhow::Error::from_boxed)?;
        ensure!(answer.status() == StatusCode::CREATED, "the login was answered {}", answer.status());
        let cookie = answer.headers().get(SET_COOKIE).context("a login answers a cookie")?.to_str()?;
        let cookie = HeaderValue::from_str(cookie.split(';').next().unwrap_or_default())?;
        let bulk = Self { transport, cookie, job: Value::Object(job) };
        request = Request::post("/api/job").header(CONTENT_TYPE, "application/json").header(COOKIE, &bulk.cookie);
        // whoever takes arrays answers that the one in it is no job, and adds nothing
        let probe = request.body(Bytes::from_static(b"[{}]"))?;
        let answer = bulk.transport.send(probe).await.map_err(anyhow::Error::from_boxed)?;
        Ok(answer.status().is_success().then_some(bulk))
    }

    /// Adds so many jobs. Whether each of an array was added, their number in the store says.
    pub async fn add(&self, jobs: u64, array: u64, submitters: usize) -> anyhow::Result<()> {
        let left = Arc::new(AtomicU64::new(jobs));
        let mut work = JoinSet::new();
        for _ in 0..submitters {
            let (bulk, left) = (self.clone(), left.clone());
            work.spawn(async move {
                let take = |left: u64| (left > 0).then(|| left.saturating_sub(array));
                while let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                    bulk.post(before.min(array)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = work.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Adds so many jobs in one array.
    pub async fn post(&self, jobs: u64) -> anyhow::Result<()> {
        let array = vec![&self.job; usize::try_from(jobs)?];
        let request = Request::post("/api/job").header(CONTENT_TYPE, "application/json").header(COOKIE, &self.cookie);
        let request = request.body(serde_json::to_vec(&array)?.into())?;
        let answer = self.transport.send(request).await.map_err(anyhow::Error::from_boxed)?;
        if !answer.status().is_success() {
            bail!("an array was answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        }
        Ok(())
    }
}
