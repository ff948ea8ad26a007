//! From a request to an answer: the table of what each method does at each path (specification 0.1).

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Body as _;
use slipstream_cimi::dialect::{self, ENTRY_POINT, JOB, Kind, OPERATION, SESSION, SESSION_TEMPLATE, USER};
use slipstream_cimi::overview::bulk;
use slipstream_cimi::overview::explain::EXPLAIN;
use slipstream_cimi::overview::ledger::OUTPUT;
use slipstream_cimi::overview::retries::{RETRIES, RETRY};
use slipstream_cimi::overview::sessions as logins;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::Shared;
use super::admin::{distributors, doctor, executors, marks, notices, overview, queue};
use super::error::ApiError;
use super::http::Service;
use super::http::answer::{self, Answer};
use super::http::body::{self, Body};
use super::http::request::ApiRequest;
use super::resources::{declared, entry_point, jobs, operations, sessions, templates, users};
use crate::collections::{Collection, Collections};
use crate::process::metrics::ServerMetrics;

/// Joins an answer to the log (decision 19).
const REQUEST_ID_HEADER: &str = "x-request-id";

/// What answers requests by the table.
pub fn service(shared: Arc<Shared>) -> Service {
    Arc::new(move |request| Box::pin(respond(shared.clone(), request)))
}

async fn respond(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    if let Some(response) = health(&shared, request.method(), request.uri().path()).await {
        return response;
    }
    let (route, metrics) = (route_of(request.uri().path(), &shared.collections), shared.metrics.clone());
    let work = async move |request: Request<Body>, id| {
        let asked = request.method().clone();
        let request = ApiRequest::receive(&shared, request, id).await?;
        let caller = request.caller.clone();
        answer(&shared, request).await?.into_response(&shared.shares, &caller, asked.is_safe())
    };
    to_its_end(&metrics, route, request, work).await
}

/// Handles a request to its end even when the client goes away, so that nothing is left half done; a handler that
/// panics is an answer of 500.
pub(super) async fn to_its_end<Work>(
    metrics: &ServerMetrics,
    route: &'static str,
    request: Request<Body>,
    work: impl FnOnce(Request<Body>, String) -> Work,
) -> Response<Body>
where
    Work: Future<Output = Result<Response<Body>, ApiError>> + Send + 'static,
{
    let begun = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let span = tracing::error_span!("request", id, %method, path = request.uri().path());
    let work = tokio::spawn(work(request, id.clone()).instrument(span.clone())).await;
    let _entered = span.entered();
    let answer = work.unwrap_or_else(|panic| Err(ApiError::unexpected(&panic)));
    let mut response = answer.unwrap_or_else(|error| answer::refused(error, &id));
    metrics.answered(route, response.status().as_u16(), begun.elapsed());
    tracing::debug!(status = response.status().as_u16(), "answered");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    if method == Method::HEAD { without_body(response) } else { response }
}

/// What a load balancer asks, without a login: whether this server is alive, and could do its work now.
async fn health(shared: &Shared, method: &Method, path: &str) -> Option<Response<Body>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let (status, text) = match path {
        "/livez" if is_read => shared.health.live(),
        "/readyz" if is_read => shared.health.ready().await,
        _ => return None,
    };
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    Some(if *method == Method::HEAD { without_body(response) } else { response })
}

/// The head that an answer with this body has.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, body::full(""))
}

