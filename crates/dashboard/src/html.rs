//! The text of a page: what documents hold may be any characters, and a page has those that HTML allows.

/// Shown for a character that HTML does not allow.
const NOT_ALLOWED: char = char::REPLACEMENT_CHARACTER;

/// The same text without characters that no page may hold. Tags and attributes are made of others.
pub fn allowed(html: String) -> String {
    if html.chars().all(is_allowed) {
        return html;
    }
    html.chars().map(|character| if is_allowed(character) { character } else { NOT_ALLOWED }).collect()
}

/// No control characters but tab and line feed, and nothing that Unicode keeps for programs.
fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    let is_noncharacter = (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE;
    matches!(character, '\t' | '\n') || !(character.is_control() || is_noncharacter)
}
