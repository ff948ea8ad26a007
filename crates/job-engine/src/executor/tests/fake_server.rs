//! [`FakeServer`]: documents in memory behind a [`Transport`], judging leases and final states as the true one does,
//! and failing as a test's script says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::dialect::ENTRY_POINT;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::lease::{ENTRY_HEADER, LEASE_HEADER};
use slipstream_cimi::{Client, Document, Lease, State, Transport};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// It does not arrive.
    Unreachable,
    /// It is carried out and its answer is lost.
    AnswerLost,
    /// Something in between answers 404.
    ProxyNotFound,
    /// It is answered as if the document did not exist.
    Gone,
    /// It is answered with this status and nothing is done.
    Status(u16),
    /// The client's task panics.
    Panic,
    /// It arrives later.
    Late(Duration),
}

/// A request as a script sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) id: String,
    pub(crate) body: Document,
    pub(crate) lease: Option<Lease>,
    pub(crate) entry: Option<String>,
}

impl Asked {
    /// The state that an edit sets, if it sets one.
    pub(crate) fn state(&self) -> Option<&str> {
        (self.method == Method::PUT).then(|| self.body.get("state")?.as_str()).flatten()
    }
}

/// A request that was carried out or refused.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) asked: Asked,
    pub(crate) status: u16,
}

type Script = Box<dyn FnMut(&Asked) -> Fault + Send>;

#[derive(Default)]
struct Inner {
    documents: BTreeMap<String, Document>,
    leases: BTreeMap<String, Lease>,
    served: Vec<Served>,
    injected: usize,
    script: Option<Script>,
    /// What goes wrong with reads of the entry point, which no script sees.
    entry_point: Fault,
}

/// A server that a test scripts.
#[derive(Clone, Default)]
pub(crate) struct FakeServer {
    inner: Arc<Mutex<Inner>>,
}

impl FakeServer {
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), None)
    }

    /// Stores a job in this state.
    pub(crate) fn store(&self, id: &str, action: &str, state: State) {
        let job = json!({
            "id": id, "action": action, "state": state.as_str(), "progress": 0,
            "created": "2026-11-01T00:00:00.000Z", "updated": "2026-11-01T00:00:00.000Z",
        });
        self.store_document(serde_json::from_value(job).unwrap());
    }

    pub(crate) fn store_document(&self, document: Document) {
        let id = document["id"].as_str().unwrap().to_owned();
        self.lock().documents.insert(id, document);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.lock().documents.remove(id);
    }

    /// Raises the lease of a job, as if another executor had written.
    pub(crate) fn raise_lease(&self, id: &str, lease: Lease) {
        self.lock().leases.insert(id.to_owned(), lease);
    }

    /// From now on this says what goes wrong.
    pub(crate) fn script(&self, script: impl FnMut(&Asked) -> Fault + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// From now on this goes wrong with every request.
    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().entry_point = fault;
        self.script(move |_| fault);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.script = None;
        inner.entry_point = Fault::None;
    }

    /// How many requests met a fault.
    pub(crate) fn injected(&self) -> usize {
        self.lock().injected
    }

    pub(crate) fn document(&self, id: &str) -> Document {
        self.lock().documents[id].clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().documents.len()
    }

    pub(crate) fn attribute(&self, id: &str, name: &str) -> Value {
        self.lock().documents.get(id).and_then(|document| document.get(name)).cloned().unwrap_or_default()
    }

    pub(crate) fn state(&self, id: &str) -> String {
        self.attribute(id, "state").as_str().unwrap_or_default().to_owned()
    }

    /// All that was served about a document.
    pub(crate) fn served(&self, id: &str) -> Vec<Served> {
        self.lock().served.iter().filter(|served| served.asked.id == id).cloned().collect()
    }

    /// The states that were written into a job and accepted, in order.
    pub(crate) fn states_written(&self, id: &str) -> Vec<String> {
        let accepted = |served: &Served| (served.status == 200).then(|| served.asked.state().map(str::to_owned));
        self.served(id).iter().filter_map(accepted).flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn ask_script(&self, asked: &Asked) -> Fault {
        let mut inner = self.lock();
        let fault = inner.script.as_mut().map_or(Fault::None, |script| script(asked));
        if fault != Fault::None {
            inner.injected += 1;
        }
        fault
    }
}

