//! `docs/messages.md` has every message that a person may read, with what to do about it.

use super::source::{code_end, is_test};
use super::{File, Finding, is_rust};

const PAGE: &str = "docs/messages.md";

/// What runs at a site. The other crates are for those who build and test it.
const PRODUCT: [&str; 6] = ["action", "cimi", "coordination", "job-engine", "stacks", "store"];

/// What stands before a message: as a cause of a failure, in the log, at the end of a command, in a list of what is wrong.
const BEFORE: [&str; 15] = [
    "#[error(",
    "error!(",
    "warn!(",
    "complain(",
    "insist(",
    "bail!(",
    "anyhow!(",
    "context(",
    "with_context(",
    "Err(",
    "faults.push(format!(",
    "warnings.push(format!(",
    "violations.push(format!(",
    "wrong.push(format!(",
    AT_A_PLACE,
];
/// Its first argument is where in a file the mistake is.
const AT_A_PLACE: &str = "Wrong::at(";
/// A closure that makes the text, over one line or several.
const MADE: [&str; 4] = ["||", "{", "format!", "("];

/// Its contexts are what a parser expects: parts of the message of a wrong filter.
const NO_MESSAGES: &str = "crates/cimi/src/filter/parse.rs";

/// What tells by itself what to do: the page says so once for all options.
const EXPECTED: &str = "expected ";

/// What also says something to people.
const PRINTED: [&str; 3] = ["packaging/scriptlets/", "python/slipstream_host/", "crates/action/src/"];

/// What libraries say, and what is put together of parts that say little by themselves.
const FOREIGN: [&str; 16] = [
    "error sending request for url",
    "invalid peer certificate",
    "certificate expired",
    "received corrupt message",
    "Connection reset by peer",
    "number out of range",
    "cannot lock",
    "is not a sound database restore",
    "ZooKeeper no session",
    "server it does not answer",
    "server not logged in",
    "make it or correct --actions-dir",
    "SLIPSTREAM_API is no address of an",
    "give it with --zk-pass-file or SLIPSTREAM_ZK_PASS",
    "Job-Lease without",
    "invalid credentials for 'ID'",
];

/// So many words tell one message from the others; what follows them may change.
const WORDS: usize = 6;

/// Messages of the sources that the page has not in its first column, and those that it has and no source.
pub fn messages(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing: docs/operations.md promises it")];
    };
    let explained = explained(&page.text);
    let sources = files.iter().filter(|file| is_rust(file) && is_product(&file.path) && !is_test(&file.path));
    let sources: Vec<&File> = sources.filter(|file| file.path != NO_MESSAGES).collect();
    let unexplained = sources.iter().flat_map(|file| unexplained(file, &explained));
    let printed = files.iter().filter(|file| PRINTED.iter().any(|folder| file.path.starts_with(folder)));
    let said = said(sources.iter().copied().chain(printed));
    unexplained.chain(gone(&page.text, &said)).collect()
}

/// The words of all code, whose comments may tell what was said once.
fn said<'f>(files: impl Iterator<Item = &'f File>) -> String {
    let mut said = String::from(" ");
    for file in files {
        for line in file.text.lines().take(code_end(&file.text)) {
            if !["//", "#!", "# "].iter().any(|comment| line.trim_start().starts_with(comment)) {
                said.extend(words(&line.replace("\\n", " ")).into_iter().flat_map(|word| [word, " "]));
            }
        }
    }
    said
}

/// Messages of the page that nothing says any more, in a column that is about ours.
fn gone(page: &str, said: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let Some(cell) = line.strip_prefix("| ").and_then(|row| row.split(" | ").next()) else { continue };
        for span in cell.split('`').skip(1).step_by(2) {
            let start = start_of_span(span);
            let known = start.join(" ");
            let is_ours = start.len() > 1 && !FOREIGN.iter().any(|foreign| known.starts_with(foreign));
            if is_ours && !is_said(&start, said) {
                findings.push(Finding::new(PAGE, index + 1, format!("\"{known}\": nothing says this: take it out")));
            }
        }
    }
    findings
}

