//! [`Fields`]: the keys of one table of a configuration file, with all that is wrong in them.

use serde::de::DeserializeOwned;
use toml::de::{DeTable, ValueDeserializer};

use crate::process::written::Wrong;

/// What is left of a table, and what was wrong so far.
pub(super) struct Fields<'a> {
    place: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
    /// What was wrong so far.
    pub wrong: Vec<Wrong>,
}

impl<'a> Fields<'a> {
    /// Those of a table that begins there.
    pub fn of(place: usize, table: DeTable<'a>) -> Self {
        Self { place, table, known: Vec::new(), wrong: Vec::new() }
    }

    /// The value behind a key, with its place.
    pub fn placed<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<(usize, T)> {
        self.known.push(name);
        let value = self.table.remove(name)?;
        let place = value.span().start;
        let read = T::deserialize(ValueDeserializer::from(value));
        read.map(|value| (place, value)).map_err(|error| self.wrong.push(Wrong::at(place, error.message()))).ok()
    }

    /// The value behind a key.
    pub fn field<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        self.placed(name).map(|(_, value)| value)
    }

    /// The same of a key that has to be there.
    pub fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        if !self.table.contains_key(name) {
            self.wrong.push(Wrong::at(self.place, format!("missing field `{name}`")));
        }
        self.field(name)
    }

    /// Refuses all keys that nobody has asked for.
    pub fn refuse_others(&mut self) {
        let known: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
        for name in self.table.keys() {
            let message = format!("unknown field `{}`, expected one of {}", name.get_ref(), known.join(", "));
            self.wrong.push(Wrong::at(name.span().start, message));
        }
    }
}