#[async_trait]
impl Transport for FakeServer {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let asked = asked(&request);
        if asked.id == ENTRY_POINT {
            let fault = self.lock().entry_point;
            return match fault {
                // a server that announces no extension
                Fault::None => Ok(answer(200, &json!({ "id": ENTRY_POINT, "jobs": { "href": "job" } }))),
                Fault::Status(status) => Ok(refusal(status, &asked.id, None)),
                Fault::Late(duration) => {
                    tokio::time::sleep(duration).await;
                    Err("connection refused".into())
                }
                _ => Err("connection refused".into()),
            };
        }
        let fault = self.ask_script(&asked);
        match fault {
            Fault::Unreachable => return Err("connection refused".into()),
            Fault::Panic => panic!("injected"),
            Fault::ProxyNotFound => return Ok(answer(404, &json!("<html>not here</html>"))),
            Fault::Gone => return Ok(refusal(404, &asked.id, None)),
            Fault::Status(status) => return Ok(refusal(status, &asked.id, None)),
            Fault::Late(duration) => tokio::time::sleep(duration).await,
            Fault::None | Fault::AnswerLost => {}
        }
        let mut inner = self.lock();
        let response = if asked.id == "job" { inner.search(&request) } else { inner.serve(&asked) };
        inner.served.push(Served { asked, status: response.status().as_u16() });
        if fault == Fault::AnswerLost { Err("connection reset".into()) } else { Ok(response) }
    }
}

impl Inner {
    fn serve(&mut self, asked: &Asked) -> Response<Bytes> {
        let id = &asked.id;
        let Some(document) = self.documents.get_mut(id) else { return refusal(404, id, None) };
        if asked.method == Method::GET {
            return answer(200, &json!(document));
        }
        if let Some(lease) = asked.lease {
            let stored = self.leases.entry(id.clone()).or_insert(lease);
            if lease < *stored {
                return refusal(409, id, Some("late-lease"));
            }
            *stored = lease;
        }
        if asked.method == Method::DELETE {
            self.documents.remove(id);
            return answer(200, &json!({ "status": 200, "message": "deleted", "resource-id": id }));
        }
        let state = State::from_text(document["state"].as_str().unwrap()).unwrap();
        if state.is_final() {
            let same = asked.state() == Some(state.as_str());
            return if same { answer(200, &json!(document)) } else { refusal(409, id, Some("final")) };
        }
        document.extend(asked.body.clone());
        answer(200, &json!(document))
    }

    fn search(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
        let parameter = |name: &str| form.get(&format!("${name}"));
        let number = |name: &str| parameter(name).and_then(|text| text.parse::<usize>().ok());
        let filter = parameter("filter").map(|text| Filter::parse(text).unwrap());
        let matches = |document: &&Document| filter.as_ref().is_none_or(|filter| filter.matches(document));
        let mut found: Vec<&Document> = self.documents.values().filter(matches).collect();
        assert_eq!(parameter("orderby").map(String::as_str), Some("updated"));
        found.sort_by_key(|document| document["updated"].as_str().unwrap().to_owned());
        let (first, last) = (number("first").unwrap_or(1), number("last").unwrap_or(usize::MAX));
        let page: Vec<_> = found.iter().skip(first - 1).take((last + 1).saturating_sub(first)).collect();
        answer(200, &json!({ "count": found.len(), "jobs": page, "operations": [] }))
    }
}

fn asked(request: &Request<Bytes>) -> Asked {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
    Asked {
        method: request.method().clone(),
        id: request.uri().path().trim_start_matches("/api/").to_owned(),
        body: serde_json::from_slice(request.body()).unwrap_or_default(),
        lease: header(LEASE_HEADER).map(|text| text.parse().unwrap()),
        entry: header(ENTRY_HEADER).map(str::to_owned),
    }
}

fn answer(status: u16, body: &Value) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap()
}

fn refusal(status: u16, id: &str, code: Option<&str>) -> Response<Bytes> {
    let mut body = json!({ "status": status, "message": format!("{id} was refused"), "resource-id": id });
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    answer(status, &body)
}
