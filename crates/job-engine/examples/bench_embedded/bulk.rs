//! `bulk-add`: many jobs in the array of one POST.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::dialect::INTERNAL_TEMPLATE;
use slipstream_job_engine::server::sessions::ADMINISTRATOR;
use tokio::task::JoinSet;

use crate::Bench;
use crate::engine::{Engine, PASSWORD, job};
use crate::figures::{Figure, Report};
use crate::flow::Way;
use crate::load::remove;
use crate::process::Moment;

/// Jobs of one array.
const ARRAY: u64 = 1_000;
/// Arrays under way at once.
const SUBMITTERS: usize = 4;
/// Jobs of a run are so many times those of others: an array is quick.
const MORE: u64 = 5;
const PROMISED: f64 = 40_000.0;

pub async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let jobs = bench.jobs * MORE;
    Report::about(&format!(
        "bulk-add: {jobs} jobs in arrays of {ARRAY}, one at a time by each of {SUBMITTERS} submitters, no executor"
    ));
    for way in Way::BOTH {
        let mut rates = Vec::new();
        for _ in 0..bench.runs {
            let path = bench.stores.fresh();
            let engine = Engine::open(&path, false).await?;
            let listening = engine.listen().await?;
            let transport = if way == Way::Http { listening.transport()? } else { engine.transport() };
            let Some(bulk) = Bulk::log_in(transport).await? else {
                println!("this server takes no arrays");
                return Ok(());
            };
            let begin = Moment::now();
            bulk.add(jobs).await?;
            rates.push(begin.until(Moment::now()).rate(jobs));
            drop(bulk);
            engine.ensure_queued(jobs).await?;
            listening.end().await?;
            engine.close().await?;
            remove(&path)?;
        }
        let raw = bench.raw;
        let figure = Figure::new(format!("bulk-add{}", way.suffix()), "jobs/s", rates).at_least(PROMISED);
        bench.report.add(figure.of("raw SQLite", raw.insert.rate(raw.rows)));
    }
    Ok(())
}

/// A way to add many jobs at once.
#[derive(Clone)]
pub struct Bulk {
    transport: Arc<dyn Transport>,
    cookie: HeaderValue,
}

impl Bulk {
    /// None if the server takes no arrays.
    pub async fn log_in(transport: Arc<dyn Transport>) -> anyhow::Result<Option<Self>> {
        let template = json!({"href": INTERNAL_TEMPLATE, "username": ADMINISTRATOR, "password": PASSWORD});
        let mut request = Request::post("/api/session").header(CONTENT_TYPE, "application/json");
        let body = serde_json::to_vec(&json!({"sessionTemplate": template}))?;
        let answer = transport.send(request.body(body.into())?).await.map_err(anyhow::Error::from_boxed)?;
        ensure!(answer.status() == StatusCode::CREATED, "the login was answered {}", answer.status());
        let cookie = answer.headers().get(SET_COOKIE).context("a login answers a cookie")?.to_str()?;
        let cookie = HeaderValue::from_str(cookie.split(';').next().unwrap_or_default())?;
        let bulk = Self { transport, cookie };
        request = Request::post("/api/job").header(CONTENT_TYPE, "application/json").header(COOKIE, &bulk.cookie);
        // whoever takes arrays answers that the one in it is no job, and adds nothing
        let probe = request.body(Bytes::from_static(b"[{}]"))?;
        let answer = bulk.transport.send(probe).await.map_err(anyhow::Error::from_boxed)?;
        Ok(answer.status().is_success().then_some(bulk))
    }

    /// Adds so many jobs. Whether each of an array was added, their number in the store says.
    pub async fn add(&self, jobs: u64) -> anyhow::Result<()> {
        let left = Arc::new(AtomicU64::new(jobs));
        let mut submitters = JoinSet::new();
        for _ in 0..SUBMITTERS {
            let (bulk, left) = (self.clone(), left.clone());
            submitters.spawn(async move {
                let take = |left: u64| (left > 0).then(|| left.saturating_sub(ARRAY));
                while let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                    bulk.post(before.min(ARRAY)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = submitters.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn post(&self, jobs: u64) -> anyhow::Result<()> {
        let array: Vec<Value> = (0..jobs).map(|_| Value::Object(job())).collect();
        let request = Request::post("/api/job").header(CONTENT_TYPE, "application/json").header(COOKIE, &self.cookie);
        let request = request.body(serde_json::to_vec(&array)?.into())?;
        let answer = self.transport.send(request).await.map_err(anyhow::Error::from_boxed)?;
        if !answer.status().is_success() {
            bail!("an array was answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        }
        Ok(())
    }
}
