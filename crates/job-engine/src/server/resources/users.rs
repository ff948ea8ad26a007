//! Users: who may log in (an extension beyond the original's templates). Administrators alone learn anything of them.

use secrecy::SecretString;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::{SERVICE_ATTRIBUTES, USER};
use slipstream_cimi::error::Code;
use slipstream_cimi::overview::user::{ADMINISTRATOR, LONGEST_NAME, id, is_name};
use slipstream_cimi::resource::format_time;
use slipstream_store::{Record, StoreExt};

use super::{collection, fence};
use crate::server::Shared;
use crate::server::auth::accounts::{ACTIVE, is_active, is_super, ledger, name, password_hash, record};
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs::schema;

/// Fewest and most bytes of a password.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;
const SUSPENDED: &str = "SUSPENDED";
/// Attributes that every resource may have and an edit may take away.
const OPTIONAL: [&str; 3] = ["name", "description", "properties"];

/// Adds a user.
pub async fn add(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    fence(shared, &request).await?;
    let mut sent = request.document();
    let violations = violations(&mut sent);
    let missing = ["username", "password"].into_iter().filter(|required| !sent.contains_key(*required));
    let violations: Vec<String> = missing.map(|name| format!("{name}: missing")).chain(violations).collect();
    if !violations.is_empty() {
        return Err(ApiError::schema(&violations));
    }
    let username = taken_text(&mut sent, "username").unwrap_or_default();
    let password = taken_text(&mut sent, "password").unwrap_or_default();
    let id = id(&username);
    if shared.store.get(&id).await?.is_some() {
        return Err(ApiError::exists(&id));
    }
    let hash = shared.sessions.passwords.hash(SecretString::from(password)).await?;
    let user = record(&username, sent, ledger(&hash), shared.clock.now());
    shared.store.insert(user).await?;
    Ok(Answer::created(&id))
}

/// Reads a user.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let select = request.parameters()?.select;
    Ok(Answer::ok(&presented(existing(shared, id).await?.document.into_document(), &select)))
}

/// Merges changes into a user, after the selected attributes are taken out, and answers the result. A new password, an
/// end of its activity or of its role ends all of its sessions.
pub async fn edit(shared: &Shared, mut request: ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let remove = request.parameters()?.select;
    fence(shared, &request).await?;
    let mut changes = request.document();
    let stored = existing(shared, id).await?;
    // A client may send back what it has read.
    changes
        .retain(|name, value| !matches!(name.as_str(), "username" | "acl") || stored.document.get(name) != Some(value));
    let mut violations = violations(&mut changes);
    if changes.contains_key("username") {
        violations.push("username: cannot be changed".to_owned());
    }
    let lasting = remove.iter().filter(|name| !OPTIONAL.contains(&name.as_str()));
    violations.extend(lasting.map(|name| format!("{name}: cannot be taken away")));
    if !violations.is_empty() {
        return Err(ApiError::schema(&violations));
    }
    let password = taken_text(&mut changes, "password");
    let was = stored.clone();
    let mut user = stored;
    let document = user.document.make_mut();
    document.retain(|name, _| !remove.contains(name));
    document.extend(changes);
    document.insert("updated".to_owned(), json!(format_time(shared.clock.now())));
    let loses = (is_active(&was) && !is_active(&user)) || (is_super(&was) && !is_super(&user));
    if is_administrator(id) && (loses || password.is_some()) {
        return Err(unchangeable(id));
    }
    let is_over = loses || password.is_some();
    if let Some(password) = password {
        user.ledger = ledger(&shared.sessions.passwords.hash(SecretString::from(password)).await?);
    } else if is_over {
        user.ledger = ledger(password_hash(&was).unwrap_or_default());
    }
    let answer = Answer::ok(&*user.document);
    shared.store.replace(user).await?;
    if is_over {
        shared.sessions.revoke(&*shared.store, name(&was)).await;
    }
    Ok(answer)
}

/// Deletes a user and ends all of its sessions.
pub async fn delete(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    let user = existing(shared, id).await?;
    if is_administrator(id) {
        return Err(unchangeable(id));
    }
    shared.store.remove(id, user.revision).await?;
    shared.sessions.revoke(&*shared.store, name(&user)).await;
    Ok(Answer::deleted(id))
}

