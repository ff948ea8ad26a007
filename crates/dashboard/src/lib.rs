//! Pages over the API of a server: what a browser is shown below `/ui/`.
//!
//! The pages know nothing but the API and ask it [as whoever asked for the page](api), so that they show and do what the API
//! grants and nothing else. Read [`routes`] for what there is, [`frame`] for what all pages have in common, and [`live`] for
//! how a page stays up to date. Everything but that works without a script.

mod api;
mod assets;
mod chart;
mod complete;
mod filters;
mod frame;
mod html;
mod live;
mod page;
mod pages;
mod parts;
mod request;
mod response;
mod routes;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use slipstream_cimi::Transport;
use tokio::sync::watch;

use self::api::Site;
use self::live::Live;
pub use self::response::Body;
pub use self::routes::route_of;

/// The pages. Cheap to share behind an [`Arc`].
pub struct Dashboard {
    site: Site,
    live: Live,
}

impl Dashboard {
    /// Pages over an API: `api` answers as it does, and sees the extensions of requests; `changes` rises whenever something
    /// that a page shows may have changed; `now` is the time by the server's clock.
    pub fn new(
        api: Arc<dyn Transport>,
        changes: watch::Receiver<u64>,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { site: Site { transport: api, now: Arc::new(now) }, live: Live::new(changes) }
    }

    /// Whether a path is one of the dashboard's: `/`, `/ui`, `/ui/…`.
    #[must_use]
    pub fn is_at(path: &str) -> bool {
        matches!(path, "/" | "/ui") || path.starts_with("/ui/")
    }

    /// Answers a request that was read whole. The body of the answer may be a stream, which ends with
    /// [`stop`](Self::stop).
    pub async fn respond(&self, request: Request<Bytes>) -> Response<Body> {
        routes::respond(&self.site, &self.live, request).await
    }

    /// Ends all streams, so that their connections can.
    pub fn stop(&self) {
        self.live.stop();
    }
}
