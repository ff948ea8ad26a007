//! Whoever looks at pages: what they look at, how long a page takes, and the streams that they keep open.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use slipstream_cimi::Transport;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::USERS;
use crate::embedded::engine::PASSWORD;
use crate::embedded::process::count;
use crate::query::documents::Jobs;

/// Longest wait for a page.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks of one viewer.
pub const LOOK: Duration = Duration::from_secs(5);

/// Something to look at.
#[derive(Clone)]
pub struct Page {
    /// Who looks at it.
    pub user: &'static str,
    /// Below `/ui/`.
    pub path: String,
}

/// Pages and filters of an administrator, of a user with very many jobs and of one with three.
pub fn pages() -> Vec<Page> {
    let filter = |text: &str| {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("filter", text).finish();
        format!("jobs?{form}")
    };
    let job = |number: u64| Jobs::id(number).replacen("job/", "jobs/", 1);
    let [busy, rare] = USERS;
    let all = [
        (ADMINISTRATOR, String::new()),
        (ADMINISTRATOR, "jobs".to_owned()),
        (ADMINISTRATOR, filter("state='FAILED'")),
        (ADMINISTRATOR, filter("state='RUNNING'")),
        (ADMINISTRATOR, filter("action='collect_quotas'")),
        (ADMINISTRATOR, filter("state='FAILED' and action='noop'")),
        (ADMINISTRATOR, filter("acl/owner/principal='jane'")),
        (ADMINISTRATOR, job(5)),
        (ADMINISTRATOR, "queue".to_owned()),
        (ADMINISTRATOR, "actions".to_owned()),
        (ADMINISTRATOR, "executors".to_owned()),
        (ADMINISTRATOR, "distributors".to_owned()),
        (ADMINISTRATOR, "about".to_owned()),
        (busy, String::new()),
        (busy, "jobs".to_owned()),
        (busy, filter("state='FAILED'")),
        (busy, job(11)),
        (rare, "jobs".to_owned()),
        (rare, filter("state='SUCCESS'")),
        (rare, job(0)),
    ];
    all.into_iter().map(|(user, path)| Page { user, path }).collect()
}

/// Somebody who is logged in and looks at one page.
#[derive(Clone)]
pub struct Viewer {
    transport: Arc<HttpTransport>,
    /// Host and port.
    address: String,
    cookie: String,
    pub page: Page,
}

impl Viewer {
    /// Logs in by the form, as a browser does.
    pub async fn log_in(endpoint: &str, page: Page) -> anyhow::Result<Self> {
        let transport = Arc::new(HttpTransport::new(endpoint, false, LIMIT)?);
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("username", page.user), ("password", PASSWORD), ("next", "jobs")])
            .finish();
        let request = Request::post("/ui/login").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = transport.send(request.body(form.into())?).await.map_err(anyhow::Error::from_boxed)?;
        ensure!(
            answer.status() == StatusCode::SEE_OTHER,
            "the login of {} was answered {}",
            page.user,
            answer.status()
        );
        let cookie = answer.headers().get(SET_COOKIE).context("a login answers a cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let address = endpoint.trim_start_matches("http://").to_owned();
        Ok(Self { transport, address, cookie, page })
    }

    /// Loads something below `/ui/`, and answers how long that took.
    pub async fn load(&self, path: &str) -> anyhow::Result<(Duration, Bytes)> {
        let begin = Instant::now();
        let request = Request::get(format!("/ui/{path}")).header(COOKIE, &self.cookie).body(Bytes::new())?;
        let answer = self.transport.send(request).await.map_err(anyhow::Error::from_boxed)?;
        ensure!(answer.status() == StatusCode::OK, "{path} was answered {} to {}", answer.status(), self.page.user);
        Ok((begin.elapsed(), answer.into_body()))
    }

    /// Size of the page with all that it loads, and of its script alone, in bytes.
    pub async fn size(&self) -> anyhow::Result<(usize, usize)> {
        let (_, page) = self.load(&self.page.path).await?;
        let (mut all, mut script) = (page.len(), 0);
        let text = String::from_utf8(page.to_vec())?;
        for (at, _) in text.match_indices("assets/") {
            let name = text[at..].split('"').next().unwrap_or_default();
            let size = self.load(name).await?.1.len();
            all += size;
            if name.rsplit('.').next() == Some("js") {
                script += size;
            }
        }
        ensure!(script > 0, "the page {} has no script", self.page.path);
        Ok((all, script))
    }

    /// Keeps the page's stream open, and reads it. Ends only by an error.
    pub async fn follow(&self) -> anyhow::Result<()> {
        let page = form_urlencoded::Serializer::new(String::new()).append_pair("page", &self.page.path).finish();
        let Self { address, cookie, .. } = self;
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /ui/live?{page} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = vec![0; 64 * 1024];
        let first = stream.read(&mut buffer).await?;
        let head = String::from_utf8_lossy(&buffer[..first]).into_owned();
        ensure!(head.starts_with("HTTP/1.1 200"), "the stream of {} was answered {head}", self.page.path);
        while stream.read(&mut buffer).await? > 0 {}
        bail!("the stream of {} has ended", self.page.path)
    }

    /// Loads the page again and again, beginning after a part of a pause, and takes down how long it took. Ends only by an
    /// error.
    async fn look(&self, part: f64, times: &Mutex<Vec<Duration>>) -> anyhow::Result<()> {
        tokio::time::sleep(LOOK.mul_f64(part)).await;
        loop {
            let (time, _) = self.load(&self.page.path).await?;
            times.lock().expect("nothing panics while it holds the times").push(time);
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Viewers with their streams open. All streams end with this value.
pub struct Audience {
    viewers: Vec<Viewer>,
    streams: JoinSet<anyhow::Result<()>>,
}

impl Audience {
    /// These viewers open their streams.
    pub fn of(viewers: Vec<Viewer>) -> Self {
        let mut streams = JoinSet::new();
        for viewer in &viewers {
            let viewer = viewer.clone();
            streams.spawn(async move { viewer.follow().await });
        }
        Self { viewers, streams }
    }

    /// All keep their streams open while something is done; fails if one ends.
    pub async fn watch_while<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            ended = self.streams.join_next() => bail!("a stream has ended: {ended:?}"),
        }
    }

    /// The same, and all load their pages again and again; answers how long those took.
    pub async fn look_while<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Vec<Duration>)> {
        let times = Mutex::default();
        let (viewers, number) = (self.viewers.clone(), count(self.viewers.len() as u64));
        let look = |(viewer, index): (_, u32)| Viewer::look(viewer, f64::from(index) / number, &times);
        let looks = try_join_all(viewers.iter().zip(0..).map(look));
        let both = async {
            tokio::select! {
                done = work => done,
                failed = looks => bail!("nobody looks any more: {failed:?}"),
            }
        };
        let done = self.watch_while(both).await?;
        Ok((done, times.into_inner().expect("nothing panics while it holds the times")))
    }
}
