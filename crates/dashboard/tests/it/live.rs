//! Pages that stay up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipstream_dashboard::Body;
use tokio::time::{Instant, timeout};

use super::scripted::{ADMINISTRATOR, World, job, jobs};

/// What a stream says where there is nothing to say.
const BEAT: &str = ": still here\n\n";
const LIMIT: Duration = Duration::from_mins(2);

/// An API with one job that changes, and logins that may end.
struct Changing {
    world: World,
    progress: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Changing {
    fn new() -> Self {
        let (progress, is_over) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let (now, over) = (progress.clone(), is_over.clone());
        let world = World::of(ADMINISTRATOR, move |_, path| {
            if over.load(Ordering::SeqCst) {
                return Some((403, json!({"status": 403, "message": "invalid credentials for 'job'"})));
            }
            let mut job = job("0a", "RUNNING");
            job["progress"] = json!(now.load(Ordering::SeqCst));
            Some((200, if path == "/api/job" { jobs(&[job]) } else { job }))
        });
        Self { world, progress, is_over }
    }

    fn change(&self) {
        self.progress.fetch_add(1, Ordering::SeqCst);
        self.world.changes.send_modify(|count| *count += 1);
    }

    async fn open(&self, query: &str) -> Body {
        let request = Request::get(format!("/ui/live?{query}")).body(Bytes::new()).expect("a request");
        let response = self.world.open(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body()
    }

    fn searches(&self) -> usize {
        self.world.asked().len()
    }
}

/// The next event; none once the stream has ended.
async fn event(stream: &mut Body) -> Option<String> {
    loop {
        let next = piece(stream).await?;
        if next != BEAT {
            return Some(next);
        }
    }
}

async fn piece(stream: &mut Body) -> Option<String> {
    let frame = timeout(LIMIT, stream.frame()).await.expect("in time")?;
    Some(String::from_utf8(frame.expect("whole").into_data().expect("data").into()).expect("UTF-8"))
}

/// What a `regions` event says.
fn regions(event: &str) -> Value {
    let data = event.strip_prefix("event: regions\ndata: ").unwrap_or_else(|| panic!("{event}"));
    serde_json::from_str(data.trim_end()).expect("JSON")
}

fn state_of(page: &str) -> String {
    let state = page.split("data-state=\"").nth(1).expect("a state");
    state.split('"').next().expect("its end").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_page_is_told_what_changed_and_nothing_else() {
    let api = Changing::new();
    let page = api.world.get("/ui/jobs").await.text;
    let mut stream = api.open(&format!("page=jobs&state={}", state_of(&page))).await;
    api.change();
    let told = regions(&event(&mut stream).await.expect("an event"));
    assert_eq!(told["regions"].as_array().expect("a list").len(), 1, "the counts are as they were: {told}");
    assert_eq!(told["regions"][0]["order"], json!(["row-0a"]));
    let row = told["regions"][0]["rows"]["row-0a"].as_str().expect("the row");
    assert!(row.contains("2 %"), "{row}");
    let page = api.world.get("/ui/jobs").await.text;
    assert!(page.contains(row), "what is told is what the page shows");
    assert_eq!(told["state"], state_of(&page));
    let mut late = api.open("page=jobs&state=other").await;
    let first = regions(&event(&mut late).await.expect("an event"));
    assert_eq!(first["regions"].as_array().expect("a list").len(), 4, "all, as nothing is known of what it shows");
}

#[tokio::test(start_paused = true)]
async fn viewers_of_the_same_share_what_is_rendered_once_a_second_at_most() {
    let api = Changing::new();
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(api.open("page=jobs").await);
    }
    for stream in &mut streams {
        event(stream).await.expect("the first");
    }
    let before = api.searches();
    assert_eq!(before, 2, "one rendering for all");
    let begun = Instant::now();
    for _ in 0..5 {
        api.change();
        let mut told = Vec::new();
        for stream in &mut streams {
            told.push(event(stream).await.expect("an event"));
        }
        assert!(told.iter().all(|event| *event == told[0]));
    }
    assert_eq!(api.searches() - before, 10, "two searches for each change");
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_engine_is_asked_nothing_but_who_is_there() {
    let api = Changing::new();
    let mut stream = api.open("page=jobs").await;
    event(&mut stream).await.expect("the first");
    let before = api.searches();
    for _ in 0..3 {
        assert_eq!(piece(&mut stream).await.expect("a beat"), BEAT);
    }
    assert_eq!(api.searches(), before);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_dashboard_and_says_when_a_page_is_not_to_be_seen_any_more() {
    let api = Changing::new();
    let mut stream = api.open("page=jobs").await;
    event(&mut stream).await.expect("the first");
    api.is_over.store(true, Ordering::SeqCst);
    api.world.changes.send_modify(|count| *count += 1);
    let told = event(&mut stream).await.expect("an event");
    assert!(told.starts_with("event: gone\ndata: \"invalid credentials"), "{told}");
    api.world.dashboard.stop();
    assert_eq!(event(&mut stream).await, None);
    let mut another = api.open_when_stopped().await;
    assert_eq!(event(&mut another).await, None);
}

impl Changing {
    async fn open_when_stopped(&self) -> Body {
        self.is_over.store(false, Ordering::SeqCst);
        self.open("page=jobs").await
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_session_are_bounded_and_a_page_that_is_left_makes_room() {
    let api = Changing::new();
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(api.open("page=jobs").await);
        event(streams.last_mut().expect("one")).await.expect("the first");
    }
    let full = api.world.get("/ui/live?page=jobs").await;
    assert_eq!((full.status, full.header("retry-after")), (503, "30"), "{}", full.text);
    assert_eq!(piece(&mut streams[0]).await.expect("a beat"), BEAT, "those that are there stay");
    drop(streams.pop());
    streams.push(api.open("page=jobs").await);
    event(streams.last_mut().expect("one")).await.expect("the first");
    let asked = api.world.get("/ui/regions?page=jobs").await;
    assert_eq!(asked.status, 200, "whoever has no stream asks");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_again_is_told_only_what_is_new() {
    let api = Changing::new();
    let first = api.world.get("/ui/regions?page=jobs%2F0a").await;
    let tag = first.header("etag").to_owned();
    let again = async || {
        let request = Request::get("/ui/regions?page=jobs%2F0a").header("if-none-match", &tag).body(Bytes::new());
        api.world.send(request.expect("a request")).await
    };
    let same = again().await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    api.change();
    let other = again().await;
    assert_eq!(other.status, 200);
    let ids: Vec<Value> = serde_json::from_str::<Value>(&other.text).expect("JSON")["regions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|region| region["id"].clone())
        .collect();
    assert_eq!(ids, ["head", "state", "again", "why", "timeline", "facts", "document", "access", "ledger", "notices"]);
}

/// Nobody tells the server who registers: a page about that is looked after every five seconds, once for all who see it.
#[tokio::test(start_paused = true)]
async fn a_page_about_who_works_is_looked_after_by_itself() {
    let slots = Arc::new(AtomicU64::new(1));
    let now = slots.clone();
    let world = World::of(ADMINISTRATOR, move |_, _| {
        let process = json!({"host": "h", "id": 7, "version": "0.1.0"});
        Some((
            200,
            json!({"count": 1, "executors": [{
                "claimant": "c1", "name": "node-2", "process": process, "slots": now.load(Ordering::SeqCst), "actions": [],
                "begun": "2026-11-30T12:00:00Z", "busy": 0,
            }]}),
        ))
    });
    let mut streams = Vec::new();
    for _ in 0..3 {
        let request = Request::get("/ui/live?page=executors").body(Bytes::new()).expect("a request");
        streams.push(world.open(request).await.into_body());
    }
    for stream in &mut streams {
        assert!(event(stream).await.expect("the first").contains("0/1"));
    }
    slots.store(2, Ordering::SeqCst);
    for stream in &mut streams {
        assert!(event(stream).await.expect("an event").contains("0/2"));
    }
    assert_eq!(world.asked().len(), 2, "{:?}", world.asked());
}
