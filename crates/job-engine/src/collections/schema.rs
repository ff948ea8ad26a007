//! [`Schema`]: a JSON Schema that documents are held against.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Violations that are told at most.
const MOST_TOLD: usize = 20;

/// A JSON Schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    source: Arc<Value>,
    validator: Arc<Validator>,
}

/// A value is no schema.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("at {path}: ") })]
pub struct NotASchema {
    /// Where in it, as a JSON pointer; empty for the whole.
    path: String,
    message: String,
}

impl Schema {
    /// The schema that is written so, of the draft that it names, else 2020-12. It refers to itself alone: nothing is fetched
    /// or read for it. Patterns are those that take no longer than the text is long.
    pub fn new(source: Value) -> Result<Self, NotASchema> {
        let built = jsonschema::options().offline().with_pattern_options(PatternOptions::regex()).build(&source);
        let validator = built.map_err(|error| NotASchema {
            path: error.instance_path().to_string(),
            message: one_line(&error.to_string()),
        })?;
        Ok(Self { source: Arc::new(source), validator: Arc::new(validator) })
    }

    /// Whether it says something of an attribute at top level.
    #[must_use]
    pub fn names(&self, attribute: &str) -> bool {
        let required = self.source.get("required").and_then(Value::as_array).into_iter().flatten();
        self.source.get("properties").and_then(|properties| properties.get(attribute)).is_some()
            || required.into_iter().any(|name| name == attribute)
    }

    /// Whether it names any attribute.
    #[must_use]
    pub fn has_properties(&self) -> bool {
        self.source.get("properties").is_some_and(Value::is_object)
    }

    /// What it says against a value, one sentence each with the JSON pointer of the place; of very many the first. No
    /// value is repeated: it may be a secret.
    #[must_use]
    pub fn violations(&self, value: &Value) -> Vec<String> {
        let mut errors = self.validator.iter_errors(value);
        let told = errors.by_ref().take(MOST_TOLD).map(|error| {
            let path = error.instance_path().to_string();
            let path = if path.is_empty() { "/".to_owned() } else { path };
            format!("{path}: {}", one_line(&error.masked().to_string()))
        });
        let mut told: Vec<String> = told.collect();
        let more = errors.count();
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_violation_is_told_with_its_place_and_without_its_value() {
        let schema = json!({
            "properties": {
                "type": {"type": "string", "pattern": "^cloud-cred-"},
                "connector": {"type": "object", "required": ["href"]},
                "tags": {"items": {"type": "string"}},
            },
            "required": ["type"],
        });
        let schema = Schema::new(schema).unwrap();
        for (value, places) in [
            (json!({"type": "cloud-cred-a", "connector": {"href": "connector/a"}, "tags": ["a"]}), &[][..]),
            (json!({}), &["/: "]),
            (json!({"type": 5123}), &["/type: "]),
            (json!({"type": "secret-5123", "connector": {}}), &["/connector: ", "/type: "]),
            (json!({"type": "cloud-cred-a", "tags": ["a", 5123, 5123]}), &["/tags/1: ", "/tags/2: "]),
        ] {
            let mut violations = schema.violations(&value);
            violations.sort();
            assert_eq!(violations.len(), places.len(), "{violations:?}");
            let fit = violations.iter().zip(places).all(|(violation, place)| violation.starts_with(place));
            assert!(fit && !violations.concat().contains("5123"), "{violations:?}");
        }
    }

    #[test]
    fn of_very_many_violations_the_first_are_told() {
        let schema = Schema::new(json!({"properties": {"tags": {"items": {"type": "string"}}}})).unwrap();
        let violations = schema.violations(&json!({"tags": vec![1; 100]}));
        assert_eq!((violations.len(), violations.last().map(String::as_str)), (21, Some("and 80 more")));
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_place() {
        for (source, place) in [
            (json!({"type": "text"}), "at /type: "),
            (json!({"properties": {"a": {"minLength": "3"}}}), "at /properties/a/minLength: "),
            (json!({"required": "type"}), "at /required: "),
            (json!("string"), ""),
            (json!({"properties": {"a": {"pattern": "("}}}), ""),
            (json!({"$ref": "https://example.org/schema.json"}), ""),
            (json!({"$ref": "other.json"}), ""),
        ] {
            let error = Schema::new(source.clone()).expect_err("it is no schema").to_string();
            assert!(error.starts_with(place) && !error.contains('\n'), "{source}: {error}");
        }
    }
}
