//! [`Cursor`]: where a page of jobs ended. Many jobs may have been added at the same time, so a time alone is no place.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;
use slipstream_cimi::Document;
use slipstream_cimi::filter::Filter;

use crate::parts::text;

/// The time up to which jobs were shown, and how many of exactly that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    created: String,
    /// How many jobs of that time were shown.
    pub skip: usize,
}

impl Cursor {
    /// As an address has it.
    pub fn from_text(text: &str) -> Option<Self> {
        let (created, skip) = text.split_once(',')?;
        created.parse::<Timestamp>().ok()?;
        Some(Self { created: created.to_owned(), skip: skip.parse().ok().filter(|skip| *skip < 1_000_000)? })
    }

    /// Where these jobs end, which were shown from a place on.
    pub fn after(jobs: &[Document], from: Option<&Self>) -> Option<Self> {
        let created = text(jobs.last()?, "created").to_owned();
        let same = jobs.iter().rev().take_while(|job| text(job, "created") == created).count();
        let before = from.filter(|from| same == jobs.len() && from.created == created).map_or(0, |from| from.skip);
        created.parse::<Timestamp>().ok()?;
        Some(Self { created, skip: before + same })
    }

    /// The filter of what follows. One that cannot be read stays as it is, so that the server says what is wrong with it.
    pub fn filter(&self, filter: Option<&str>, is_oldest_first: bool) -> String {
        let from_here = format!("created{}'{}'", if is_oldest_first { ">=" } else { "<=" }, self.created);
        match filter {
            None => from_here,
            Some(filter) if Filter::parse(filter).is_err() => filter.to_owned(),
            Some(filter) => format!("({filter}) and {from_here}"),
        }
    }
}

impl Display for Cursor {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{},{}", self.created, self.skip)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jobs(times: &[&str]) -> Vec<Document> {
        times.iter().map(|time| json!({"created": time}).as_object().expect("an object").clone()).collect()
    }

    #[test]
    fn no_job_is_passed_over_where_many_have_one_time() {
        let (one, two) = ("2026-11-30T12:00:01.000Z", "2026-11-30T12:00:02.000Z");
        let cursor = |created: &str, skip| Some(Cursor { created: created.to_owned(), skip });
        assert_eq!(Cursor::after(&jobs(&[two, one, one]), None), cursor(one, 2));
        let first = cursor(one, 2);
        assert_eq!(Cursor::after(&jobs(&[one, one, one]), first.as_ref()), cursor(one, 5), "still that time");
        assert_eq!(
            Cursor::after(&jobs(&[two, one]), first.as_ref()),
            cursor(one, 1),
            "again that time, from its begin"
        );
        assert_eq!(Cursor::after(&[], None), None);
        assert_eq!(Cursor::after(&jobs(&["yesterday"]), None), None);
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let written = "2026-11-30T12:00:01.000Z,7";
        let cursor = Cursor::from_text(written).expect("a cursor");
        assert_eq!((cursor.to_string().as_str(), cursor.skip), (written, 7));
        assert_eq!(
            cursor.filter(Some("a='b' or c='d'"), false),
            "(a='b' or c='d') and created<='2026-11-30T12:00:01.000Z'"
        );
        assert_eq!(cursor.filter(None, true), "created>='2026-11-30T12:00:01.000Z'");
        assert_eq!(cursor.filter(Some("a=="), false), "a==");
        for wrong in ["", "7", "now,7", "2026-11-30T12:00:01.000Z,-1", "2026-11-30T12:00:01.000Z,9999999"] {
            assert_eq!(Cursor::from_text(wrong), None, "{wrong}");
        }
    }
}
