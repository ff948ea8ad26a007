//! What commands print with: the width and colours of the terminal, and texts of documents made safe to show.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
use console::{Style, Term, measure_text_width};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::{Document, State};

use crate::process::clock::Age;
use crate::process::visible::visible;

/// What begins a style.
const STYLE: char = '\u{1b}';

/// Whether lines can be drawn over those before: not where standard output or error is no terminal, nor on one that says
/// that it knows no escape sequences.
pub fn can_redraw(terminal: &Term) -> bool {
    terminal.is_term() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// What the output is shown on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In columns; none if it is no terminal, where nothing needs to be cut.
    pub width: Option<usize>,
    /// Whether colours are wanted.
    pub colours: bool,
}

impl Screen {
    /// What standard output is.
    #[must_use]
    pub fn standard_output() -> Self {
        let terminal = Term::stdout();
        let width = terminal.size_checked().map(|(_, columns)| usize::from(columns));
        Self { width: width.filter(|_| terminal.is_term()), colours: terminal.features().colors_supported() }
    }

    /// A text in the colour of a state.
    #[must_use]
    pub fn coloured(self, state: &str, text: &str) -> String {
        let style = Style::new().force_styling(self.colours);
        let style = match State::from_text(state) {
            Some(State::Success) => style.green(),
            Some(State::Failed) => style.red(),
            Some(State::Running) => style.cyan(),
            Some(State::Stopping | State::Stopped) => style.yellow(),
            Some(State::Queued) | None => style,
        };
        style.apply_to(text).to_string()
    }

    /// A text that only accompanies others.
    #[must_use]
    pub fn dimmed(self, text: &str) -> String {
        Style::new().force_styling(self.colours).dim().apply_to(text).to_string()
    }

    /// A title.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        Style::new().force_styling(self.colours).bold().apply_to(text).to_string()
    }

    /// A text in lines that begin with so many blanks, broken between words where the screen ends.
    #[must_use]
    pub fn wrapped(self, text: &str, indent: usize) -> String {
        let width = self.width.unwrap_or(usize::MAX).saturating_sub(indent).max(1);
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        let blanks = " ".repeat(indent);
        lines.iter().map(|line| format!("{blanks}{line}")).collect::<Vec<_>>().join("\n")
    }

    /// A bold line of titles and one line for each row. As wide as the screen at most: the `flexible` columns are cut.
    #[must_use]
    pub fn listing(self, titles: &[&str], flexible: &[usize], rows: Vec<Vec<String>>) -> String {
        self.tall_listing(titles, flexible, rows, 1)
    }

    /// As [`listing`](Self::listing), but a row may have so many lines before anything is cut.
    #[must_use]
    pub fn tall_listing(
        self,
        titles: &[&str],
        flexible: &[usize],
        rows: Vec<Vec<String>>,
        most_lines: usize,
    ) -> String {
        let mut table = self.table(titles);
        for row in rows {
            let mut row = Row::from(row.iter().map(|cell| shortened(cell)).collect::<Vec<_>>());
            row.max_height(most_lines);
            table.add_row(row);
        }
        keep_widths(&mut table, flexible);
        let text = table.to_string();
        let lines = text.lines().map(str::trim_end).enumerate();
        lines
            .map(|(index, line)| if index == 0 { self.bold(line) } else { line.to_owned() })
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// An empty table with these titles, without lines, as wide as the screen at most.
    #[must_use]
    pub fn table(self, titles: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        let mut header = Row::from(titles);
        header.max_height(1);
        table.set_header(header);
        if let Some(width) = self.width.and_then(|width| u16::try_from(width).ok()) {
            table.set_width(width);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 < titles.len() { 2 } else { 0 }));
        }
        table
    }

    /// Names and values in two columns; a value that is long or has several lines stays in its column.
    #[must_use]
    pub fn pairs(self, pairs: &[(String, String)]) -> Vec<String> {
        let mut table = self.table(&["", ""]);
        for (name, value) in pairs {
            table.add_row([format!("  {name}"), value.clone()]);
        }
        keep_widths(&mut table, &[1]);
        // below the titles, which are empty
        table.trim_fmt().lines().skip(1).map(str::to_owned).collect()
    }
}

/// Keeps all columns but the `flexible` ones as wide as their content.
pub fn keep_widths(table: &mut Table, flexible: &[usize]) {
    for (index, column) in table.column_iter_mut().enumerate() {
        if !flexible.contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// An attribute of a document that is a text; empty if it is missing or something else.
pub fn text<'document>(document: &'document Document, attribute: &str) -> &'document str {
    document.get(attribute).and_then(Value::as_str).unwrap_or_default()
}

/// Prints to standard output. A reader that has gone, such as `head`, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    offer(text).map(drop)
}

