//! `docs/messages.md` has every message that a person may read, with what to do about it.

use super::source::{code_end, is_test};
use super::{File, Finding, is_rust};

const PAGE: &str = "docs/messages.md";

/// What runs at a site. The other crates are for those who build and test it.
const PRODUCT: [&str; 6] = ["action", "cimi", "coordination", "job-engine", "stacks", "store"];

/// What stands before a message: as a cause of a failure, in the log, at the end of a command.
const BEFORE: [&str; 8] =
    ["#[error(", "error!(", "warn!(", "complain(", "insist(", "bail!(", "context(", "with_context("];
/// A closure that makes the text, over one line or several.
const MADE: [&str; 4] = ["||", "{", "format!", "("];

/// Its contexts are what a parser expects: parts of the message of a wrong filter.
const NO_MESSAGES: &str = "crates/cimi/src/filter/parse.rs";

/// So many words tell one message from the others; what follows them may change.
const WORDS: usize = 6;

/// Messages of the sources that the page has not in its first column.
pub fn messages(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing: docs/operations.md promises it")];
    };
    let explained = explained(&page.text);
    let sources = files.iter().filter(|file| is_rust(file) && is_product(&file.path) && !is_test(&file.path));
    let sources = sources.filter(|file| file.path != NO_MESSAGES);
    sources.flat_map(|file| unexplained(file, &explained)).collect()
}

fn is_product(path: &str) -> bool {
    PRODUCT.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")))
}

/// The words of the page's messages: those of each first column, which another column explains.
fn explained(page: &str) -> String {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    format!(" {} ", rows.map(|cell| words(cell).join(" ")).collect::<Vec<_>>().join(" | "))
}

fn unexplained(file: &File, explained: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = file.text.split_inclusive('\n').take(code_end(&file.text)).collect();
    let text = lines.concat();
    for before in BEFORE {
        for (place, _) in text.match_indices(before).filter(|(place, _)| begins(&text, *place)) {
            let made = MADE.iter().fold(&text[place + before.len()..], |rest, part| {
                rest.strip_prefix(part).map_or(rest, str::trim_start)
            });
            let Some(message) = literal(made) else { continue };
            let known = start(&message);
            // nothing but what a variable says
            if known.is_empty() {
                continue;
            }
            if !explained.contains(&format!(" {known} ")) {
                let line = text[..place].matches('\n').count() + 1;
                let what = format!("\"{known}\": {PAGE} does not say what to do about this message");
                findings.push(Finding::new(&file.path, line, what));
            }
        }
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// Whether it is not the end of another name, or in a comment.
fn begins(text: &str, place: usize) -> bool {
    let before = text[..place].rsplit('\n').next().unwrap_or_default();
    let is_name = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    !is_name && !before.trim_start().starts_with("//")
}

/// The first text among the arguments that begin here: one inside another call or a list is none.
fn literal(arguments: &str) -> Option<String> {
    let mut depth = 0;
    let mut rest = arguments.char_indices();
    while let Some((place, next)) = rest.next() {
        match next {
            '"' => {
                let (text, length) = quoted(&arguments[place + 1..]);
                if depth == 0 {
                    return Some(text);
                }
                rest.by_ref().take(length).for_each(drop);
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return None,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A text as it is printed, and how many characters it has with the quotation mark at its end.
fn quoted(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut characters = rest.chars().enumerate();
    while let Some((count, next)) = characters.next() {
        match next {
            '"' => return (text, count + 1),
            // a line that goes on, or a character that is no word
            '\\' => text.extend(characters.next().and(Some(' '))),
            next => text.push(next),
        }
    }
    (text, rest.len())
}

/// The first words of the longest part without a variable.
fn start(message: &str) -> String {
    let parts = message.split('{').map(|part| part.rsplit('}').next().unwrap_or(part));
    let longest = parts.map(words).rev().max_by_key(Vec::len).unwrap_or_default();
    longest.into_iter().take(WORDS).collect::<Vec<_>>().join(" ")
}

/// Without marks, for which a page has its own.
fn words(text: &str) -> Vec<&str> {
    let is_part = |part: char| part.is_alphanumeric() || "-_'".contains(part);
    text.split(|part| !is_part(part)).filter(|word| word.contains(char::is_alphanumeric)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    /// What the rule finds in this source beside a page with these messages.
    fn found(path: &str, source: &str, explained: &[&str]) -> Vec<usize> {
        let rows: Vec<String> = explained.iter().map(|message| format!("| {message} | why | what to do |\n")).collect();
        lines(&messages(&[file(PAGE, &rows.concat()), file(path, source)]))
    }

    const SOURCE: &str = r#"
#[error("`{0}` is not a lease, expected <generation>.<zxid>")]
    tracing::warn!(
        names = sample.names.join(" "),
        %error,
        "the ensemble chose another session \
         time-out ({limit}, see its servers)"
    );
    bail!("there is no file {}: {advice}", path.display());
    #[error(
        "cannot {what}"
    )]
    write().context("it is lost")?;
    read().with_context(|| {
        format!("it is gone")
    })?;
    parse().context(A_LITERAL)?;
"#;

    #[test]
    fn a_message_is_known_by_the_first_words_of_its_longest_part() {
        let page = [
            "`LEASE is not a lease, expected <generation>.…`, `cannot WHAT`",
            "`the ensemble chose another session time-out, and more`",
            "`there is no file NAME`, `it is lost`",
            "`it is gone`",
        ];
        assert_eq!(found("crates/cimi/src/a.rs", SOURCE, &page), []);
        assert_eq!(found("crates/cimi/src/a.rs", SOURCE, &page[1..]), [2, 10]);
        assert_eq!(found("crates/cimi/src/a.rs", SOURCE, &page[..1]), [3, 9, 13, 14]);
    }

    #[test]
    fn only_a_first_column_explains_a_message() {
        let source = "error!(\"it crashed\");\n";
        let path = "crates/store/src/a.rs";
        assert_eq!(found(path, source, &["`it crashed`"]), []);
        for elsewhere in ["`it stops` | it crashed", "it", "it crashedly", "`it` | x |\n| crashed"] {
            assert_eq!(found(path, source, &[elsewhere]), [1], "{elsewhere}");
        }
        assert_eq!(found(path, "", &[]), []);
        assert_eq!(messages(&[]).len(), 1, "the page itself");
    }

    #[test]
    fn what_no_person_reads_needs_no_row() {
        let message = "warn!(\"it crashed\");\n";
        for path in ["crates/bench/src/a.rs", "crates/store/src/a/tests.rs", "crates/store/tests/a.rs", "docs/a.md"] {
            assert_eq!(found(path, message, &[]), [], "{path}");
        }
        assert_eq!(found(NO_MESSAGES, "a().context(\"`,` or the end\")\n", &[]), []);
        let inside = format!("#[cfg(test)]\nmod tests {{\n    {message}}}\n");
        for source in [
            &*inside,
            "// as warn!(\"it crashed\")\n",
            "compile_error!(\"it crashed\");\n",
            "#[error(transparent)]\nwarn!(error, \"{what}\");\n",
            "debug!(\"it crashed\");\n",
        ] {
            assert_eq!(found("crates/store/src/a.rs", source, &[]), [], "{source}");
        }
    }
}
