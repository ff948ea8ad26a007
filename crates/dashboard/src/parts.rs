//! What pages are made of: badges, times, texts of documents.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{Document, State};

use crate::api::encoded;

/// Most characters of a text within a row.
const SHORT: usize = 120;

/// A state, as a sign and a word.
pub fn badge(state: &str) -> Markup {
    let (class, sign) = match State::from_text(state) {
        Some(State::Queued) => ("queued", "○"),
        Some(State::Running) => ("running", "▶"),
        Some(State::Success) => ("success", "✓"),
        Some(State::Failed) => ("failed", "✕"),
        Some(State::Stopping | State::Stopped) => ("stopped", "■"),
        None => ("unknown", "?"),
    };
    html! { span class=(format!("badge {class}")) { span.sign aria-hidden="true" { (sign) } " " (state) } }
}

/// A time, which the script writes as this browser's; in UTC without it. What is no time is shown as it is.
pub fn time(text: &str) -> Markup {
    let Ok(time) = text.parse::<Timestamp>() else { return html! { (text) } };
    html! { time datetime=(instant(time)) { (time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()) } }
}

/// How long ago something was, which the script keeps up to date; the time in UTC without it.
pub fn since(text: &str) -> Markup {
    let Ok(time) = text.parse::<Timestamp>() else { return html! { (text) } };
    html! { time.since datetime=(instant(time)) { "since " (time.strftime("%H:%M:%S UTC").to_string()) } }
}

/// How long ago something was, within a sentence: after "last", for instance.
pub fn ago(text: &str) -> Markup {
    let Ok(time) = text.parse::<Timestamp>() else { return html! { (text) } };
    html! { time.ago datetime=(instant(time)) { "at " (time.strftime("%H:%M:%S UTC").to_string()) } }
}

fn instant(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// So many seconds, for people.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    match seconds {
        ..0.001 => "0 s".to_owned(),
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..10.0 => format!("{seconds:.1} s"),
        ..100.0 => format!("{whole} s"),
        ..6_000.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

/// A number with its thousands apart.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// How much of it, in percent; nothing of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let percent = part as f64 * 100.0 / whole as f64;
    format!("{percent:.1} %")
}

/// An attribute that is a text; empty if it is none.
pub fn text<'a>(document: &'a Document, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An attribute for people, whatever it is; empty if it is missing.
pub fn shown(document: &Document, name: &str) -> String {
    match document.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The first line of a text, or its beginning.
pub fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let end = line.char_indices().nth(SHORT).map(|(end, _)| end);
    end.map_or_else(|| line.to_owned(), |end| format!("{}…", &line[..end]))
}

/// What the API says, as a sentence on a page.
pub fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default()
}

/// So many jobs, in words.
pub fn of_jobs(count: u64) -> String {
    format!("{} {}", number(count), if count == 1 { "job" } else { "jobs" })
}

/// How far a job is that has not ended; what has ended is at 100 percent however it did.
pub fn progress(job: &Document) -> Markup {
    if State::from_text(text(job, "state")).is_some_and(State::is_final) {
        return html! {};
    }
    let percent = job.get("progress").and_then(Value::as_u64).unwrap_or_default().min(100);
    html! { progress aria-label="Progress" max="100" value=(percent) {} " " span.number { (percent) " %" } }
}

/// A job by its id, which may be any text.
pub fn job_link(up: &str, id: &str) -> Markup {
    let name = id.strip_prefix("job/").filter(|_| is_job_id(id));
    html! {
        @if let Some(name) = name {
            a.id href=(format!("{up}jobs/{}", encoded(name))) title=(name) { (short(name)) }
        } @else { (id) }
    }
}

/// What a document is called on pages: the end of its name, as UUIDs of one time begin alike.
pub fn short(name: &str) -> &str {
    let begin = name.char_indices().rev().nth(7).map_or(0, |(begin, _)| begin);
    &name[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_for_people() {
        let rows = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (given, expected) in rows {
            assert_eq!(number(given), expected);
        }
        assert_eq!((percent(31, 40), percent(0, 3), percent(0, 0)), ("77.5 %".into(), "0.0 %".into(), "–".into()));
        let rows = [
            (0.0, "0 s"),
            (-5.0, "0 s"),
            (0.25, "250 ms"),
            (2.14, "2.1 s"),
            (59.6, "60 s"),
            (600.0, "10 min"),
            (7_200.0, "2.0 h"),
            (864_000.0, "10.0 d"),
        ];
        for (given, expected) in rows {
            assert_eq!(duration(given), expected);
        }
    }

    #[test]
    fn a_refusal_is_a_sentence_and_one_job_no_jobs() {
        assert_eq!(sentence("invalid credentials for 'jane'"), "Invalid credentials for 'jane'.");
        assert_eq!([of_jobs(0), of_jobs(1), of_jobs(1_000)], ["0 jobs", "1 job", "1,000 jobs"]);
    }

    #[test]
    fn a_row_has_the_beginning_of_a_text_and_the_end_of_an_id() {
        assert_eq!(first_line("\n one\ntwo"), "one");
        assert_eq!(first_line(&"é".repeat(200)).chars().count(), SHORT + 1);
        assert_eq!((short("01a22d31-88e8-741e-b8b4-b1d22f455eb3"), short("é")), ("2f455eb3", "é"));
    }

    #[test]
    fn what_is_no_time_is_shown_as_it_is() {
        assert_eq!(time("<now>").into_string(), "&lt;now&gt;");
        let written = time("2026-11-30T12:04:46.120Z").into_string();
        assert_eq!(written, "<time datetime=\"2026-11-30T12:04:46.120Z\">2026-11-30 12:04:46 UTC</time>");
    }
}
