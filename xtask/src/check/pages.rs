//! Rules over what the dashboard sends to browsers: a strict policy refuses it otherwise, or people wait for it.

use super::source::{code_end, is_test};
use super::{File, Finding};

const DASHBOARD: &str = "crates/dashboard/src/";

/// What no page may hold, and what to do about it.
const REFUSED: [(&str, &str); 4] = [
    ("style=", "browsers are told to refuse it: give it a class"),
    ("onclick=", "browsers are told to refuse it: let the script listen"),
    (concat!("http:", "//"), "pages load nothing from elsewhere"),
    (concat!("https:", "//"), "pages load nothing from elsewhere"),
];

/// The name of a language, and no place to go to.
const SVG: &str = "xmlns=\"http://www.w3.org/2000/svg\"";

/// The most bytes of each file that pages load.
const SIZES: [(&str, usize); 3] = [("site.css", 16 * 1024), ("site.js", 8 * 1024), ("logo.svg", 2 * 1024)];

/// Nothing that browsers refuse, nothing from elsewhere, nothing large.
pub fn pages(file: &File) -> Vec<Finding> {
    let Some(name) = file.path.strip_prefix(DASHBOARD) else { return Vec::new() };
    let mut findings = Vec::new();
    let end = if is_test(&file.path) { 0 } else { code_end(&file.text) };
    for (index, line) in file.text.lines().enumerate().take(end) {
        let line = line.replace(SVG, "");
        for (text, instead) in REFUSED.iter().filter(|(text, _)| line.contains(text)) {
            findings.push(Finding::new(&file.path, index + 1, format!("{text}: {instead}")));
        }
    }
    let most = SIZES.iter().find(|(asset, _)| name.strip_prefix("assets/") == Some(asset)).map(|(_, most)| *most);
    if let Some(most) = most.filter(|most| file.text.len() > *most) {
        findings.push(Finding::new(&file.path, 0, format!("{} bytes, at most {most}", file.text.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    #[test]
    fn pages_hold_nothing_that_browsers_refuse() {
        let bad: String = REFUSED.map(|(text, _)| format!("a {text}\n")).concat();
        assert_eq!(lines(&pages(&file("crates/dashboard/src/pages/a.rs", &bad))), [1, 2, 3, 4]);
        assert_eq!(pages(&file("crates/server/src/a.rs", &bad)), []);
        let tested = format!("{SVG}\n#[cfg(test)]\nmod tests {{\n{bad}}}\n");
        assert_eq!(pages(&file("crates/dashboard/src/pages/a.rs", &tested)), []);
    }

    #[test]
    fn what_pages_load_is_small() {
        for (name, most) in SIZES {
            let path = format!("crates/dashboard/src/assets/{name}");
            assert_eq!(pages(&file(&path, &"a".repeat(most))), []);
            assert_eq!(lines(&pages(&file(&path, &"a".repeat(most + 1)))), [0]);
        }
    }
}
