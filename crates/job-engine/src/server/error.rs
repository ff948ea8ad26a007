//! What callers get, and what the log gets, when a request cannot be answered (decision 19).

use std::error::Error;

use http::StatusCode;
use jiff::SignedDuration;
use slipstream_action::with_causes;
use slipstream_cimi::{Code, Refusal};
use slipstream_store::StoreError;

use super::queue::QueueError;
use super::queue::generation::GenerationError;

/// Seconds after which whoever found too many others at work may try again.
const BUSY: u32 = 5;

/// A refusal for the caller and, where it helps the operator, a second message for the log. The two are joined by
/// the request id. Wording and statuses are those of specification 0.3.
#[derive(Debug)]
pub struct ApiError {
    /// For the caller.
    pub refusal: Refusal,
    /// For the log: the whole chain of causes.
    pub log: Option<String>,
    /// Seconds after which the same request may be answered; the header `Retry-After`.
    pub retry_after: Option<u32>,
    /// Whether the request's body is no JSON, which the original answers with a text instead of a document.
    pub is_malformed_json: bool,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>, resource_id: Option<&str>) -> Self {
        let refusal = Refusal {
            status: status.as_u16(),
            message: message.into(),
            resource_id: resource_id.map(str::to_owned),
            code: None,
            request_id: None,
        };
        Self { refusal, log: None, retry_after: None, is_malformed_json: false }
    }

    /// What the log gets, whatever the caller gets.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.log.as_ref().unwrap_or(&self.refusal.message)
    }

    /// Logs what is for the log, within the span of the request, and answers what is for the caller; the request id joins
    /// the two.
    #[must_use]
    pub fn respond(self, request_id: &str) -> Refusal {
        if let Some(log) = &self.log {
            tracing::error!(cause = log, "request failed");
        }
        Refusal { request_id: Some(request_id.to_owned()), ..self.refusal }
    }

    /// The document does not exist.
    #[must_use]
    pub fn not_found(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{id} not found"), Some(id))
    }

    /// The path is none of ours.
    #[must_use]
    pub fn unknown_resource(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown resource", Some(path))
    }

    /// The document's kind has no such action.
    #[must_use]
    pub fn undefined_action(method: &str, kind: &str, action: &str, path: &str) -> Self {
        let message = format!("undefined action ({method}, [\"{kind}\" \"{action}\"]) for {path}");
        Self::new(StatusCode::NOT_FOUND, message, Some(path))
    }

    /// The path exists, the method does not.
    #[must_use]
    pub fn invalid_method(method: &str, path: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("invalid method ({method}) for {path}"), Some(path))
    }

    /// The caller has to log in first.
    #[must_use]
    pub fn credentials_required() -> Self {
        Self::new(StatusCode::FORBIDDEN, "credentials required", None)
    }

    /// The caller may not do this with that document, or is not who it says.
    #[must_use]
    pub fn invalid_credentials(name: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("invalid credentials for '{name}'"), Some(name))
    }

    /// The document exists already.
    #[must_use]
    pub fn exists(id: &str) -> Self {
        Self::contradiction(id, Code::Conflict, format!("conflict with {id}"))
    }

    /// The write contradicts the stored document (decision 5).
    #[must_use]
    pub fn contradiction(id: &str, code: Code, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, message, Some(id));
        error.refusal.code = Some(code);
        error
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, None)
    }

    /// The body is no JSON.
    #[must_use]
    pub fn malformed_json() -> Self {
        Self { is_malformed_json: true, ..Self::bad_request("Malformed JSON in request body.") }
    }

    /// The document breaks its schema; one line per violation.
    #[must_use]
    pub fn schema(violations: &[String]) -> Self {
        let message = format!("resource does not satisfy defined schema:\n{}", violations.join("\n"));
        Self::new(StatusCode::BAD_REQUEST, message, None)
    }

    /// The body is longer than the server reads.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("request body is larger than {limit} bytes"), None)
    }

    /// The body is compressed.
    #[must_use]
    pub fn unsupported_encoding() -> Self {
        let message = "compressed request bodies are not supported: send it without Content-Encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None)
    }

    /// A browser asks for a page of another site.
    #[must_use]
    pub fn cross_site() -> Self {
        let message = "request from a page of another site (Sec-Fetch-Site or Origin); behind a proxy that changes \
                       Host, name the proxy with --trust-authn-header-from and let it send X-Forwarded-Host";
        Self::new(StatusCode::FORBIDDEN, message, None)
    }

    /// Something that the caller cannot mend.
    #[must_use]
    pub fn unexpected(error: &(dyn Error + 'static)) -> Self {
        let outer = Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("Unexpected exception thrown: {error}"), None);
        Self { log: Some(with_causes(error)), ..outer }
    }

    /// Passwords are checked a few at a time, and the queue for it is too long.
    #[must_use]
    pub fn too_many_logins() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many logins at once, try again", None)
    }

    /// Too many logins of this user or from this address have failed.
    #[must_use]
    pub fn throttled(pause: SignedDuration) -> Self {
        let seconds = u32::try_from(pause.as_millis()).unwrap_or_default().div_ceil(1000).max(1);
        let message = format!("too many logins have failed, try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message, None) }
    }

    /// Somebody else's searches are before this one, and for too long.
    #[must_use]
    pub fn too_many_searches() -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many searches at once, try again", None);
        Self { retry_after: Some(BUSY), ..error }
    }

    /// The answers or the bodies under way have all the memory that there is for them, or for those of this user.
    #[must_use]
    pub fn too_much_at_once() -> Self {
        let message = "too many large requests or responses at once, wait for some to end and try again";
        Self { retry_after: Some(BUSY), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message, None) }
    }
}

/// The coordinator is needed for this answer and cannot be asked now, so that the same request may succeed later; or it
/// refuses what was asked, which only who looks after it can mend.
impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let outer = match &error {
            // where it is, and whose, is for the log
            QueueError::Unreachable(slipstream_coordination::Error::Unusable { .. }) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the coordinator is unusable until it is fixed, see the server's log",
                None,
            ),
            QueueError::Slow(_) | QueueError::Unreachable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "cannot reach the coordinator, try again", None)
            }
            QueueError::Refused { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), None),
        };
        Self { log: Some(with_causes(&error)), ..outer }
    }
}

/// The store did not do it.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let outer = match &error {
            StoreError::Exists(id) => return Self::exists(id),
            StoreError::Changed(id) => {
                return Self::contradiction(id, Code::Conflict, format!("{id} was changed meanwhile, try again"));
            }
            StoreError::Full { .. } | StoreError::LogTooLong { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "unexpected error occurred: no space left for documents, nothing was changed",
                None,
            ),
            StoreError::Moved { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unexpected error occurred: the database was moved away, nothing was changed",
                None,
            ),
            StoreError::Aggregation(error) => return Self::bad_request(error.to_string()),
            StoreError::TooSlow { .. } => Self::new(StatusCode::BAD_REQUEST, error.to_string(), None),
            // Names and paths of this machine are for the log.
            StoreError::Failed { .. } | StoreError::Damaged { .. } | StoreError::Gone { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "unexpected error occurred: the store failed, see this request id in the server's log",
                None,
            ),
        };
        Self { log: Some(with_causes(&error)), ..outer }
    }
}

impl From<GenerationError> for ApiError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::Store(error) => error.into(),
            GenerationError::Coordinator(error) => QueueError::from(error).into(),
        }
    }
}
