//! What comments and pages cite is there, in one form for each: `decision 4`, `specification 4.3` (of
//! `docs/spec/cimi.md`), `ZooKeeper specification 5`, `quirk 20`, and `docs/decisions.md#judge` for any other place.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Finding, folder, is_page, is_rust};

const DECISIONS: &str = "docs/decisions.md";
const SPECIFICATION: &str = "docs/spec/cimi.md";
const ZOOKEEPER_SPECIFICATION: &str = "docs/spec/zookeeper.md";

/// What each page can be cited for, by the path of the page.
type Anchors<'a> = BTreeMap<&'a str, BTreeSet<String>>;

/// A word of a comment or of a page.
#[derive(Clone, Copy)]
struct Word<'a> {
    /// Empty between two comments, or two paragraphs, so that no citation goes on across them.
    text: &'a str,
    /// From 1.
    line: usize,
}

/// Each number and each page that a comment or a page cites has its anchor.
pub fn citations(files: &[File]) -> Vec<Finding> {
    let pages = files.iter().filter(|file| is_page(file));
    let anchors = pages.map(|page| (page.path.as_str(), anchors(&page.text))).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_page(file) || is_rust(file)) {
        let words = words(file);
        for (index, word) in words.iter().enumerate() {
            findings.extend(numbers_without_anchor(file, &words[..=index], &words[index + 1..], &anchors));
            findings.extend(places_without_anchor(file, *word, &anchors));
        }
    }
    findings
}

/// The numbers behind the last word read, if that says of what.
fn numbers_without_anchor(file: &File, read: &[Word], rest: &[Word], anchors: &Anchors) -> Vec<Finding> {
    let word = |back: usize| read.iter().rev().nth(back).map_or("", |word| word.text);
    let what = bare(word(0)).to_lowercase();
    let (page, prefix) = match what.as_str() {
        "decision" | "decisions" => (DECISIONS, "decision-"),
        "quirk" | "quirks" => (SPECIFICATION, "quirk-"),
        "specification" if bare(word(1)).trim_end_matches('`') == "ZooKeeper" => (ZOOKEEPER_SPECIFICATION, ""),
        "specification" => (SPECIFICATION, ""),
        // of the page itself: elsewhere nobody knows whose
        "section" | "sections" => (file.path.as_str(), ""),
        _ => return Vec::new(),
    };
    let has = |number: &str| anchors.get(page).is_some_and(|page| page.contains(&format!("{prefix}{number}")));
    let mut findings = Vec::new();
    for number in numbers(rest).into_iter().filter(|number| !has(number.text)) {
        let says = format!("{what} {}: {page} has no such anchor; cite what is there", number.text);
        findings.push(Finding::new(&file.path, number.line, says));
    }
    findings
}

/// `4`, `4.2 and 4.3`, `1, 2 and 7` or `3 to 6`, at the beginning of these words.
fn numbers<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut numbers = Vec::new();
    let mut goes_on = true;
    for word in words {
        if !numbers.is_empty() && matches!(word.text, "and" | "or" | "to") {
            goes_on = true;
            continue;
        }
        let end = word.text.find(|character: char| !character.is_ascii_digit() && character != '.');
        let number = word.text[..end.unwrap_or(word.text.len())].trim_end_matches('.');
        if !goes_on || !number.starts_with(|character: char| character.is_ascii_digit()) {
            break;
        }
        numbers.push(Word { text: number, line: word.line });
        match &word.text[number.len()..] {
            "" => goes_on = false,
            "," => {}
            _ => break,
        }
    }
    numbers
}

/// Pages, and places in pages, that the word names by path and anchor, and in a page also by `](#anchor)`.
fn places_without_anchor(file: &File, word: Word, anchors: &Anchors) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut refuse = |says: String| findings.push(Finding::new(&file.path, word.line, says));
    let is_url = word.text.contains("://");
    for (end, _) in word.text.match_indices(".md").filter(|_| !is_url) {
        let is_path = |character: char| character.is_ascii_alphanumeric() || "_-./".contains(character);
        let start = word.text[..end].rfind(|character| !is_path(character)).map_or(0, |before| before + 1);
        let (path, after) = word.text[start..].split_at(end + ".md".len() - start);
        if after.starts_with(|next: char| next.is_ascii_alphanumeric()) || path == ".md" {
            continue;
        }
        let beside = joined(folder(file), path);
        let Some(page) = [beside.as_str(), path].into_iter().find_map(|path| anchors.get(path)) else {
            refuse(format!("{path}: there is no such page; cite what is there"));
            continue;
        };
        if let Some(anchor) = anchor(after).filter(|anchor| !page.contains(*anchor)) {
            refuse(format!("{path}#{anchor}: the page has no such anchor; cite what is there"));
        }
    }
    if let (Some((_, link)), Some(page)) = (word.text.split_once("]("), anchors.get(file.path.as_str()))
        && let Some(anchor) = anchor(link).filter(|anchor| !page.contains(*anchor))
    {
        refuse(format!("#{anchor}: this page has no such anchor; cite what is there"));
    }
    findings
}

