//! [`StoredDocument`]: a document as a store has it, read only as far as somebody asks for it.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use slipstream_cimi::Document;

use crate::packed::{self, Member, Name, NotPacked, check_object, pack_object, unpack, with_members};

/// Bytes of memory of a value, or of a member's name, without its text.
const VALUE: usize = 80;

/// A document, without `operations`, that is cheap to clone. It is packed, as files have it, or a [`Document`], or both: each is made of
/// the other once somebody asks for it. A short job is read, begun and ended without ever being a `Document`.
#[derive(Clone)]
pub struct StoredDocument(Arc<Forms>);

/// One of them is there from the beginning.
#[derive(Clone)]
struct Forms {
    packed: OnceLock<Vec<u8>>,
    document: OnceLock<Document>,
}

impl StoredDocument {
    /// A document out of a file, and about how many bytes its text in JSON has.
    pub(crate) fn read(packed: &[u8]) -> Result<(Self, usize), NotPacked> {
        let length = check_object(packed)?;
        Ok((Self::of_packed(packed.to_vec()), length))
    }

    fn of_packed(packed: Vec<u8>) -> Self {
        Self(Arc::new(Forms { packed: packed.into(), document: OnceLock::new() }))
    }

    /// As files have it.
    pub(crate) fn packed(&self) -> &[u8] {
        self.0.packed.get_or_init(|| pack_object(self))
    }

    /// The text of an attribute at top level, if it has one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        if let Some(document) = self.0.document.get() {
            return document.get(name).and_then(Value::as_str).map(Cow::Borrowed);
        }
        let name = Name::of(name);
        self.packed_members().find(|member| name.is_of(member))?.text()
    }

    /// The value of an attribute at top level.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'_, Value>> {
        let [value] = self.values([name]);
        value
    }

    /// The values of these attributes at top level, found in one walk.
    #[must_use]
    pub fn values<const N: usize>(&self, names: [&str; N]) -> [Option<Cow<'_, Value>>; N] {
        if let Some(document) = self.0.document.get() {
            return names.map(|name| document.get(name).map(Cow::Borrowed));
        }
        let mut values = [const { None }; N];
        let names = names.map(Name::of);
        for member in self.packed_members() {
            if let Some(place) = names.iter().position(|name| name.is_of(&member)) {
                values[place] = Some(member.value());
            }
        }
        values
    }

    /// Whether it has all of these attributes.
    #[must_use]
    pub fn has_all(&self, names: &[&str]) -> bool {
        if let Some(document) = self.0.document.get() {
            return names.iter().all(|name| document.contains_key(*name));
        }
        let names: Vec<Name<'_>> = names.iter().map(|name| Name::of(name)).collect();
        self.packed_members().filter(|member| names.iter().any(|name| name.is_of(member))).count() == names.len()
    }

    /// Name and value of each attribute, in their order.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, Value>)> {
        let document = self.0.document.get();
        let packed = document.is_none().then(|| self.packed_members()).into_iter().flatten();
        let packed = packed.map(|member| (member.name(), member.value()));
        let document = document.into_iter().flatten();
        document.map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(value))).chain(packed)
    }

    /// Takes out these attributes, then sets those, each at its place or at the end.
    pub fn change(&mut self, remove: &[String], set: Document) {
        if let Some(packed) = self.0.packed.get() {
            *self = Self::of_packed(with_members(packed, remove, &set));
            return;
        }
        let document = self.make_mut();
        document.retain(|name, _| !remove.contains(name));
        document.extend(set);
    }

    /// To be changed where it is, unless somebody else has it, too.
    pub fn make_mut(&mut self) -> &mut Document {
        let _: &Document = self;
        let Forms { packed, document } = Arc::make_mut(&mut self.0);
        packed.take();
        document.get_mut().expect("it was asked for")
    }

    /// The document, for whoever goes on with it alone. Clones of this stay as they are.
    #[must_use]
    pub fn into_document(self) -> Document {
        match Arc::try_unwrap(self.0) {
            Ok(Forms { packed, document }) => document.into_inner().unwrap_or_else(|| unpacked(&packed)),
            Err(shared) => shared.document.get().cloned().unwrap_or_else(|| unpacked(&shared.packed)),
        }
    }

    /// About how much memory it takes once somebody has asked for all of it, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let Forms { packed, document } = &*self.0;
        match document.get() {
            Some(document) => document.values().map(weight).sum(),
            None => packed.get().map_or(0, |packed| packed.len() + packed::values(packed) * VALUE),
        }
    }

    fn packed_members(&self) -> impl Iterator<Item = Member<'_>> {
        packed::members(self.packed())
    }
}