/// The table.
async fn answer(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    let path = std::mem::take(&mut request.path);
    let place = Place::of(&path, &shared.collections)?;
    if place.kind() == Some(USER) {
        // before anything is looked up: whether a user exists is nobody else's affair
        request.caller.require_administrator()?;
    }
    let sent = request.method.clone();
    // a HEAD is a GET of which only the head is answered
    let method = if sent == Method::HEAD { "GET" } else { sent.as_str() };
    if let Some(collection) = place.kind().and_then(|kind| shared.collections.get(kind.name)) {
        return declared_answer(shared, request, collection, (&path, &place, method)).await;
    }
    match (place, method) {
        (Place::EntryPoint, "GET") => entry_point::read(shared, &request).await,
        (Place::EntryPoint, "PUT") => entry_point::edit(shared, request).await,

        (Place::Collection(JOB), "GET" | "PUT") => jobs::search(shared, &request).await,
        (Place::Collection(JOB), "POST") => jobs::add(shared, request).await,
        (Place::Document(_, id), "POST") if id == dialect::REPORTS_PLACE => jobs::report(shared, request).await,
        (Place::Document(_, id), "POST") if id == bulk::PLACE => operations::begin(shared, request).await,
        (Place::Document(JOB, id), "GET") => jobs::read(shared, &request, &id).await,
        (Place::Document(JOB, id), "PUT") => jobs::edit(shared, request, &id).await,
        (Place::Document(JOB, id), "DELETE") => jobs::delete(shared, &request, &id).await,
        (Place::Operation(JOB, id, "stop"), "POST") => jobs::stop(shared, &request, &id).await,
        (Place::Operation(JOB, id, "ledger"), _) => jobs::ledger(shared, &request, &id).await,
        (Place::Operation(JOB, id, EXPLAIN), "GET") => jobs::explain(shared, &request, &id).await,
        (Place::Operation(JOB, id, RETRY), "POST") => jobs::retry(shared, request, &id).await,
        (Place::Operation(JOB, id, RETRIES), "GET") => jobs::retries(shared, &request, &id).await,
        (Place::Operation(JOB, id, OUTPUT), "POST") => jobs::output(shared, request, &id).await,

        (Place::Collection(SESSION), "GET" | "PUT") => sessions::search(shared, &request).await,
        (Place::Collection(SESSION), "POST") => sessions::add(shared, request).await,
        (Place::Document(SESSION, id), "GET") if id == logins::PLACE => sessions::own(shared, &request).await,
        (Place::Document(SESSION, id), "DELETE") if id == logins::PLACE => sessions::end_own(shared, &request).await,
        (Place::Document(SESSION, id), "GET") => sessions::read(shared, &request, &id).await,
        (Place::Document(SESSION, id), "DELETE") => sessions::delete(shared, &request, &id).await,

        (Place::Collection(SESSION_TEMPLATE), "GET" | "PUT") => templates::search(&request),
        (Place::Document(SESSION_TEMPLATE, id), "GET") => templates::read(&request, &id),

        (Place::Collection(USER), "GET" | "PUT") => users::search(shared, &request).await,
        (Place::Collection(USER), "POST") => users::add(shared, request).await,
        (Place::Operation(USER, id, logins::SESSIONS), "GET") => sessions::of_user(shared, &request, &id).await,
        (Place::Operation(USER, id, logins::SESSIONS), "DELETE") => sessions::end_of_user(shared, &id).await,
        (Place::Document(USER, id), "GET") => users::read(shared, &request, &id).await,
        (Place::Document(USER, id), "PUT") => users::edit(shared, request, &id).await,
        (Place::Document(USER, id), "DELETE") => users::delete(shared, &request, &id).await,

        (Place::Collection(OPERATION), "GET" | "PUT") => operations::search(shared, &request).await,
        (Place::Document(OPERATION, id), "GET") => operations::read(shared, &request, &id).await,
        (Place::Operation(OPERATION, id, bulk::STOP), "POST") => operations::stop(shared, &request, &id).await,

        (Place::Queue, "GET") => queue::read(shared, &request).await,
        (Place::QueueRecent, "GET") => queue::recent(shared, &request).await,
        (Place::QueueRestore, "POST") => queue::restore(shared, &request).await,
        (Place::Executors, "GET") => executors::read(shared, &request).await,
        (Place::Overview, "GET") => overview::read(shared, &request).await,
        (Place::Doctor, "GET") => doctor::read(shared, &request).await,
        (Place::Notices, "GET") => notices::read(shared, &request),
        (Place::Distributors, "GET") => distributors::read(shared, &request).await,
        (Place::DistributorReset(name), "POST") => marks::reset(shared, &request, name).await,

        (place, _) => Err(refusal(&sent, &place, &path)),
    }
}

