//! What the clones of a client share: who they are, the cookies, and one login at a time.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use cookie::{Cookie, CookieJar};
use http::header::{DATE, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use jiff::fmt::rfc2822;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Call, Credentials, Login, Transport, path};
use crate::dialect::INTERNAL_TEMPLATE;
use crate::error::Error;
use crate::lease::AttemptIdentity;
use crate::resource::Document;

/// More cookies than this from one server are not kept.
const MAXIMUM_COOKIES: usize = 50;

pub(super) struct Session {
    transport: Arc<dyn Transport>,
    credentials: Option<Credentials>,
    /// Held during a login.
    login: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Logins so far; 0 before the first.
    number: u64,
    /// Of the session that the last one has made, as long as it is not ended.
    id: Option<String>,
    /// What makes them, for whoever looks at them.
    program: Option<HeaderValue>,
    cookies: CookieJar,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, credentials: Option<Credentials>) -> Self {
        Self { transport, credentials, login: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    pub(super) fn takes_values(&self) -> bool {
        self.transport.takes_values()
    }

    /// Sends a call, logged in if there are credentials. If it is refused for want of rights, perhaps the session has
    /// ended (specification 2.5): logs in again and repeats it once. If that does not help, the first refusal is the
    /// answer.
    ///
    /// A call that says itself who asks is sent as it is.
    pub(super) async fn send(&self, call: &Call, attempt: Option<&AttemptIdentity>) -> Result<Response<Bytes>, Error> {
        if call.login == Login::Senders {
            return self.pass(call.request(attempt, None), call).await;
        }
        if self.number() == 0 {
            self.renew(0).await?;
        }
        let (number, answer) = self.exchange(call, attempt).await?;
        if !is_forbidden(&answer) || self.credentials.is_none() || self.renew(number).await.is_err() {
            return Ok(answer);
        }
        let (_, repeated) = self.exchange(call, attempt).await?;
        Ok(if is_forbidden(&repeated) { answer } else { repeated })
    }

    /// Logs in, unless somebody has done so since the login of this number.
    pub(super) async fn renew(&self, seen: u64) -> Result<(), Error> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let _one_at_a_time = self.login.lock().await;
        if self.number() != seen {
            return Ok(());
        }
        let wrapper = json!({
            "href": INTERNAL_TEMPLATE,
            "username": credentials.username,
            "password": credentials.password.expose_secret(),
        });
        let body = [("sessionTemplate".to_owned(), wrapper)].into_iter().collect::<serde_json::Map<String, Value>>();
        let mut call = Call::new(Method::POST, "/api/session".to_owned()).json(&body);
        call.headers.extend(self.state().program.clone().map(|program| (USER_AGENT, program)));
        let (_, answer) = self.exchange(&call, None).await?;
        let status = answer.status();
        let made: Document = call.answer(answer)?;
        if status != StatusCode::CREATED {
            // specification 2.2: 200 asks for a second factor
            return Err(call.unintelligible(format!("status {} instead of 201", status.as_u16())));
        }
        let mut state = self.state();
        state.number += 1;
        state.id = made.get("resource-id").and_then(Value::as_str).map(str::to_owned);
        Ok(())
    }

    /// Ends the session that was made last, if one was.
    pub(super) async fn end(&self) -> Result<(), Error> {
        let Some(id) = self.state().id.take() else { return Ok(()) };
        let call = Call::new(Method::DELETE, path(&id));
        let (_, answer) = self.exchange(&call, None).await?;
        call.answer::<Document>(answer).map(drop)
    }

    pub(super) fn name(&self, program: &str) {
        self.state().program = HeaderValue::from_str(program).ok();
    }

    /// One request and its answer, with the number of the login under which it was sent.
    async fn exchange(&self, call: &Call, attempt: Option<&AttemptIdentity>) -> Result<(u64, Response<Bytes>), Error> {
        let (number, cookie) = {
            let state = self.state();
            (state.number, state.cookie_header())
        };
        let answer = self.pass(call.request(attempt, cookie), call).await?;
        let mut state = self.state();
        // an answer to the session before must not take away the cookie of this one
        if state.number == number && call.login == Login::Client {
            state.keep(answer.headers());
        }
        Ok((number, answer))
    }

    async fn pass(&self, request: Request<Bytes>, call: &Call) -> Result<Response<Bytes>, Error> {
        let answer = self.transport.send(request).await;
        answer.map_err(|source| Error::Unreachable { request: call.to_string(), source })
    }

    pub(super) fn number(&self) -> u64 {
        self.state().number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

fn is_forbidden(answer: &Response<Bytes>) -> bool {
    matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl State {
    /// Takes over what the server sets and takes out what it deletes.
    fn keep(&mut self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        let now = date.map_or(0, |date| date.timestamp().as_second());
        for header in headers.get_all(SET_COOKIE) {
            let Some(cookie) = header.to_str().ok().and_then(|text| Cookie::parse(text.to_owned()).ok()) else {
                continue;
            };
            let is_deleted = match cookie.max_age() {
                Some(age) => !age.is_positive(),
                None => cookie.expires_datetime().is_some_and(|end| end.unix_timestamp() <= now),
            };
            if is_deleted {
                self.cookies.force_remove(cookie.name());
            } else if self.cookies.get(cookie.name()).is_some() || self.cookies.iter().count() < MAXIMUM_COOKIES {
                self.cookies.add_original(cookie);
            }
        }
    }

    fn cookie_header(&self) -> Option<HeaderValue> {
        let pairs: Vec<String> = self.cookies.iter().map(|cookie| cookie.stripped().to_string()).collect();
        // what came in a header can go out in one
        (!pairs.is_empty()).then(|| HeaderValue::try_from(pairs.join("; ")).ok()).flatten()
    }
}
