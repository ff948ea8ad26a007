//! How a command that failed says so: what went wrong, and what to do about it.

use slipstream_cimi::{Error, Refusal};

/// `error: …` with all causes on one line, and a hint on the next where there is one. What a server says of a bad
/// request (a filter with a caret under the place) is shown as it is.
#[must_use]
pub fn explain(error: &anyhow::Error) -> String {
    let found = error.chain().enumerate().find_map(|(position, cause)| Some((position, cause.downcast_ref()?)));
    let Some((position, cause)) = found else {
        return format!("error: {error:#}");
    };
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let causes = texts[position..].join(": ");
    let (text, hint) = match cause {
        Error::Refused { request, refusal } => explain_refusal(request, refusal, causes),
        Error::Unreachable { request, source } => {
            let text = unreachable(request, &**source);
            let hint = unreachable_hint(&text);
            (text, Some(hint))
        }
        Error::Unintelligible { .. } => (causes, Some(FOREIGN_HINT)),
    };
    let contexts = [&texts[..position], &[text]].concat().join(": ");
    match hint {
        Some(hint) => format!("error: {contexts}\nhint: {hint}"),
        None => format!("error: {contexts}"),
    }
}

const UNREACHABLE_HINT: &str = "start an engine with `slipstream-job up`, or name one with --ss-url";
const UNTRUSTED_HINT: &str = "name the file of its authority in SSL_CERT_FILE, or give --ss-insecure";
const MISNAMED_HINT: &str = "name the server in --ss-url as its certificate does";
const EXPIRED_HINT: &str = "renew the server's certificate; is the clock of this machine right?";
const NO_CERTIFICATE_HINT: &str = "give the server a certificate that an authority has signed";
const CREDENTIALS_HINT: &str = "check --ss-user and --ss-pass; `up` prints where the password of super is";
const FOREIGN_HINT: &str = "does --ss-url name a SlipStream server?";
const UNKNOWN_HINT: &str = "`slipstream-job jobs` lists all jobs";
const UNKNOWN_USER_HINT: &str = "`slipstream-job users` lists all users";
const KNOWN_USER_HINT: &str = "`slipstream-job users passwd` changes its password";
const FORBIDDEN_HINT: &str = "only administrators may do that: log in with --ss-user and --ss-pass";
const HIDDEN_HINT: &str = "you may not see or change this job: ask an administrator";

/// Adding a user, in which nothing but a user of that name is in conflict.
const ADD_USER: &str = "POST /api/user";

/// How the TLS library begins what it says of a certificate that it does not accept.
const INVALID: &str = "invalid peer certificate";
/// What it says then, and what to do about it; else it is the authority.
const INVALID_HINTS: [(&str, &str); 4] = [
    ("not valid for name", MISNAMED_HINT),
    ("certificate expired", EXPIRED_HINT),
    ("not valid yet", EXPIRED_HINT),
    ("CaUsedAsEndEntity", NO_CERTIFICATE_HINT),
];

fn unreachable_hint(text: &str) -> &'static str {
    let Some((_, why)) = text.split_once(INVALID) else { return UNREACHABLE_HINT };
    INVALID_HINTS.iter().find(|(said, _)| why.contains(said)).map_or(UNTRUSTED_HINT, |(_, hint)| hint)
}