/// Prints to standard output, and answers whether there is still a reader.
pub fn offer(text: &str) -> anyhow::Result<bool> {
    let mut output = std::io::stdout().lock();
    // the styles are ours, those of others are escaped where their texts come in
    match writeln!(output, "{}", visible(text, &['\n', '\t', STYLE])).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Most columns of a text that somebody else chose, also where no screen bounds it.
const LONGEST_CELL: usize = 500;

/// A text that is not longer than a person reads.
#[must_use]
pub fn shortened(text: &str) -> String {
    console::truncate_str(text, LONGEST_CELL, "…").into_owned()
}

/// A text of somebody else on one line, with what nobody would see of it escaped.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    visible(&words.join(" "), &[])
}

/// A line that a program printed, with all its blanks and with what nobody would see of it escaped.
#[must_use]
pub fn as_printed(line: &str) -> String {
    visible(&line.replace('\t', "    "), &[])
}

/// A text of somebody else on as many lines as it has, with what nobody would see of it escaped.
#[must_use]
pub fn many_lines(text: &str) -> String {
    visible(&text.replace('\t', "    ").replace("\r\n", "\n"), &['\n'])
}

/// How old something is, in its largest unit: `12s`, `5m`, `3h`, `8d`; `in 5m` if its clock is ahead of ours.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    match Age::of(then, now) {
        Age::Past(age) => largest_unit(age),
        Age::Ahead(lead) | Age::Unbelievable(lead) => format!("in {}", largest_unit(lead)),
    }
}

/// When something was: `5m ago`, or `in 5m`.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match Age::of(then, now) {
        Age::Past(age) => format!("{} ago", largest_unit(age)),
        Age::Ahead(_) | Age::Unbelievable(_) => age(then, now),
    }
}

/// How long something has lasted: `for 5m`, or `since a time 5m ahead`.
#[must_use]
pub fn lasting(since: Timestamp, now: Timestamp) -> String {
    match Age::of(since, now) {
        Age::Past(age) => format!("for {}", largest_unit(age)),
        Age::Ahead(lead) | Age::Unbelievable(lead) => format!("since a time {} ahead", largest_unit(lead)),
    }
}

fn largest_unit(span: SignedDuration) -> String {
    match span.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (then, expected) in [
            ("2026-11-24T12:00:09Z", "in 9s"),
            ("2026-11-24T13:00:00Z", "in 1h"),
            ("2026-11-24T12:00:00Z", "0s"),
            ("2026-11-24T11:59:01Z", "59s"),
            ("2026-11-24T11:59:00Z", "1m"),
            ("2026-11-24T11:00:01Z", "59m"),
            ("2026-11-24T11:00:00Z", "1h"),
            ("2026-11-23T12:00:01Z", "23h"),
            ("2026-11-23T12:00:00Z", "1d"),
            ("2025-11-24T12:00:00Z", "365d"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now), expected, "{then}");
        }
        let (before, after) = ("2026-11-24T11:55:00Z".parse().unwrap(), "2026-11-24T12:05:00Z".parse().unwrap());
        assert_eq!([ago(before, now), ago(after, now)], ["5m ago", "in 5m"]);
        assert_eq!([lasting(before, now), lasting(after, now)], ["for 5m", "since a time 5m ahead"]);
    }

    #[test]
    fn what_a_document_says_cannot_steer_the_terminal() {
        let text = "done\n\u{1b}[31mred\u{1b}]0;title\u{7}\ttab\r";
        assert_eq!(one_line(text), r"done \u001b[31mred\u001b]0;title\u0007 tab");
        assert_eq!(many_lines(text), "done\n\\u001b[31mred\\u001b]0;title\\u0007    tab\\r");
        assert_eq!(one_line("a\u{202e}b\u{2028}c\u{200b}"), r"a\u202eb c\u200b");
    }

    #[test]
    fn a_text_of_any_length_makes_no_endless_line() {
        let screen = Screen { width: None, colours: false };
        let table = screen.listing(&["A", "B"], &[0], vec![vec!["x".repeat(100_000), "y".to_owned()]]);
        assert!(table.lines().all(|line| line.chars().count() < 600) && table.ends_with("…  y"), "{}", table.len());
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        let narrow = Screen { width: Some(12), colours: false };
        assert_eq!(narrow.wrapped("one two three-and-a-half four", 2), "  one two\n  three-and-a-half\n  four");
        let wide = Screen { width: None, colours: false };
        assert_eq!(wide.wrapped("one two three", 2), "  one two three");
    }

    #[test]
    fn states_are_coloured_only_where_colours_are_wanted() {
        let plain = Screen { width: None, colours: false };
        assert_eq!(plain.coloured("FAILED", "FAILED"), "FAILED");
        let coloured = Screen { width: None, colours: true };
        assert_eq!(coloured.coloured("FAILED", "FAILED"), "\u{1b}[31mFAILED\u{1b}[0m");
        assert_eq!(coloured.coloured("QUEUED", "QUEUED"), "QUEUED");
    }
}
