//! What others send and we print: characters that nobody sees are shown, so that they can neither steer a terminal nor
//! make one text look like another.

use std::fmt::Write;

/// A text with every character escaped that steers a terminal, turns the direction of writing, or has no width: as JSON
/// escapes it, so that a document in JSON stays the same document. `kept` are those that may stand as they are.
#[must_use]
pub(crate) fn visible(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if !is_hidden(character) || kept.contains(&character) => shown.push(character),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            character => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(shown, "\\u{unit:04x}").expect("a string takes everything");
                }
            }
        }
    }
    shown
}

/// Control characters, and of Unicode's format characters and default ignorable ones those that show nothing of their
/// own. Variation selectors are not among them: they only choose between two looks of the character before.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_shown_as_json_escapes_it() {
        for (text, expected) in [
            ("plain, décomposé e\u{301}, 漢字, ❤\u{fe0f}", "plain, décomposé e\u{301}, 漢字, ❤\u{fe0f}"),
            ("\u{1b}[31mred\u{7}", "\\u001b[31mred\\u0007"),
            ("invoice\u{202e}fdp.exe", "invoice\\u202efdp.exe"),
            ("\u{2066}a\u{2069}b\u{200b}c\u{feff}", "\\u2066a\\u2069b\\u200bc\\ufeff"),
            ("\u{9b}31m\u{7f}", "\\u009b31m\\u007f"),
            ("two\nlines\tand\r", "two\\nlines\\tand\\r"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(visible(text, &[]), expected);
        }
        assert_eq!(visible("\u{1b}[1mours\n\u{200b}", &['\u{1b}', '\n']), "\u{1b}[1mours\n\\u200b");
    }

    #[test]
    fn a_document_in_json_stays_the_same_document() {
        let hidden: String = (0..0x11_0000).filter_map(char::from_u32).filter(|one| is_hidden(*one)).collect();
        let document = serde_json::json!({ hidden.clone(): hidden });
        let shown = visible(&serde_json::to_string_pretty(&document).unwrap(), &['\n']);
        assert!(shown.chars().all(|character| character == '\n' || !is_hidden(character)));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }
}
