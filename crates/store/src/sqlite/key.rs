//! How the table has ids: that of a job as its 16 bytes, any other as its text.
//!
//! Almost all that is stored is jobs, and each index of them has their ids: as bytes these take a third of the space, and
//! are compared at once. Their order is that of the texts. Jobs whose ids are none of the server's making come before all
//! others.

use rusqlite::ToSql;
use rusqlite::types::{FromSqlError, ToSqlOutput, Value as SqlValue, ValueRef};

use crate::packed::{JOB_ID, put_digits, text_of};

/// An id as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Job(Vec<u8>),
    Other(&'a str),
}

impl<'a> Key<'a> {
    pub fn of(id: &'a str) -> Self {
        let mut bytes = Vec::with_capacity(16);
        if put_digits(&mut bytes, JOB_ID, id) { Self::Job(bytes) } else { Self::Other(id) }
    }

    pub fn value(self) -> SqlValue {
        match self {
            Self::Job(bytes) => SqlValue::Blob(bytes),
            Self::Other(id) => SqlValue::Text(id.to_owned()),
        }
    }
}

impl ToSql for Key<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Job(bytes) => ValueRef::Blob(bytes),
            Self::Other(id) => ValueRef::Text(id.as_bytes()),
        }))
    }
}

/// The first and the last of the keys of bytes whose ids begin so; none of them if no such id does. None at all where all
/// of them do.
#[expect(clippy::option_option, reason = "that all do and that none does are two answers")]
pub(super) fn range(beginning: &str) -> Option<Option<(Vec<u8>, Vec<u8>)>> {
    if JOB_ID.starts_with(beginning) {
        return None;
    }
    // what is missing is zeros in the first, and the highest digits in the last
    let filled = |template: &str| {
        let rest = template.get(beginning.len()..)?;
        let mut bytes = Vec::with_capacity(16);
        put_digits(&mut bytes, JOB_ID, &format!("{beginning}{rest}")).then_some(bytes)
    };
    let first = filled("job/00000000-0000-0000-0000-000000000000");
    Some(first.zip(filled("job/ffffffff-ffff-ffff-ffff-ffffffffffff")))
}

/// The id that the table has so.
pub(super) fn id_of(stored: ValueRef<'_>) -> Result<String, FromSqlError> {
    match stored {
        ValueRef::Blob(bytes) => text_of(JOB_ID, bytes).ok_or(FromSqlError::InvalidType),
        other => other.as_str().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(id: &str) -> SqlValue {
        let stored = Key::of(id).value();
        assert_eq!(id_of(ValueRef::from(&stored)).unwrap(), id);
        stored
    }

    #[test]
    fn only_ids_of_jobs_are_bytes() {
        let bytes = [1, 0xa2, 0x28, 0x96, 0x57, 0xff, 0x70, 0x10, 0xb0, 0xbe, 0x14, 0xf3, 0xf0, 0x33, 0xef, 0xd6];
        assert_eq!(stored("job/01a22896-57ff-7010-b0be-14f3f033efd6"), SqlValue::Blob(bytes.to_vec()));
        for id in [
            "job/1",
            "job",
            "",
            "user/01a22896-57ff-7010-b0be-14f3f033efd6",
            "job/01A22896-57ff-7010-b0be-14f3f033efd6",
        ] {
            assert_eq!(stored(id), SqlValue::Text(id.to_owned()));
        }
    }

    #[test]
    fn a_beginning_is_a_range_of_keys() {
        for all in ["", "j", "job", "job/"] {
            assert_eq!(range(all), None, "{all}");
        }
        for none in ["job/x", "job/A", "jobs", "user/01", "job/01a228967", "job/01a22896-57ff-7010-b0be-14f3f033efd6a"]
        {
            assert_eq!(range(none), Some(None), "{none}");
        }
        let bounds = |beginning: &str| {
            let (first, last) = range(beginning).unwrap().unwrap();
            [first, last].map(|bytes| text_of(JOB_ID, &bytes).unwrap())
        };
        assert_eq!(
            bounds("job/01a22896-5"),
            ["job/01a22896-5000-0000-0000-000000000000", "job/01a22896-5fff-ffff-ffff-ffffffffffff"]
        );
        assert_eq!(
            bounds("job/01a22896-"),
            ["job/01a22896-0000-0000-0000-000000000000", "job/01a22896-ffff-ffff-ffff-ffffffffffff"]
        );
        let whole = "job/01a22896-57ff-7010-b0be-14f3f033efd6";
        assert_eq!(bounds(whole), [whole, whole]);
    }

    proptest! {
        #[test]
        fn bytes_are_ordered_as_texts(ids in prop::array::uniform2("job/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
            let [SqlValue::Blob(one), SqlValue::Blob(other)] = ids.each_ref().map(|id| stored(id)) else { panic!() };
            prop_assert_eq!(one.cmp(&other), ids[0].cmp(&ids[1]));
        }
    }
}
