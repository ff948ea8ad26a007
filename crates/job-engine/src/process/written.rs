//! Files that people write: what is wrong in one, in which line, and durations as people write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// What is wrong in a file, and where in its text.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// In bytes, from the begin.
    pub(crate) place: usize,
    /// What is wrong there, and what would be right.
    pub(crate) message: String,
}

impl Wrong {
    /// Wrong at this place.
    pub(crate) fn at(place: usize, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    /// In which line of the file it is, from 1.
    pub(crate) fn line_in(&self, file: &[u8]) -> usize {
        line_of(file, self.place)
    }
}

impl From<toml::de::Error> for Wrong {
    fn from(error: toml::de::Error) -> Self {
        Self::at(error.span().unwrap_or_default().start, error.message())
    }
}

/// The line of a place, from 1.
pub(crate) fn line_of(file: &[u8], place: usize) -> usize {
    file.iter().take(place).filter(|byte| **byte == b'\n').count() + 1
}

/// The file's text, if it is one.
pub(crate) fn text_of(file: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(file).map_err(|error| Wrong::at(error.valid_up_to(), "not UTF-8: save the file as UTF-8"))
}

/// A duration such as `15s`, `1 h 30 min` or `1 week`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, NotADuration> {
    let span: Span = text.parse().map_err(|_| NotADuration::Words)?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(NotADuration::Calendar);
    }
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| NotADuration::TooLong)?;
    Duration::try_from(duration).map_err(|_| NotADuration::Negative)
}

/// Why a text is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotADuration {
    #[error("it is not made of numbers and units")]
    Words,
    #[error("months and years differ in length")]
    Calendar,
    #[error("it is too long")]
    TooLong,
    #[error("it is negative")]
    Negative,
}
