//! [`Live`]: how pages that somebody looks at stay up to date.
//!
//! A page is rendered again when something has changed, at most so often that it costs a twentieth of the time and all pages
//! together a fiftieth, and once for all who may see the same; a viewer is sent what differs from what it has. Where nothing
//! changes nothing is done.

mod difference;

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Who};
use crate::page::{Region, digest};
use crate::pages::failure::Failure;
use crate::pages::{self, Asked, Place};
use crate::request::{PageRequest, Target};
use crate::response::{self, Body};

/// Streams at once, and of one session.
const MOST_STREAMS: usize = 128;
const MOST_OF_ONE: usize = 8;
/// The least time between two renderings of a page, and how many times its cost.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;
/// How many times the cost of all pages together lies between them, and how much of that may be owed.
const SHARE_OF_ALL: u32 = 50;
const CREDIT: Duration = Duration::from_secs(1);
/// What one rendering is taken to cost at most: a slow page holds up itself, and not all others.
const MOST_COST: Duration = Duration::from_millis(20);
/// How old a page may be that shows what changes without the server hearing of it.
const OLDEST: Duration = Duration::from_secs(5);
/// How often a stream says that it is there, by which it learns that nobody reads it any more.
const BEAT: Duration = Duration::from_secs(5);
/// How often it looks whether its viewer still is logged in.
const CHECK: Duration = Duration::from_secs(15);

/// Renderings that are shared, and streams.
pub struct Live {
    changes: watch::Receiver<u64>,
    shared: Mutex<HashMap<Key, Weak<Shared>>>,
    places: Arc<Semaphore>,
    of_sessions: Arc<Mutex<HashMap<String, usize>>>,
    budget: Arc<Budget>,
    stopped: CancellationToken,
}

/// What renderings may cost, all together.
#[derive(Default)]
struct Budget(Mutex<Option<Instant>>);

impl Budget {
    /// Pays for one more rendering; else answers when it can be paid for.
    fn take(&self, cost: Duration, now: Instant) -> Result<(), Instant> {
        let mut paid_until = lock(&self.0);
        let owed_until = paid_until.map_or(now, |paid| paid.max(now));
        if owed_until > now + CREDIT {
            return Err(owed_until - CREDIT);
        }
        *paid_until = Some(owed_until + cost.min(MOST_COST) * SHARE_OF_ALL);
        Ok(())
    }
}

/// Whoever has the same sees the same: the audience, and the page.
type Key = (String, String);

/// A rendering for all of one [`Key`].
#[derive(Default)]
struct Shared(tokio::sync::Mutex<Option<Rendered>>);

#[derive(Clone)]
struct Rendered {
    rendering: Arc<Rendering>,
    /// The changes that it has.
    seen: u64,
    /// When it may be done again.
    next: Instant,
    /// What it took.
    cost: Duration,
    /// When it is done again although nothing was heard of; never for most pages.
    old: Option<Instant>,
}

/// The regions of a page at some time.
struct Rendering {
    regions: Vec<Region>,
    state: String,
}

impl Rendered {
    fn is_old(&self) -> bool {
        self.old.is_some_and(|old| old <= Instant::now())
    }
}

impl Live {
    /// Follows this counter of changes.
    pub fn new(changes: watch::Receiver<u64>) -> Self {
        Self {
            changes,
            shared: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_STREAMS)),
            of_sessions: Arc::default(),
            budget: Arc::default(),
            stopped: CancellationToken::new(),
        }
    }

    /// Ends all streams.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    fn viewer(&self, request: &PageRequest, who: &Who) -> Result<Viewer, Failure> {
        let target = Target::of(request.target.query.get("page").unwrap_or_default());
        let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
        let place = Place::of(&segments).ok_or(Failure::NoPage)?;
        // administrators see all there is, others what is theirs
        let audience = if who.is_administrator { String::new() } else { who.audience.clone() };
        let key = (audience, target.text.clone());
        let mut all = lock(&self.shared);
        all.retain(|_, shared| shared.strong_count() > 0);
        let known = all.get(&key).and_then(Weak::upgrade);
        let shared = known.unwrap_or_else(|| {
            let new = Arc::new(Shared::default());
            all.insert(key, Arc::downgrade(&new));
            new
        });
        let changes = self.changes.clone();
        let budget = self.budget.clone();
        Ok(Viewer { api: request.api.clone(), who: who.clone(), target, place, shared, budget, changes })
    }

    /// A place for a stream of this session, or of this user where a proxy vouches for it; none if it or all have too many.
    fn place(&self, who: &Who) -> Option<StreamPlace> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let session = who.session.clone().unwrap_or_else(|| who.name.clone());
        let mut of_sessions = lock(&self.of_sessions);
        let own = of_sessions.entry(session.clone()).or_default();
        if *own >= MOST_OF_ONE {
            return None;
        }
        *own += 1;
        Some(StreamPlace { session, of_sessions: self.of_sessions.clone(), _permit: permit })
    }
}