/// About how much memory a value takes, in bytes.
#[must_use]
pub fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(weight).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum(),
        }
}

impl From<Document> for StoredDocument {
    fn from(document: Document) -> Self {
        Self(Arc::new(Forms { packed: OnceLock::new(), document: document.into() }))
    }
}

impl Default for StoredDocument {
    fn default() -> Self {
        Document::new().into()
    }
}

impl Deref for StoredDocument {
    type Target = Document;

    fn deref(&self) -> &Document {
        let Forms { packed, document } = &*self.0;
        document.get_or_init(|| unpacked(packed))
    }
}

/// What is packed where there is no document yet.
fn unpacked(packed: &OnceLock<Vec<u8>>) -> Document {
    let packed = packed.get().expect("without a document it is packed");
    match unpack(packed).expect("it was checked").0 {
        Value::Object(document) => document,
        _ => unreachable!("it was checked"),
    }
}

impl PartialEq for StoredDocument {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Debug for StoredDocument {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: Value) -> Document {
        let Value::Object(document) = value else { panic!("not an object") };
        document
    }

    /// Out of a file, made here, and made here and then packed.
    fn forms(value: &Value) -> [StoredDocument; 3] {
        let made = StoredDocument::from(document(value.clone()));
        let packed = made.clone();
        let packed = (packed.packed().to_vec(), StoredDocument::from(document(value.clone())));
        packed.1.packed();
        [StoredDocument::read(&packed.0).unwrap().0, StoredDocument::from(document(value.clone())), packed.1]
    }

    #[test]
    fn each_form_answers_the_same() {
        let value = json!({"id": "job/1", "state": "QUEUED", "progress": 7, "acl": {"owner": 1}, "x": null});
        for stored in forms(&value) {
            assert_eq!((stored.text("state").as_deref(), stored.text("progress")), (Some("QUEUED"), None));
            assert_eq!((stored.text("y"), stored.value("y")), (None, None));
            let [acl, none, progress] = stored.values(["acl", "y", "progress"]);
            assert_eq!((acl.as_deref(), none, progress.as_deref()), (Some(&value["acl"]), None, Some(&json!(7))));
            assert!(stored.has_all(&["x", "id"]) && !stored.has_all(&["x", "y"]));
            let members: Vec<(String, Value)> =
                stored.members().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            assert_eq!(members, document(value.clone()).into_iter().collect::<Vec<_>>());
            assert_eq!(stored.into_document(), document(value.clone()));
        }
    }

    #[test]
    fn whoever_takes_it_leaves_the_others_as_they_are_and_what_it_may_come_to_is_known() {
        let value = json!({"id": "job/01a22896-57ff-7010-b0be-14f3f033efd6", "state": "QUEUED", "progress": 7,
                           "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": []}});
        let [packed, ..] = forms(&value);
        let other = packed.clone();
        let before = other.weight();
        assert_eq!(packed.into_document(), document(value));
        assert!(other.0.document.get().is_none(), "still packed alone");
        assert!(other.contains_key("id") && (1..before).contains(&other.weight()), "{before}, {}", other.weight());
    }

    #[test]
    fn each_form_is_changed_alike_and_none_of_its_clones() {
        let value = json!({"id": "job/1", "state": "QUEUED", "name": "n", "other": 1});
        for mut stored in forms(&value) {
            let before = stored.clone();
            let set = document(json!({"state": "RUNNING", "name": "m", "started": "now"}));
            stored.change(&["name".to_owned(), "other".to_owned()], set);
            let text = r#"{"id":"job/1","state":"RUNNING","name":"m","started":"now"}"#;
            assert_eq!(serde_json::to_string(&*stored).unwrap(), text);
            assert_eq!(stored.packed(), pack_object(&document(serde_json::from_str(text).unwrap())));
            stored.make_mut().insert("more".to_owned(), json!(1));
            assert_eq!(StoredDocument::read(stored.packed()).unwrap().0["more"], 1, "packed anew");
            assert_eq!(*before, document(value.clone()));
        }
    }
}
