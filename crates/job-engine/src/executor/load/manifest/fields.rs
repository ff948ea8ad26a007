//! [`Fields`]: a table of a manifest while it is read.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::values::Parts;
use crate::process::written::Wrong;

/// A table while it is read: each key is read once, what is wrong is noted with its place, and a key that nobody has read is
/// unknown.
pub(super) struct Fields<'t, 'i> {
    table: &'t DeTable<'i>,
    known: Vec<&'static str>,
    wrong: &'t mut Vec<Wrong>,
    /// How much was wrong before.
    before: usize,
}

impl<'t, 'i> Fields<'t, 'i> {
    pub(super) fn of(table: &'t DeTable<'i>, wrong: &'t mut Vec<Wrong>) -> Self {
        let before = wrong.len();
        Self { table, known: Vec::new(), wrong, before }
    }

    /// The value of a key, as `read` understands it.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let place = value.span().start;
        read(value.get_ref()).map_err(|message| self.note(place, format!("`{key}`: {message}"))).ok()
    }

    /// The value of a key that has several parts, of which more than one may be wrong.
    pub(super) fn read_parts<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Spanned<DeValue<'_>>) -> Parts<T>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let note = |wrong: Vec<Wrong>| {
            for Wrong { place, message } in wrong {
                self.note(place, format!("`{key}`: {message}"));
            }
        };
        read(value).map_err(note).ok()
    }

    /// Notes that a key is missing which has to be there; `place` is that of the table.
    pub(super) fn require(&mut self, key: &'static str, place: usize, example: &str) {
        if !self.table.contains_key(key) {
            self.note(place, format!("`{key}` is missing, write `{key} = {example}`"));
        }
    }

    /// Where the value of a key is.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.table.get(key).map(|value| value.span().start)
    }

    /// The entries of a table within this one, in which each name means something of its own.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.note(value.span().start, format!("`{key}` is not a table"));
            return Vec::new();
        };
        table.iter().collect()
    }

    /// Notes something that is wrong.
    pub(super) fn note(&mut self, place: usize, message: impl Into<String>) {
        self.wrong.push(Wrong::at(place, message));
    }

    /// Where to note what is wrong in a table within this one.
    pub(super) fn wrong(&mut self) -> &mut Vec<Wrong> {
        self.wrong
    }

    /// Notes each unknown key, and answers whether all of the table is right.
    pub(super) fn finish(self) -> bool {
        for key in self.table.keys().filter(|key| !self.known.contains(&&**key.get_ref())) {
            let message = format!("unknown key `{}`, expected one of {}", key.get_ref(), self.known.join(", "));
            self.wrong.push(Wrong::at(key.span().start, message));
        }
        self.wrong.len() == self.before
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.get(key)
    }
}