/// The place of a stream, until it is dropped.
struct StreamPlace {
    session: String,
    of_sessions: Arc<Mutex<HashMap<String, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut of_sessions = lock(&self.of_sessions);
        if let Some(own) = of_sessions.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                of_sessions.remove(&self.session);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

/// What a page shows now, as JSON; 304 if the asker has it.
pub async fn regions(live: &Live, request: &PageRequest, who: &Who) -> Result<Response<Body>, Failure> {
    let rendering = live.viewer(request, who)?.rendering().await?;
    let tag = format!("\"{}\"", rendering.state);
    let mut response = if request.header(&IF_NONE_MATCH) == Some(&tag) {
        response::fresh(StatusCode::NOT_MODIFIED, "application/json", response::full(""))
    } else {
        response::json(difference::all(&rendering.regions, &rendering.state))
    };
    response.headers_mut().extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    Ok(response)
}

/// The stream of a page's changes. It begins with what differs from the state that the asker says that it has.
pub async fn stream(live: &Live, request: &PageRequest, who: &Who) -> Result<Response<Body>, Failure> {
    let viewer = live.viewer(request, who)?;
    let place = live.place(who).ok_or(Failure::TooManyStreams)?;
    let first = viewer.rendering().await?;
    let has = request.target.query.get("state") == Some(&first.state);
    let told = if has { Some(first) } else { None };
    let now = Instant::now();
    let stream = Stream {
        viewer,
        told,
        beat: now + BEAT,
        check: now + CHECK,
        look: now + OLDEST,
        is_over: false,
        _place: place,
    };
    let stopped = live.stopped.clone();
    Ok(response::events(stream::unfold((stream, stopped), |(mut stream, stopped)| async move {
        let event = tokio::select! {
            biased;
            () = stopped.cancelled() => None,
            event = stream.next() => event,
        };
        event.map(|event| (event, (stream, stopped)))
    })))
}

/// Somebody who looks at a page.
struct Viewer {
    api: Api,
    who: Who,
    target: Target,
    place: Place,
    shared: Arc<Shared>,
    budget: Arc<Budget>,
    changes: watch::Receiver<u64>,
}

impl Viewer {
    /// The page with all changes up to now, as soon as it may be rendered.
    async fn rendering(&self) -> Result<Arc<Rendering>, Failure> {
        loop {
            let next = {
                let mut last = self.shared.0.lock().await;
                // what changes from here on may or may not be in what is rendered now
                let seen = *self.changes.borrow();
                match &*last {
                    Some(rendered) if rendered.seen == seen && !rendered.is_old() => {
                        return Ok(rendered.rendering.clone());
                    }
                    Some(rendered) if rendered.next > Instant::now() => rendered.next,
                    before => match self.pay(before.as_ref()) {
                        Ok(()) => {
                            let rendered = self.render(seen).await?;
                            return Ok(last.insert(rendered).rendering.clone());
                        }
                        Err(later) => later,
                    },
                }
            };
            sleep_until(next).await;
        }
    }

    /// Whoever opens a page waits for nobody.
    fn pay(&self, before: Option<&Rendered>) -> Result<(), Instant> {
        before.map_or(Ok(()), |before| self.budget.take(before.cost, Instant::now()))
    }

