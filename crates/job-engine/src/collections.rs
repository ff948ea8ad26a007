//! [`Collections`]: the collections that are declared, beside those that every server has. An administrator names them in
//! configuration; their documents are kept, searched and guarded as jobs are.

pub mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::Kind;
use slipstream_store::sqlite::Declared;

use self::schema::Schema;

/// Attributes that every document may have (specification 3.1).
pub const COMMON: [&str; 10] = [
    "id",
    "resourceURI",
    "created",
    "updated",
    "name",
    "description",
    "properties",
    "parent",
    "resourceMetadata",
    "acl",
];

/// One declared collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// What it is called.
    pub kind: Kind,
    /// Paths of attributes by which searches find documents at once.
    pub indexed: Vec<String>,
    /// What its documents are to be like.
    pub schema: Option<Schema>,
    /// Whether attributes are refused that the schema does not name.
    pub is_closed: bool,
    /// Whether every user may add documents, and not administrators alone.
    pub users_may_add: bool,
}

impl Collection {
    /// Everything that its schema says against a document, one sentence each; of very many the first.
    #[must_use]
    pub fn violations(&self, document: &Document) -> Vec<String> {
        let Some(schema) = &self.schema else { return Vec::new() };
        // what every document has is not for schemas, which may refuse whatever they do not name
        let own = document.iter().filter(|(name, _)| schema.names(name) || !COMMON.contains(&name.as_str()));
        let own: Document = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let unknown = own.keys().filter(|name| self.is_closed && !schema.names(name));
        let mut violations: Vec<String> = unknown.map(|name| format!("{name}: unknown attribute")).collect();
        violations.extend(schema.violations(&Value::Object(own)));
        violations
    }
}

/// All declared collections, by name. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collections(Arc<BTreeMap<&'static str, Collection>>);

impl Collections {
    /// The collection of this name, if it is declared.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.0.get(name)
    }

    /// Each, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.0.values()
    }

    /// As the store has to know them.
    #[must_use]
    pub fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        for collection in self.iter() {
            declared.add(collection.kind.name, collection.indexed.iter().cloned());
        }
        declared
    }
}

/// Of several of one name the last counts.
impl FromIterator<Collection> for Collections {
    fn from_iter<T: IntoIterator<Item = Collection>>(collections: T) -> Self {
        Self(Arc::new(collections.into_iter().map(|collection| (collection.kind.name, collection)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn collection(schema: Value, is_closed: bool) -> Collection {
        let schema = Some(Schema::new(schema).unwrap());
        Collection {
            kind: Kind::declared("credential", None),
            indexed: vec!["type".to_owned()],
            schema,
            is_closed,
            users_may_add: false,
        }
    }

    fn violations(collection: &Collection, document: Value) -> Vec<String> {
        let Value::Object(document) = document else { panic!("not an object") };
        collection.violations(&document)
    }

    #[test]
    fn a_schema_need_not_name_what_every_document_has() {
        let strict =
            json!({"properties": {"type": {"type": "string"}}, "required": ["type"], "additionalProperties": false});
        let common: Document = COMMON.iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
        for is_closed in [false, true] {
            let collection = collection(strict.clone(), is_closed);
            let mut document = common.clone();
            document.insert("type".to_owned(), json!("a"));
            assert_eq!(collection.violations(&document), [""; 0]);
            assert_eq!(collection.violations(&common).len(), 1, "`type` is missing");
        }
        // but it may say more of them
        let named = collection(json!({"properties": {"name": {"minLength": 3}}}), false);
        assert_eq!(violations(&named, json!({"name": "x"})).len(), 1);
        let required = collection(json!({"required": ["description"]}), false);
        assert_eq!(violations(&required, json!({"description": "x", "name": "x"})), [""; 0]);
        assert_eq!(violations(&required, json!({"name": "x"})).len(), 1);
    }

    #[test]
    fn a_closed_collection_takes_what_its_schema_names_and_nothing_else() {
        let schema = json!({"properties": {"type": {}}});
        let (open, closed) = (collection(schema.clone(), false), collection(schema, true));
        let document = json!({"id": "credential/a", "type": 1, "key": "k", "secret": "s"});
        assert_eq!(violations(&open, document.clone()), [""; 0]);
        assert_eq!(violations(&closed, document), ["key: unknown attribute", "secret: unknown attribute"]);
    }

    #[test]
    fn the_store_is_told_of_each() {
        let declared: Collections = [collection(json!({}), false)].into_iter().collect();
        let mut expected = Declared::default();
        expected.add("credential", ["type".to_owned()]);
        assert_eq!(declared.declared(), expected);
        assert!(declared.get("credential").is_some() && declared.get("job").is_none());
    }
}