/// Whether these words stand somewhere, in one piece or in two that are put together.
fn is_said(start: &[&str], said: &str) -> bool {
    let stands = |words: &[&str]| said.contains(&format!(" {} ", words.join(" ")));
    let halves = (2..start.len().saturating_sub(1)).map(|place| start.split_at(place));
    stands(start) || halves.into_iter().any(|(one, other)| stands(one) && stands(other))
}

/// The first words of the longest part of a message without what stands for something else.
fn start_of_span(span: &str) -> Vec<&str> {
    let words = words(span);
    let is_variable = |word: &&str| word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit());
    let longest = words.split(is_variable).rev().max_by_key(|part| part.len()).unwrap_or_default();
    longest.iter().take(WORDS).copied().collect()
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
            let arguments = &text[place + before.len()..];
            let arguments = if before == AT_A_PLACE { behind_the_first(arguments) } else { arguments };
            let made = MADE
                .iter()
                .fold(arguments.trim_start(), |rest, part| rest.strip_prefix(part).map_or(rest, str::trim_start));
            let Some(message) = literal(made) else { continue };
            let known = start(&message);
            // nothing but what a variable says, or what is to be written instead
            if known.is_empty() || known.starts_with(EXPECTED) {
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

/// The arguments without the first, or nothing.
fn behind_the_first(arguments: &str) -> &str {
    let mut depth = 0;
    for (place, next) in arguments.char_indices() {
        match next {
            '(' => depth += 1,
            ')' if depth == 0 => break,
            ')' => depth -= 1,
            ',' if depth == 0 => return &arguments[place + 1..],
            _ => {}
        }
    }
    ""
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
        let mut findings = messages(&[file(PAGE, &rows.concat()), file(path, source)]);
        findings.retain(|finding| !finding.place.starts_with(PAGE));
        lines(&findings)
    }

    /// Lines of the page with what this source does not say.
    fn not_said(page: &str, source: &str) -> Vec<usize> {
        let mut findings = messages(&[file(PAGE, page), file("crates/store/src/a.rs", source)]);
        findings.retain(|finding| finding.place.starts_with(PAGE));
        lines(&findings)
    }

    #[test]
    fn a_row_whose_message_is_gone_is_found() {
        let source = "warn!(\"it crashed in {place}, and \\\n     stays away\");\n// it was said once\nbail!(\"cannot {what}\\nhere\");\n\
                      const WHAT: &str = \"reach that server\";\n";
        for said in [
            "`it crashed in PLACE, and stays away`",
            "`cannot`",
            "text",
            "`X: and stays away`",
            "`it crashed reach that`",
        ] {
            assert_eq!(not_said(&format!("| {said} | why | what |\n"), source), [], "{said}");
        }
        for gone in ["`it was said once`", "`it crashed again`", "`stays away for N days`", "`it crashed once more`"] {
            assert_eq!(
                not_said(&format!("| `it crashed`, {gone} | `no such words` | what |\n"), source),
                [1],
                "{gone}"
            );
        }
        assert_eq!(not_said("| `received corrupt message` | why | what |\n", source), []);
    }

    #[test]
    fn a_message_in_a_list_of_what_is_wrong_needs_a_row_too() {
        for source in [
            "return Err(anyhow!(\"it crashed\"));\n",
            "Err(format!(\"it crashed\"))\n",
            "Err(\"it crashed\".to_owned())\n",
            "self.faults.push(format!(\n    \"it crashed {}\",\n    place()\n));\n",
            "Wrong::at(place(1, 2), \"it crashed\")\n",
            "Wrong::at(0, format!(\"it crashed\"))\n",
        ] {
            let path = "crates/store/src/a.rs";
            assert_eq!(found(path, source, &["`it crashed`"]), [], "{source}");
            assert_eq!(found(path, source, &[]), [1], "{source}");
        }
        assert_eq!(found("crates/store/src/a.rs", "Err(\"expected a name\".to_owned())\n", &[]), []);
        assert_eq!(found("crates/store/src/a.rs", "Err(Cause::new(\"no message\"))\n", &[]), []);
        assert_eq!(found("crates/store/src/a.rs", "lines.push(format!(\"no message\"));\n", &[]), []);
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