/// The same for each declared collection.
async fn declared_answer(
    shared: &Shared,
    request: ApiRequest,
    collection: &Collection,
    (path, place, method): (&str, &Place<'_>, &str),
) -> Result<Answer, ApiError> {
    match (place, method) {
        (Place::Collection(_), "GET" | "PUT") => declared::search(shared, &request, collection).await,
        (Place::Collection(_), "POST") => declared::add(shared, request, collection).await,
        (Place::Document(_, id), "GET") => declared::read(shared, &request, id).await,
        (Place::Document(_, id), "PUT") => declared::edit(shared, request, collection, id).await,
        (Place::Document(_, id), "DELETE") => declared::delete(shared, &request, id).await,
        (place, _) => Err(refusal(&request.method, place, path)),
    }
}

/// Of what there is not.
fn refusal(method: &Method, place: &Place<'_>, path: &str) -> ApiError {
    let method = method.as_str().to_lowercase();
    match place {
        Place::Operation(kind, _, operation)
            if ![(JOB, "stop"), (OPERATION, bulk::STOP), (USER, logins::SESSIONS)].contains(&(*kind, *operation)) =>
        {
            ApiError::undefined_action(&method, kind.name, operation, path)
        }
        _ => ApiError::invalid_method(&method, path),
    }
}

/// What a path is counted as: of those that lead nowhere there are too many.
fn route_of(path: &str, collections: &Collections) -> &'static str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    if segments.next() != Some("api") {
        return "other";
    }
    let segments = [(); 4].map(|()| segments.next());
    match segments {
        [None | Some(ENTRY_POINT), None, ..] => "/api/cloud-entry-point",
        [Some("queue"), None, ..] => "/api/queue",
        [Some("queue"), Some("recent"), None, _] => "/api/queue/recent",
        [Some("queue"), Some("restore"), None, _] => "/api/queue/restore",
        [Some("executor"), None, ..] => "/api/executor",
        [Some("overview"), None, ..] => "/api/overview",
        [Some("doctor"), None, ..] => "/api/doctor",
        [Some("notices"), None, ..] => "/api/notices",
        [Some("distributor"), None, ..] => "/api/distributor",
        [Some("distributor"), Some(_), Some("reset"), None] => "/api/distributor/{name}/reset",
        [Some("job"), None, ..] => "/api/job",
        [Some("job"), Some("bulk"), None, _] => "/api/job/bulk",
        [Some("job"), Some("reports"), None, _] => "/api/job/reports",
        [Some("job"), Some(_), None, _] => "/api/job/{id}",
        [Some("job"), Some(_), Some("stop"), None] => "/api/job/{id}/stop",
        [Some("job"), Some(_), Some("ledger"), None] => "/api/job/{id}/ledger",
        [Some("job"), Some(_), Some(EXPLAIN), None] => "/api/job/{id}/explain",
        [Some("job"), Some(_), Some(RETRY), None] => "/api/job/{id}/retry",
        [Some("job"), Some(_), Some(RETRIES), None] => "/api/job/{id}/retries",
        [Some("job"), Some(_), Some(OUTPUT), None] => "/api/job/{id}/output",
        [Some("operation"), None, ..] => "/api/operation",
        [Some("operation"), Some(_), None, _] => "/api/operation/{id}",
        [Some("operation"), Some(_), Some(bulk::STOP), None] => "/api/operation/{id}/stop",
        [Some("session"), None, ..] => "/api/session",
        [Some("session"), Some("all"), None, _] => "/api/session/all",
        [Some("session"), Some(_), None, _] => "/api/session/{id}",
        [Some("session-template"), None, ..] => "/api/session-template",
        [Some("session-template"), Some(_), None, _] => "/api/session-template/{id}",
        [Some("user"), None, ..] => "/api/user",
        [Some("user"), Some(_), None, _] => "/api/user/{id}",
        [Some("user"), Some(_), Some(logins::SESSIONS), None] => "/api/user/{id}/sessions",
        // not by name: there are as many as an administrator likes
        [Some(name), None, ..] if collections.get(name).is_some() => "/api/{declared}",
        [Some(name), Some(_), None, _] if collections.get(name).is_some() => "/api/{declared}/{id}",
        _ => "other",
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Place<'path> {
    EntryPoint,
    Collection(Kind),
    Document(Kind, String),
    Operation(Kind, String, &'path str),
    Queue,
    QueueRecent,
    QueueRestore,
    Executors,
    Overview,
    Doctor,
    Notices,
    Distributors,
    /// Of the distributor of this name.
    DistributorReset(&'path str),
}

impl<'path> Place<'path> {
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Collection(kind) | Self::Document(kind, _) | Self::Operation(kind, ..) => Some(*kind),
            _ => None,
        }
    }

    fn of(path: &'path str, collections: &Collections) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown_resource(path);
        // what the entry point calls its baseURI
        if matches!(path, "/api" | "/api/") {
            return Ok(Self::EntryPoint);
        }
        let segments: Vec<&str> = path.strip_prefix("/api/").ok_or_else(unknown)?.split('/').collect();
        let kind = |name: &str| {
            let own = [JOB, OPERATION, SESSION, SESSION_TEMPLATE, USER].into_iter().find(|kind| kind.name == name);
            own.or_else(|| collections.get(name).map(|collection| collection.kind)).ok_or_else(unknown)
        };
        match segments[..] {
            [ENTRY_POINT] => Ok(Self::EntryPoint),
            ["queue"] => Ok(Self::Queue),
            ["executor"] => Ok(Self::Executors),
            ["overview"] => Ok(Self::Overview),
            ["doctor"] => Ok(Self::Doctor),
            ["notices"] => Ok(Self::Notices),
            ["distributor"] => Ok(Self::Distributors),
            [name] => Ok(Self::Collection(kind(name)?)),
            [_, ""] | [_, _, ""] => Err(unknown()),
            ["queue", "recent"] => Ok(Self::QueueRecent),
            ["queue", "restore"] => Ok(Self::QueueRestore),
            ["distributor", name, "reset"] => Ok(Self::DistributorReset(name)),
            [name, uuid] => kind(name).map(|kind| Self::Document(kind, id(kind, uuid))),
            [name, uuid, operation] => kind(name).map(|kind| Self::Operation(kind, id(kind, uuid), operation)),
            _ => Err(unknown()),
        }
    }
}