/// The anchor with which this text begins.
fn anchor(text: &str) -> Option<&str> {
    let is_anchor = |character: char| character.is_alphanumeric() || "_-".contains(character);
    text.strip_prefix('#')?.split(|character| !is_anchor(character)).next().filter(|anchor| !anchor.is_empty())
}

/// The numbers of a page's headings, its headings as links name them, and what it marks by `<a id="…">`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).map(|(_, line)| line) {
        let marked = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        anchors.extend(marked.map(str::to_owned));
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) else { continue };
        let number = heading.split(' ').next().unwrap_or_default().trim_end_matches('.');
        if number.starts_with(|character: char| character.is_ascii_digit()) {
            anchors.insert(number.to_owned());
        }
        let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        anchors.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
    }
    anchors
}

/// The words of a page, or of the comments of a program.
fn words(file: &File) -> Vec<Word<'_>> {
    let lines: Vec<(usize, &str)> = if is_page(file) {
        prose(&file.text).collect()
    } else {
        file.text.lines().enumerate().map(|(index, line)| (index + 1, comment(line))).collect()
    };
    let mut words = Vec::new();
    for (line, text) in lines {
        words.extend(text.split_whitespace().map(|text| Word { text, line }));
        if text.is_empty() {
            words.push(Word { text, line });
        }
    }
    words
}

/// The lines of a page that are no example, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_example = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            in_example = !in_example;
        }
        (!in_example).then_some((index + 1, line))
    })
}

/// What the line comments; empty where it is code alone.
fn comment(line: &str) -> &str {
    let line = line.trim_start();
    let text = line.strip_prefix("//").or_else(|| line.split_once(" // ").map(|(_, text)| text));
    text.map_or("", |text| text.trim_start_matches(['/', '!']).trim())
}

/// The word without what stands before it, such as a bracket.
fn bare(word: &str) -> &str {
    word.trim_start_matches(|character: char| !character.is_alphanumeric())
}

/// The path from the root of what a page in `folder` calls `path`.
fn joined(folder: &str, path: &str) -> String {
    let mut segments: Vec<&str> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in path.split('/') {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment);
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    fn cited_by(path: &str, text: &str) -> Vec<Finding> {
        let quirks = "# CIMI\n\n## 4. Query\n\n### 4.3 Filter grammar\n\n1. <a id=\"quirk-1\"></a>Early entry.\n";
        citations(&[
            file(DECISIONS, "# Decisions\n\n<a id=\"decision-1\"></a>\n\n<a id=\"decision-2\"></a>\n\n## The tables\n"),
            file(SPECIFICATION, quirks),
            file(ZOOKEEPER_SPECIFICATION, "# ZooKeeper\n\n## 5. Election\n"),
            file(path, text),
        ])
    }

    #[test]
    fn what_is_there_may_be_cited() {
        let comments = [
            "Decision 1.",
            "as ever (decisions 1 and 2, see decision 2); quirk 1: of specification 4, 4.3.",
            "ZooKeeper specification 5, `ZooKeeper` specification 5; the specification, its quirks, sections and decisions",
            "`docs/decisions.md#the-tables`, docs/spec/cimi.md and https://a.org/b.md",
        ];
        let code = comments.map(|text| format!("/// {text}\nfn a() {{}} // {text}\n")).concat();
        assert_eq!(cited_by("a.rs", &format!("{code}let decision = \"decision 9\";\n")), []);
        let page = "# A\n\n## 7. B c\n\nSection 7, [B](#7-b-c), [d](../decisions.md#decision-1).\n```\nquirk 9\n```\n";
        assert_eq!(cited_by("docs/spec/a.md", page), []);
    }

    #[test]
    fn what_is_not_there_is_found() {
        let comments = [
            "Decision 3.",
            "(decisions 1 to 3)",
            "quirk 2",
            "specification 4.4",
            "`ZooKeeper` specification 4",
            "section 4.3 of the specification",
            "`docs/gone.md`",
            "`docs/decisions.md#gone`",
            "decisions 1,",
            "2 and 3",
        ];
        let code = comments.map(|text| format!("/// {text}\n")).concat();
        assert_eq!(lines(&cited_by("a.rs", &code)), [1, 2, 3, 4, 5, 6, 7, 8, 10]);
        let page = "# A\n\nSee [b](#b),\n[c](gone.md), decision\n3 and section 1.\n";
        assert_eq!(lines(&cited_by("docs/a.md", page)), [3, 4, 5, 5]);
    }

    #[test]
    fn a_citation_ends_with_its_comment() {
        assert_eq!(cited_by("a.rs", "// a decision\nfn a() {}\n// 9 of them\n"), []);
        assert_eq!(cited_by("a.md", "a decision\n\n9 of them, and decision 1, as it\nhas 9\n"), []);
    }
}