    async fn render(&self, seen: u64) -> Result<Rendered, Failure> {
        let begun = Instant::now();
        let up = self.target.up();
        let asked = Asked { api: &self.api, who: &self.who, up: &up, query: &self.target.query };
        let regions = pages::shown(&self.place, &asked).await?.regions;
        let state = format!("{:016x}", digest(&regions));
        let cost = begun.elapsed();
        let next = Instant::now() + (cost * SHARE).max(LEAST_PAUSE);
        let old = self.place.is_to_be_asked_for().then(|| next.max(begun + OLDEST));
        Ok(Rendered { rendering: Arc::new(Rendering { regions, state }), seen, next, cost, old })
    }

    async fn is_still_there(&self) -> bool {
        matches!(self.api.who().await, Ok(Some(who)) if who == self.who)
    }
}

/// The stream of a viewer.
struct Stream {
    viewer: Viewer,
    /// What the viewer has.
    told: Option<Arc<Rendering>>,
    /// When it is to hear something, whatever happens.
    beat: Instant,
    /// When it is looked whether the viewer still is logged in.
    check: Instant,
    /// When it is looked whether a page has changed of whose changes nothing is heard.
    look: Instant,
    is_over: bool,
    _place: StreamPlace,
}

impl Stream {
    /// The next event; none once the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            tokio::select! {
                changed = change(&mut self.viewer.changes, self.told.is_some()) => {
                    if !changed {
                        return None;
                    }
                    if let Some(event) = self.changes().await {
                        return Some(event);
                    }
                }
                () = sleep_until(self.look), if self.viewer.place.is_to_be_asked_for() => {
                    self.look = Instant::now() + OLDEST;
                    if let Some(event) = self.changes().await {
                        return Some(event);
                    }
                }
                () = sleep_until(self.beat) => {
                    let now = Instant::now();
                    self.beat = now + BEAT;
                    if self.check <= now {
                        self.check = now + CHECK;
                        if !self.viewer.is_still_there().await {
                            return Some(self.end("login", "You are logged out."));
                        }
                    }
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
        // the browser ends it: one that has ended here it would open again
        pending().await
    }

    async fn changes(&mut self) -> Option<Bytes> {
        match self.viewer.rendering().await {
            Ok(rendering) => {
                if !self.viewer.is_still_there().await {
                    return Some(self.end("login", "You are logged out."));
                }
                let told = self.told.replace(rendering.clone());
                let before = told.as_ref().map(|told| &told.regions[..]);
                let event = difference::between(before, &rendering.regions, &rendering.state)?;
                Some(format!("event: regions\ndata: {event}\n\n").into())
            }
            Err(_) if !self.viewer.is_still_there().await => Some(self.end("login", "You are logged out.")),
            Err(failure) => Some(self.end("gone", &failure.to_string_for_people())),
        }
    }

    /// The last event.
    fn end(&mut self, name: &str, message: &str) -> Bytes {
        self.is_over = true;
        let message = serde_json::to_string(message).expect("a text");
        format!("event: {name}\ndata: {message}\n\n").into()
    }
}

/// Waits for the next change, unless the viewer has been told nothing yet. Answers whether there can be any.
async fn change(changes: &mut watch::Receiver<u64>, has_been_told: bool) -> bool {
    if has_been_told {
        changes.changed().await.is_ok()
    } else {
        changes.borrow_and_update();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pages_together_cost_a_fiftieth_and_a_slow_one_holds_up_itself() {
        let (budget, begin) = (Budget::default(), Instant::now());
        let milliseconds = Duration::from_millis;
        let (mut now, mut rendered) = (begin, 0);
        while now < begin + Duration::from_mins(1) {
            match budget.take(milliseconds(3), now) {
                Ok(()) => rendered += 1,
                Err(later) => now = later,
            }
        }
        assert!((400..=407).contains(&rendered), "{rendered} of 3 ms in a minute");
        let idle = now + Duration::from_mins(1);
        assert_eq!(budget.take(Duration::from_mins(1), idle), Ok(()), "what was not used is not owed");
        assert_eq!(budget.take(milliseconds(3), idle), Ok(()), "a slow page is not all that may be rendered");
        assert!(budget.take(milliseconds(3), idle).is_err());
    }
}