/// What the transport says first (it names the server) and last (it names the cause); what is between is its own affair.
fn unreachable(request: &str, source: &(dyn std::error::Error + 'static)) -> String {
    match anyhow::Chain::new(source).skip(1).last() {
        Some(last) => format!("no answer to {request}: {source}: {last}"),
        None => format!("no answer to {request}: {source}"),
    }
}

fn explain_refusal(request: &str, refusal: &Refusal, causes: String) -> (String, Option<&'static str>) {
    match (refusal.status, &refusal.resource_id) {
        (400, _) => (refusal.message.clone(), None),
        (403, None) => (causes, Some(FORBIDDEN_HINT)),
        (403, Some(id)) if id.starts_with("job/") => (causes, Some(HIDDEN_HINT)),
        (401 | 403, _) => (causes, Some(CREDENTIALS_HINT)),
        (404, Some(id)) if id.starts_with("job/") => (format!("there is no {id}"), Some(UNKNOWN_HINT)),
        (404, Some(id)) if id.starts_with("user/") => (format!("there is no {id}"), Some(UNKNOWN_USER_HINT)),
        (409, Some(id)) if request == ADD_USER => (format!("{id} exists"), Some(KNOWN_USER_HINT)),
        (404, None) => (causes, Some(FOREIGN_HINT)),
        (500.., _) => match &refusal.request_id {
            Some(request_id) => (format!("{causes}, request {request_id} in the server's log"), None),
            None => (causes, None),
        },
        _ => (causes, None),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn refused(status: u16, message: &str, resource_id: Option<&str>) -> anyhow::Error {
        refused_to("PUT /api/job", status, message, resource_id)
    }

    fn refused_to(request: &str, status: u16, message: &str, resource_id: Option<&str>) -> anyhow::Error {
        let resource_id = resource_id.map(str::to_owned);
        let request_id = Some("r1".to_owned());
        let refusal = Refusal { status, message: message.to_owned(), resource_id, code: None, request_id };
        Error::Refused { request: request.to_owned(), refusal }.into()
    }

    fn untrusted(why: &str) -> anyhow::Error {
        let source = anyhow!("invalid peer certificate: {why}").context("client").context("to https://x");
        Error::Unreachable { request: "GET /api/job".to_owned(), source: source.into_boxed_dyn_error() }.into()
    }

    fn in_layers() -> anyhow::Error {
        anyhow!("refused").context("tcp").context("client").context("to http://x")
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_hint() {
        for (why, hint) in [
            ("UnknownIssuer", UNTRUSTED_HINT),
            ("certificate not valid for name \"x\"; certificate is only valid for DnsName(\"y\")", MISNAMED_HINT),
            ("certificate expired: verification time 2 (UNIX)", EXPIRED_HINT),
            ("certificate not valid yet: verification time 2 (UNIX)", EXPIRED_HINT),
            ("CaUsedAsEndEntity", NO_CERTIFICATE_HINT),
        ] {
            let text = format!("error: no answer to GET /api/job: to https://x: invalid peer certificate: {why}");
            assert_eq!(explain(&untrusted(why)), format!("{text}\nhint: {hint}"));
            assert!(hint.chars().count() <= 74, "{hint}");
        }
    }

    #[test]
    fn each_kind_of_failure_has_its_words() {
        let unreachable =
            Error::Unreachable { request: "POST /api/session".to_owned(), source: "connection refused".into() };
        for (error, expected) in [
            (anyhow!("inner").context("outer"), "error: outer: inner".to_owned()),
            (
                unreachable.into(),
                format!("error: no answer to POST /api/session: connection refused\nhint: {UNREACHABLE_HINT}"),
            ),
            (
                Error::Unreachable { request: "GET /api/job".to_owned(), source: in_layers().into_boxed_dyn_error() }
                    .into(),
                format!("error: no answer to GET /api/job: to http://x: refused\nhint: {UNREACHABLE_HINT}"),
            ),
            (refused(400, "invalid filter:\n  a=\n    ^", None), "error: invalid filter:\n  a=\n    ^".to_owned()),
            (refused(404, "job/1 not found", Some("job/1")), format!("error: there is no job/1\nhint: {UNKNOWN_HINT}")),
            (
                refused(404, "user/jane not found", Some("user/jane")),
                format!("error: there is no user/jane\nhint: {UNKNOWN_USER_HINT}"),
            ),
            (
                refused_to("POST /api/user", 409, "taken", Some("user/jane")),
                format!("error: user/jane exists\nhint: {KNOWN_USER_HINT}"),
            ),
            (
                refused(403, "credentials required", None),
                format!("error: PUT /api/job was refused: credentials required (status 403)\nhint: {FORBIDDEN_HINT}"),
            ),
            (
                refused(403, "invalid credentials for 'super'", Some("super")),
                format!(
                    "error: PUT /api/job was refused: invalid credentials for 'super' (status 403)\n\
                     hint: {CREDENTIALS_HINT}"
                ),
            ),
            (
                refused(403, "invalid credentials for 'job/1'", Some("job/1")),
                format!(
                    "error: PUT /api/job was refused: invalid credentials for 'job/1' (status 403)\n\
                     hint: {HIDDEN_HINT}"
                ),
            ),
            (
                refused(409, "taken", Some("job/1")).context("cannot stop it"),
                "error: cannot stop it: PUT /api/job was refused: taken (status 409)".to_owned(),
            ),
            (
                refused(507, "full", None),
                "error: PUT /api/job was refused: full (status 507), request r1 in the server's log".to_owned(),
            ),
        ] {
            let explained = explain(&error);
            assert_eq!(explained, expected);
            let hint = explained.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
            assert!(hint.chars().count() <= 80, "{hint}");
        }
    }
}
