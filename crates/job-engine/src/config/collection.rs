//! A table `[[collection]]` of a configuration file, with all that is wrong in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use slipstream_cimi::dialect::{Kind, check_declared, check_plural};
use slipstream_store::sqlite::may_be_indexed;
use toml::Spanned;
use toml::de::DeValue;

use super::fields::Fields;
use super::file::COLLECTION;
use super::{Fault, Place};
use crate::collections::schema::Schema;
use crate::collections::{Collection, Collections};
use crate::process::written::Wrong;

/// Attributes of one collection that may have an index: each is written with every document.
const MOST_INDEXED: usize = 16;
/// Longest path of an attribute that has one, in bytes.
const LONGEST_PATH: usize = 128;
/// The largest file of a schema, in bytes.
const LARGEST_SCHEMA: u64 = 1024 * 1024;

/// What a table says, but for what stands in a file of its own.
#[derive(Debug)]
pub(super) struct Written {
    collection: Collection,
    schema: Option<(usize, Source)>,
}

/// Where a schema is.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Inline(Value),
}

/// What the table says, or all that is wrong in it.
pub(super) fn collection(written: Spanned<DeValue<'_>>) -> Result<Written, Vec<Wrong>> {
    let place = written.span().start;
    let DeValue::Table(table) = written.into_inner() else {
        return Err(vec![Wrong::at(place, "a collection is a table, write [[collection]]")]);
    };
    let mut fields = Fields::of(place, table);
    let (name, plural) = (fields.required::<Name>("name"), fields.placed::<Plural>("plural"));
    let schema = fields.placed::<Source>("schema");
    let indexed = fields.field::<Vec<AttributePath>>("indexed").unwrap_or_default();
    let closed = fields.placed("closed");
    let users_may_add = fields.field("users-may-add").unwrap_or_default();
    fields.refuse_others();
    let kind = name.map(|name| {
        let kind = Kind::declared(&name.0, plural.as_ref().map(|(_, plural)| &*plural.0));
        let at = plural.as_ref().map_or(place, |(place, _)| *place);
        fields.wrong.extend(check_plural(kind.plural).err().map(|message| Wrong::at(at, message)));
        kind
    });
    if let (Some((at, true)), None) = (closed, &schema) {
        fields.wrong.push(Wrong::at(at, "`closed` goes with a `schema`, which names the attributes: write one"));
    }
    if indexed.len() > MOST_INDEXED {
        let message = format!("{} indexed attributes are too many, name {MOST_INDEXED} at most", indexed.len());
        fields.wrong.push(Wrong::at(place, message));
    }
    let (Some(kind), []) = (kind, &fields.wrong[..]) else { return Err(fields.wrong) };
    let collection = Collection {
        kind,
        indexed: indexed.into_iter().map(|path| path.0).collect(),
        schema: None,
        is_closed: closed.is_some_and(|(_, is_closed)| is_closed),
        users_may_add,
    };
    Ok(Written { collection, schema })
}

impl Written {
    /// The collection, with its schema; a file of that is looked for in `folder`.
    fn whole(self, folder: &Path) -> Result<Collection, Wrong> {
        let Self { mut collection, schema } = self;
        let Some((place, source)) = schema else { return Ok(collection) };
        let (shown, source) = match source {
            Source::Inline(value) => ("the schema".to_owned(), value),
            Source::File(path) => {
                let path = folder.join(path);
                let shown = format!("the schema {}", path.display());
                let read = read(&path).map_err(|reason| Wrong::at(place, format!("cannot read {shown}: {reason}")))?;
                (shown, read)
            }
        };
        let schema = Schema::new(source)
            .map_err(|error| Wrong::at(place, format!("{shown} is no JSON Schema, mend it: {error}")))?;
        if collection.is_closed && !schema.has_properties() {
            let message = format!("{shown} names no attributes in `properties`, which a `closed` collection needs");
            return Err(Wrong::at(place, message));
        }
        collection.schema = Some(schema);
        Ok(collection)
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let found = std::fs::metadata(path).map_err(|error| super::reason(&error))?;
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if found.len() > LARGEST_SCHEMA {
        return Err(format!("it is larger than {LARGEST_SCHEMA} bytes"));
    }
    let text = std::fs::read(path).map_err(|error| super::reason(&error))?;
    serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))
}

/// The collections of all files, those of later ones in place of those before.
#[derive(Default)]
pub(super) struct Gathered(Vec<(Option<Place>, Collection)>);

impl Gathered {
    /// Those that are built in.
    pub(super) fn built_in(written: Vec<(usize, Written)>) -> Self {
        let whole = written.into_iter().map(|(_, written)| (None, written.whole(Path::new("/")).expect("it is right")));
        Self(whole.collect())
    }

    /// Adds those of one more file.
    pub(super) fn add(
        &mut self,
        path: &Path,
        written: Vec<(usize, Written)>,
        place: impl Fn(usize) -> Place,
        faults: &mut Vec<Fault>,
    ) {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut new: Vec<(Option<Place>, Collection)> = Vec::new();
        for (at, written) in written {
            let name = written.collection.kind.name;
            if new.iter().any(|(_, other)| other.kind.name == name) {
                faults.push(wrong(place(at), format!("there are two collections `{name}`, rename one")));
                continue;
            }
            match written.whole(folder) {
                Ok(collection) => new.push((Some(place(at)), collection)),
                Err(Wrong { place: at, message }) => faults.push(wrong(place(at), message)),
            }
        }
        self.0.retain(|(_, old)| new.iter().all(|(_, one)| one.kind.name != old.kind.name));
        self.0.append(&mut new);
    }

    /// All of them. Two that are called the same in the entry point are a fault of the later one.
    pub(super) fn finish(self, faults: &mut Vec<Fault>) -> Collections {
        for (index, (place, collection)) in self.0.iter().enumerate() {
            let Kind { name, plural, .. } = collection.kind;
            let before = self.0[..index].iter().find(|(_, other)| other.kind.plural == plural);
            if let (Some((_, other)), Some(place)) = (before, place) {
                let message = format!(
                    "`{name}` and `{}` would both be called `{plural}`, give one of them another `plural`",
                    other.kind.name
                );
                faults.push(wrong(place.clone(), message));
            }
        }
        self.0.into_iter().map(|(_, collection)| collection).collect()
    }
}

fn wrong(place: Place, message: String) -> Fault {
    Fault::Wrong { place, message, table: Some(COLLECTION) }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        check_declared(&text).map(|()| Self(text))
    }
}

#[derive(Deserialize)]
struct Plural(String);

/// The path of an attribute.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct AttributePath(String);

impl TryFrom<String> for AttributePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_path = text.len() <= LONGEST_PATH
            && text.split('/').all(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        if !is_path {
            return Err(format!(
                "`{text}` is not the path of an attribute, use names with `/` between them, such as `connector/href`"
            ));
        }
        if !may_be_indexed(&text) {
            return Err(format!(
                "`{text}` has an index in every collection, or is a time, which none can have: remove it"
            ));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self::File(path.into())),
            value @ Value::Object(_) => Ok(Self::Inline(value)),
            _ => Err(serde::de::Error::custom("a schema is the path of a file, or a table")),
        }
    }
}

#[cfg(test)]
mod tests;
