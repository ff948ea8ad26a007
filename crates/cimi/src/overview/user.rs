//! Users: names and ids.

use crate::dialect::USER;

/// Name of the administrator, who is always there.
pub const ADMINISTRATOR: &str = "super";
/// Most characters of a user's name.
pub const LONGEST_NAME: usize = 64;

/// The id of the user of this name.
#[must_use]
pub fn id(username: &str) -> String {
    format!("{}/{username}", USER.name)
}

/// Whether a user may have this name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= LONGEST_NAME
        && text.bytes().all(is_inner)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}