/// Searches users.
pub async fn search(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let parameters = request.search()?;
    let select = parameters.select.clone();
    let present = move |record: Record| presented(record.document.into_document(), &select);
    collection::search(shared, USER, &request.caller, &parameters, present).await
}

fn is_administrator(id: &str) -> bool {
    id == self::id(ADMINISTRATOR)
}

fn unchangeable(id: &str) -> ApiError {
    let message = format!(
        "{id} always exists, active and an administrator, with the password that the server was started with: \
         SLIPSTREAM_SUPER_PASSWORD or the file super.password in its data directory"
    );
    ApiError::contradiction(id, Code::Conflict, message)
}

async fn existing(shared: &Shared, id: &str) -> Result<Record, ApiError> {
    let record = shared.store.get(id).await?;
    record.ok_or_else(|| ApiError::not_found(id))
}

fn taken_text(document: &mut Document, name: &str) -> Option<String> {
    match document.shift_remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn presented(mut user: Document, select: &[String]) -> Document {
    let id = user.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    collection::keep_selected(&mut user, select);
    let mut operations = vec![json!({"rel": "edit", "href": id})];
    if !is_administrator(&id) {
        operations.push(json!({"rel": "delete", "href": id}));
    }
    user.insert("operations".to_owned(), Value::Array(operations));
    user
}

/// Takes out what only the server sets, and names everything that is wrong with the rest, but never a password.
fn violations(sent: &mut Document) -> Vec<String> {
    sent.retain(|name, _| !SERVICE_ATTRIBUTES.contains(&name.as_str()));
    let common = sent.iter().filter(|(name, _)| OPTIONAL.contains(&name.as_str()));
    let mut violations: Vec<String> = schema::attribute_violations(common).collect();
    for (name, value) in sent.iter().filter(|(name, _)| !OPTIONAL.contains(&name.as_str())) {
        let wrong = match name.as_str() {
            "username" if value.as_str().is_some_and(is_name) => continue,
            "username" => format!(
                "expected 1 to {LONGEST_NAME} letters, digits, dots, hyphens and underscores of ASCII, the first one a \
                 letter or a digit: a name is one segment of a path here, without `/`"
            ),
            "password" if value.as_str().is_some_and(|text| PASSWORD_LENGTH.contains(&text.len())) => continue,
            "password" => {
                format!("expected a text of {} to {} bytes", PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end())
            }
            "isSuperUser" if value.is_boolean() => continue,
            "isSuperUser" => "expected true or false".to_owned(),
            "state" if matches!(value.as_str(), Some(ACTIVE | SUSPENDED)) => continue,
            "state" => format!("expected {ACTIVE} or {SUSPENDED}"),
            "acl" => "cannot be set: only administrators manage users".to_owned(),
            _ => "unknown attribute".to_owned(),
        };
        violations.push(format!("{name}: {wrong}"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_segment_of_a_path() {
        let long = "a".repeat(LONGEST_NAME);
        for good in ["jane", "Jane.Doe", "0a", "a_b-c", "x", &long] {
            assert!(is_name(good), "{good}");
        }
        let longer = "a".repeat(LONGEST_NAME + 1);
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "a%2Fb", "jané", "a\n", "a@b", &longer] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_a_password_is_not_shown() {
        for (attribute, bad) in [
            ("username", json!("a/b")),
            ("username", json!(3)),
            ("password", json!("1234567")),
            ("password", json!(12_345_678)),
            ("password", json!("x".repeat(1025))),
            ("isSuperUser", json!("true")),
            ("state", json!("DELETED")),
            ("acl", json!({})),
            ("name", json!("")),
            ("colour", json!("red")),
        ] {
            let mut sent = Document::new();
            sent.insert(attribute.to_owned(), bad.clone());
            let violations = violations(&mut sent);
            assert_eq!(violations.len(), 1, "{attribute} = {bad}: {violations:?}");
            assert!(violations[0].starts_with(&format!("{attribute}: ")), "{violations:?}");
            assert!(attribute != "password" || !violations[0].contains("1234567"), "{violations:?}");
        }
    }
}
