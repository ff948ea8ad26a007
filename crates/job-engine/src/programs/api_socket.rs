//! [`ApiSocket`]: the API of the server for actions that are programs: HTTP/1.1 on a Unix socket, where each request is
//! sent on with the executor's login and its attempt's lease.
//!
//! The `Host` of a request is the token of its attempt, so that `http://<token>/api` is an address for every client, and
//! what is left of an earlier attempt is refused instead of writing under the next lease. This module knows the tokens;
//! `listen` has the connections, `request` reads what is asked, `repeat` sends it on, `own_job` and `folding` keep the
//! edits of the attempt's own job in order and few.

mod answers;
mod folder;
mod folding;
mod listen;
mod own_job;
mod repeat;
mod request;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use slipstream_cimi::client::forward::has_own_login;
use slipstream_cimi::{Client, Document};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span, debug, warn};

use self::listen::Use;
use self::own_job::OwnJobLane;
use self::repeat::{Unanswered, repeats};
use crate::process::activity::slot::AttemptNotes;

/// Most requests of one attempt that are sent on at once; further ones wait.
const MOST_REQUESTS: usize = 16;
/// How long what an attempt has reported may take to be written once it has ended, all edits that wait together.
const CLOSE: Duration = Duration::from_mins(1);
/// Most connections of one attempt.
const MOST_CONNECTIONS: usize = 64;

/// The API socket of one executor. Dropped, it ends, and its folder is removed.
pub struct ApiSocket {
    path: PathBuf,
    tokens: Arc<Tokens>,
    // before the folder, which goes last
    _serving: AbortOnDropHandle<()>,
    _folder: TempDir,
}

/// The job of an attempt, whose edits are kept in order, and few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnJob {
    /// Its id, e.g. `job/6a33d0ac-2d34-4582-8cbc-766431234d8e`.
    pub id: String,
}

/// The right of one attempt to use the socket. Dropped, its token is withdrawn, and what was reported and is not yet
/// written is lost: see [`close`](Self::close).
pub struct Admission {
    token: String,
    tokens: Arc<Tokens>,
    admitted: Arc<Admitted>,
}

impl ApiSocket {
    /// Listens on a socket in a folder of its own: of the unit's or the user's runtime directory (`RUNTIME_DIRECTORY`,
    /// `XDG_RUNTIME_DIR`), else of that for temporary files. Must be called within a runtime, which then serves it.
    ///
    /// Errors: in none of them a socket can be made; its path must be shorter than 108 bytes.
    pub fn start() -> io::Result<Self> {
        Self::start_in(&folder::places())
    }

    /// The same in the first of these folders that is good for it.
    pub fn start_in(places: &[PathBuf]) -> io::Result<Self> {
        let (listener, folder) = folder::bind(places)?;
        let tokens = Arc::new(Tokens::default());
        let serving = AbortOnDropHandle::new(tokio::spawn(listen::serve(listener, tokens.clone())));
        Ok(Self { path: folder::socket_in(&folder), tokens, _serving: serving, _folder: folder })
    }

    /// Where it is, for `SLIPSTREAM_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets an attempt in, whose requests `client` sends on, marked as the attempt's; without `own`, none of its edits are
    /// reports.
    #[must_use]
    pub fn admit(&self, client: Client, own: Option<OwnJob>) -> Admission {
        let token = format!("{:032x}", rand::random::<u128>());
        let admitted = Arc::new(Admitted {
            client,
            own,
            lane: OnceLock::new(),
            notes: OnceLock::new(),
            requests: Semaphore::new(MOST_REQUESTS),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            ended: CancellationToken::new(),
            about: Span::current(),
        });
        self.tokens.admitted().insert(token.clone(), admitted.clone());
        Admission { token, tokens: self.tokens.clone(), admitted }
    }
}

impl Admission {
    /// The address of the API for this attempt, `http://<token>/api`, for `SLIPSTREAM_API`.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}/api", self.token)
    }

    /// The progress that the attempt writes into its own job is noted here, too.
    pub(crate) fn note_progress_in(&self, notes: Arc<AttemptNotes>) {
        // an attempt has one place for its notes
        self.admitted.notes.get_or_init(|| notes);
    }

    /// Withdraws the token, and ends once every edit of the own job that was taken is answered and what was reported is
    /// written, or cannot be for a minute; to be called before the attempt's own last edit, which nothing must overtake.
    pub async fn close(self) {
        self.withdraw();
        let Some(lane) = self.admitted.lane.get() else { return };
        if timeout(CLOSE, lane.flush()).await.is_err() {
            warn!("the last edits of the action could not be written within {CLOSE:?}");
        }
    }

    fn withdraw(&self) {
        self.tokens.admitted().remove(&self.token);
        self.admitted.ended.cancel();
    }
}

impl fmt::Debug for ApiSocket {
    /// Without the tokens, which are rights.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ApiSocket").field(&self.path).finish()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl fmt::Debug for Admission {
    /// Without the token, which is a right.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admission").field("own", &self.admitted.own).finish_non_exhaustive()
    }
}

/// Who may use the socket now.
#[derive(Default)]
struct Tokens(Mutex<HashMap<String, Arc<Admitted>>>);