/// The id that is meant: those that are UUIDs may be written in any way in which UUIDs are.
fn id(kind: Kind, name: &str) -> String {
    let uuid = Uuid::try_parse(name).ok().filter(|_| kind != USER && matches!(name.len(), 32 | 36));
    uuid.map_or_else(|| format!("{}/{name}", kind.name), |uuid| format!("{}/{uuid}", kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_collections;

    fn of(path: &str) -> Result<Place<'_>, ApiError> {
        // a place holds nothing of them
        Place::of(path, &default_collections())
    }

    #[test]
    fn an_id_is_found_however_its_uuid_is_written() {
        let id = "job/01a2216b-cfa3-7420-bff6-04b959b2b5d9";
        for written in [
            "01a2216b-cfa3-7420-bff6-04b959b2b5d9",
            "01A2216B-CFA3-7420-BFF6-04B959B2B5D9",
            "01a2216bcfa37420bff604b959b2b5d9",
        ] {
            let path = format!("/api/job/{written}");
            assert_eq!(of(&path).ok(), Some(Place::Document(JOB, id.to_owned())));
            let path = format!("{path}/stop");
            assert_eq!(of(&path).ok(), Some(Place::Operation(JOB, id.to_owned(), "stop")));
        }
        let user = "01A2216BCFA37420BFF604B959B2B5D9";
        let path = format!("/api/user/{user}");
        assert_eq!(of(&path).ok(), Some(Place::Document(USER, format!("user/{user}"))), "a name");
    }

    #[test]
    fn paths_lead_where_the_table_says() {
        let id = "job/0a".to_owned();
        assert_eq!(of("/api/cloud-entry-point").ok(), Some(Place::EntryPoint));
        assert_eq!(of("/api/").ok(), Some(Place::EntryPoint));
        assert_eq!(of("/api").ok(), Some(Place::EntryPoint));
        assert_eq!(of("/api/job").ok(), Some(Place::Collection(JOB)));
        let kind = Kind::declared("virtual-machine", None);
        assert_eq!(of("/api/virtual-machine").ok(), Some(Place::Collection(kind)));
        let machine = "virtual-machine/0a".to_owned();
        assert_eq!(of("/api/virtual-machine/0a").ok(), Some(Place::Document(kind, machine)));
        assert_eq!(of("/api/job/0a").ok(), Some(Place::Document(JOB, id.clone())));
        assert_eq!(of("/api/queue").ok(), Some(Place::Queue));
        assert_eq!(of("/api/queue/restore").ok(), Some(Place::QueueRestore));
        assert_eq!(of("/api/distributor/each/reset").ok(), Some(Place::DistributorReset("each")));
        assert_eq!(of("/api/job/0a/stop").ok(), Some(Place::Operation(JOB, id, "stop")));
        for unknown in [
            "/",
            "/api/Job",
            "/api/jobs",
            "/api/job/",
            "/api/job/0a/",
            "/api/job/0a/stop/x",
            "/api/queue/0a",
            "/api/queue/restore/0a",
            "/api/distributor/each",
            "/api/distributor/each/stop",
            "/auth/login",
        ] {
            let refusal = of(unknown).expect_err(unknown).refusal;
            assert_eq!((refusal.status, refusal.resource_id.as_deref()), (404, Some(unknown)));
        }
    }

    #[test]
    fn however_many_collections_are_declared_they_are_counted_as_one() {
        let collections = default_collections();
        for (path, expected) in [
            ("/api/credential", "/api/{declared}"),
            ("/api/virtual-machine", "/api/{declared}"),
            ("/api/virtual-machine/0a", "/api/{declared}/{id}"),
            ("/api/virtual-machine/0a/stop", "other"),
            ("/api/undeclared", "other"),
            ("/api/job/0a", "/api/job/{id}"),
        ] {
            assert_eq!(route_of(path, &collections), expected, "{path}");
        }
    }
}
