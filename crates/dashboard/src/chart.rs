//! Charts as SVG, coloured by classes so that they follow light and dark. Places are percents of the width.

use std::fmt::Write as _;

use jiff::Timestamp;
use maud::{Markup, html};

use crate::parts::number;

/// What happened to something, along the time.
pub struct Timeline {
    /// Where it begins.
    pub begin: Timestamp,
    /// Where it ends.
    pub end: Timestamp,
    /// What lasted, in its order.
    pub bars: Vec<Bar>,
    /// What happened in a moment.
    pub marks: Vec<(Timestamp, String)>,
}

/// Something that lasted.
pub struct Bar {
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its colour.
    pub class: &'static str,
    /// What it was.
    pub title: String,
}

/// The least width of a bar, in percent: what was short is to be seen too.
const LEAST: f64 = 0.6;

/// Numbers as bars, each with its name and itself.
pub fn bars(numbers: &[(String, u64)]) -> Markup {
    let most = numbers.iter().map(|(_, number)| *number).max().unwrap_or_default().max(1);
    html! {
        @if !numbers.is_empty() {
            table.bars {
                tbody {
                    @for (name, count) in numbers {
                        tr {
                            th scope="row" { (name) }
                            td.number { (number(*count)) }
                            td.wide {
                                svg width="100%" height="12" aria-hidden="true" {
                                    rect x="0" y="0" height="12" rx="2" width=(percent(ratio(*count, most))) {}
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is small is to be seen, too: so many percent of the height at least; what has failed, twice as many.
const LOWEST: f64 = 4.0;

/// Numbers over time, in a line. Where there is nothing there is a gap.
pub fn spark(numbers: &[u64], class: &str) -> Markup {
    let most = numbers.iter().copied().max().unwrap_or_default().max(1);
    let mut bars = String::new();
    for (place, number) in numbers.iter().enumerate().filter(|(_, number)| **number > 0) {
        draw(&mut bars, place, 0.0, ratio(*number, most).max(LOWEST));
    }
    html! {
        svg.spark.(class) viewBox=(format!("0 0 {} 100", numbers.len())) width="100%" height="24" preserveAspectRatio="none"
            aria-hidden="true" { path d=(bars) {} }
    }
}

/// What has ended over time, with what has failed of it on top of the rest. `said` is for whoever does not see it.
pub fn ended(ended: &[u64], failed: &[u64], said: &str) -> Markup {
    let most = ended.iter().copied().max().unwrap_or_default().max(1);
    let (mut well, mut ill) = (String::new(), String::new());
    for (place, ended) in ended.iter().copied().enumerate() {
        let failed = failed.get(place).copied().unwrap_or_default().min(ended);
        let top = if failed > 0 { ratio(failed, most).max(2.0 * LOWEST) } else { 0.0 };
        let below = if failed < ended { ratio(ended - failed, most).max(LOWEST).min(100.0 - top) } else { 0.0 };
        if below > 0.0 {
            draw(&mut well, place, 0.0, below);
        }
        if top > 0.0 {
            draw(&mut ill, place, below, top);
        }
    }
    html! {
        svg.spark.success viewBox=(format!("0 0 {} 100", ended.len())) width="100%" height="24" preserveAspectRatio="none"
            role="img" { title { (said) } path d=(well) {} path.failed d=(ill) {} }
    }
}

/// What is meant by the colours of [`ended`].
pub fn legend() -> Markup {
    let sample = |class: &str| {
        html! {
            svg.spark.success.sample viewBox="0 0 1 1" width="12" height="12" aria-hidden="true" { path class=(class) d="M0 0h1v1h-1z" {} }
        }
    };
    html! {
        p.muted { "What ended over time: " (sample("failed")) " FAILED, on top of " (sample("others")) " all others." }
    }
}

/// A bar at a place, from one height up.
fn draw(bars: &mut String, place: usize, from: f64, height: f64) {
    write!(bars, "M{place} {:.0}v-{height:.0}h.8v{height:.0}z", 100.0 - from).expect("a text takes it");
}

/// How much of it, in percent.
#[expect(clippy::cast_precision_loss, reason = "of a picture nobody sees the fourteenth digit")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}

/// The timeline as a picture. What it shows stands in a table beside it.
pub fn timeline(timeline: &Timeline) -> Markup {
    html! {
        svg.timeline width="100%" height="44" aria-hidden="true" {
            line.axis x1="0" x2="100%" y1="28.5" y2="28.5" {}
            @for bar in &timeline.bars {
                @let (x, width) = place(timeline, bar);
                rect class=(bar.class) x=(percent(x)) width=(percent(width)) y="6" height="18" rx="2" {
                    title { (bar.title) }
                }
            }
            @for (time, title) in &timeline.marks {
                text.mark x=(percent(share(timeline, *time))) y="42" text-anchor="middle" { "▲" title { (title) } }
            }
        }
    }
}

fn place(timeline: &Timeline, bar: &Bar) -> (f64, f64) {
    let (begin, end) = (share(timeline, bar.begin), share(timeline, bar.end));
    let width = (end - begin).max(LEAST);
    (begin.min(100.0 - width), width)
}

/// Where a time is, in percent of the width.
fn share(timeline: &Timeline, time: Timestamp) -> f64 {
    let whole = timeline.end.duration_since(timeline.begin).as_secs_f64();
    let part = time.duration_since(timeline.begin).as_secs_f64();
    if whole <= 0.0 { 0.0 } else { (part / whole * 100.0).clamp(0.0, 100.0) }
}

fn percent(share: f64) -> String {
    format!("{share:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spark_line_has_gaps_and_shows_what_is_small() {
        let drawn = spark(&[0, 1, 0, 1_000], "success").into_string();
        assert!(drawn.contains(r#"viewBox="0 0 4 100""#), "{drawn}");
        assert!(drawn.contains(r#"d="M1 100v-4h.8v4zM3 100v-100h.8v100z""#), "{drawn}");
        assert!(spark(&[], "success").into_string().contains(r#"d="""#));
    }

    #[test]
    fn what_has_failed_is_on_top_of_the_rest_and_within_the_picture() {
        let drawn = ended(&[0, 4, 4, 1_000, 1_000], &[0, 4, 0, 1, 500], "4 <of> 5").into_string();
        let well = r#"<path d="M2 100v-4h.8v4zM3 100v-92h.8v92zM4 100v-50h.8v50z">"#;
        let ill = r#"<path class="failed" d="M1 100v-8h.8v8zM3 8v-8h.8v8zM4 50v-50h.8v50z">"#;
        for part in [well, ill, "<title>4 &lt;of&gt; 5</title>"] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        // a server of an earlier version does not say what failed
        assert!(ended(&[1], &[], "").into_string().contains(r#"<path d="M0 100v-100h.8v100z">"#));
    }

    #[test]
    fn bars_are_within_the_picture_and_none_is_too_small_to_see() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let bar = |begin, end| Bar { begin: at(begin), end: at(end), class: "running", title: String::new() };
        let timeline = Timeline { begin: at(0), end: at(1_000), bars: Vec::new(), marks: Vec::new() };
        let close = |found: (f64, f64), expected: (f64, f64)| {
            assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9, "{found:?}");
        };
        close(place(&timeline, &bar(100, 600)), (10.0, 50.0));
        close(place(&timeline, &bar(1_000, 1_000)), (100.0 - LEAST, LEAST));
        close(place(&timeline, &bar(-500, 2_000)), (0.0, 100.0));
        let never = Timeline { end: at(0), ..timeline };
        close(place(&never, &bar(0, 0)), (0.0, LEAST));
    }
}