/// What an attempt may do.
struct Admitted {
    client: Client,
    own: Option<OwnJob>,
    /// Made with the first edit of the own job.
    lane: OnceLock<OwnJobLane>,
    /// For whoever asks what the executor is doing; none of a script.
    notes: OnceLock<Arc<AttemptNotes>>,
    requests: Semaphore,
    connections: Arc<Semaphore>,
    /// Cancelled when the token is withdrawn.
    ended: CancellationToken,
    /// What its lines in the log are about.
    about: Span,
}

impl Tokens {
    fn admitted(&self) -> MutexGuard<'_, HashMap<String, Arc<Admitted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that came over a connection, which works for that attempt from now on.
    async fn answer(&self, request: Request<Incoming>, user: &watch::Sender<Option<Use>>) -> Response<Bytes> {
        let for_whom = self.attempt_of(&request, user);
        let (mut head, body) = request.into_parts();
        // of a refused request, too: who is still sending when the connection is closed sees no answer, but a broken pipe
        let body = match request::body(body, &head.headers).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        match for_whom {
            Ok((admitted, target)) => {
                head.uri = target;
                admitted.answer(Request::from_parts(head, body)).instrument(admitted.about.clone()).await
            }
            Err(refused) => *refused,
        }
    }

    /// Whose request it is, and its target; or why it is refused.
    fn attempt_of(
        &self,
        request: &Request<Incoming>,
        user: &watch::Sender<Option<Use>>,
    ) -> Result<(Arc<Admitted>, Uri), Box<Response<Bytes>>> {
        let admitted = request::token(request).and_then(|token| self.admitted().get(&token).cloned());
        let admitted = admitted.ok_or_else(|| Box::new(answers::late_lease()))?;
        if !admitted.takes_connection(user) {
            let message = format!("more than {MOST_CONNECTIONS} connections of one job at once: use them again");
            return Err(Box::new(answers::last_refusal(StatusCode::SERVICE_UNAVAILABLE, message)));
        }
        let elsewhere = || answers::refusal(StatusCode::NOT_FOUND, "only what begins with /api is to be had here");
        let target = request::target(request.uri()).ok_or_else(|| Box::new(elsewhere()))?;
        Ok((admitted, target))
    }
}

impl Admitted {
    /// Whether the connection may work for this attempt.
    fn takes_connection(&self, user: &watch::Sender<Option<Use>>) -> bool {
        let is_known =
            user.borrow().as_ref().is_some_and(|user| Arc::ptr_eq(user.place.semaphore(), &self.connections));
        if is_known {
            return true;
        }
        let Ok(place) = self.connections.clone().try_acquire_owned() else { return false };
        user.send_replace(Some(Use { ended: self.ended.clone(), place }));
        true
    }

    /// Answers a request that was read whole, in its turn.
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let turn = tokio::select! {
            biased;
            () = self.ended.cancelled() => return answers::late_lease(),
            turn = self.requests.acquire() => turn.expect("never closed"),
        };
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = self.send(request).await.unwrap_or_else(|unanswered| unanswered.answer());
        drop(turn);
        let status = answer.status().as_u16();
        debug!("{asked} {status}");
        answer
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Unanswered> {
        let own = self.own.as_ref().map(|own| own.id.as_str());
        let repeats = repeats(&request, own);
        let place = own.and_then(|own| place_in(request.uri().path(), own));
        let (Some(own), Some(place)) = (own, place) else {
            return repeat::send(&self.client, request, repeats, &self.ended).await;
        };
        let is_as_it_is = place.is_empty() && request.uri().query().is_none();
        if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            let is_plain = is_as_it_is && request.method() == Method::PUT && !has_own_login(&request);
            let lane = self.lane.get_or_init(|| OwnJobLane::new(self.client.clone(), own.to_owned()));
            let notes = self.notes.get().filter(|_| place.is_empty() && request.method() == Method::PUT);
            let said = notes.map(|notes| (notes, progress_in(request.body())));
            let answer = lane.edit(request, repeats, is_plain).await?;
            if let Some((notes, progress)) = said.filter(|_| answer.status().is_success()) {
                notes.note_progress(progress);
            }
            return Ok(answer);
        }
        let unsettled = self.lane.get().filter(|_| is_as_it_is).map(OwnJobLane::unsettled).unwrap_or_default();
        if unsettled.is_empty() {
            return repeat::send(&self.client, request, repeats, &self.ended).await;
        }
        // whoever was answered reads what it wrote
        request.headers_mut().remove(ACCEPT_ENCODING);
        let answer = repeat::send(&self.client, request, repeats, &self.ended).await?;
        Ok(with(answer, unsettled))
    }
}

/// How many percent an edit says, if it does.
fn progress_in(edit: &[u8]) -> Option<u8> {
    let edit: Document = serde_json::from_slice(edit).ok()?;
    u8::try_from(edit.get("progress")?.as_u64()?).ok().filter(|percent| *percent <= 100)
}

/// What follows the document of this id in a path: nothing, or an operation.
fn place_in<'a>(path: &'a str, id: &str) -> Option<&'a str> {
    let rest = path.strip_prefix("/api/")?.strip_prefix(id)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The document in an answer, with these attributes.
fn with(answer: Response<Bytes>, attributes: Document) -> Response<Bytes> {
    let document = serde_json::from_slice(answer.body()).ok();
    match document.filter(|document: &Document| answer.status() == StatusCode::OK && document.contains_key("id")) {
        Some(mut document) => {
            document.extend(attributes);
            answers::json(StatusCode::OK, &document)
        }
        None => answer,
    }
}
