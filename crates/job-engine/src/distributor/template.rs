//! [`Template`]: what a job of a distributor gets of the document that it is for. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, values_at};

/// A text with places such as `{connector/href}`, which values of a document take. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The path of an attribute.
    Value(String),
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace has no partner.
    #[error("`{0}` has a brace without its partner: write `{{attribute}}`, and `{{{{` or `}}}}` for a brace itself")]
    Brace(String),
    /// What stands between braces is no path.
    #[error("`{{{0}}}` names no attribute: write its path, such as `{{id}}` or `{{connector/href}}`")]
    NoPath(String),
}

/// The document has no such attribute, or one that is not one text or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl TextTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let unpaired = || TemplateError::Brace(text.to_owned());
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let (path, after) = rest.split_once('}').filter(|_| brace == "{").ok_or_else(unpaired)?;
            if !is_path(path) {
                return Err(TemplateError::NoPath(path.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Value(path.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The value at one path, as text.
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self(vec![Part::Value(path.to_owned())])
    }

    /// The path of its first place, if it has one.
    #[must_use]
    pub fn first_place(&self) -> Option<&str> {
        self.0.iter().find_map(|part| match part {
            Part::Value(path) => Some(&**path),
            Part::Text(_) => None,
        })
    }

    /// The text for this document.
    pub fn fill(&self, document: &Document) -> Result<String, Missing> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(path) => filled.push_str(&text_of(path, document)?),
            }
        }
        Ok(filled)
    }

    /// The same, but that a text which is nothing but one place gives the value itself, whatever it is.
    fn value(&self, document: &Document) -> Result<Value, Missing> {
        match &self.0[..] {
            [Part::Value(path)] => whole(path, document).cloned().ok_or_else(|| Missing(path.clone())),
            _ => self.fill(document).map(Value::String),
        }
    }

    /// Adds the attributes that it needs, by the first name of their paths.
    pub fn needs(&self, needed: &mut BTreeSet<String>) {
        needed.extend(self.0.iter().filter_map(|part| match part {
            Part::Value(path) => Some(top(path).to_owned()),
            Part::Text(_) => None,
        }));
    }
}

/// A JSON value whose texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// A text.
    Text(TextTemplate),
    /// A list.
    List(Vec<Self>),
    /// An object; its names are no templates.
    Object(Vec<(String, Self)>),
    /// Anything else.
    Fixed(Value),
}

impl Template {
    /// Reads all templates of a value.
    pub fn parse(value: Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => Self::Text(TextTemplate::parse(&text)?),
            Value::Array(values) => Self::List(values.into_iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(members) => Self::Object(
                members.into_iter().map(|(name, value)| Ok((name, Self::parse(value)?))).collect::<Result<_, _>>()?,
            ),
            other => Self::Fixed(other),
        })
    }

    /// The path of its first place, if it has one.
    #[must_use]
    pub fn first_place(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.first_place(),
            Self::List(values) => values.iter().find_map(Self::first_place),
            Self::Object(members) => members.iter().find_map(|(_, value)| value.first_place()),
            Self::Fixed(_) => None,
        }
    }

    /// The value for this document.
    pub fn fill(&self, document: &Document) -> Result<Value, Missing> {
        Ok(match self {
            Self::Text(text) => text.value(document)?,
            Self::List(values) => values.iter().map(|value| value.fill(document)).collect::<Result<_, _>>()?,
            Self::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), value.fill(document)?)));
                Value::Object(filled.collect::<Result<_, _>>()?)
            }
            Self::Fixed(value) => value.clone(),
        })
    }

    /// Adds the attributes that it needs, by the first name of their paths.
    pub fn needs(&self, needed: &mut BTreeSet<String>) {
        match self {
            Self::Text(text) => text.needs(needed),
            Self::List(values) => values.iter().for_each(|value| value.needs(needed)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.needs(needed)),
            Self::Fixed(_) => {}
        }
    }
}

/// Whether it is names joined by slashes.
#[must_use]
pub fn is_path(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace) && !name.contains(['{', '}']);
    text.split('/').all(is_name)
}

/// The first name of a path.
#[must_use]
pub fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// The one text, number, true or false at a path, as text.
pub fn text_of(path: &str, document: &Document) -> Result<String, Missing> {
    let missing = || Missing(path.to_owned());
    match values_at(document, &Attribute(path.to_owned()))[..] {
        [Value::String(text)] => Ok(text.clone()),
        [value @ (Value::Number(_) | Value::Bool(_))] => Ok(value.to_string()),
        _ => Err(missing()),
    }
}

/// What is at a path that leads through objects alone; null counts as nothing.
fn whole<'d>(path: &str, document: &'d Document) -> Option<&'d Value> {
    let mut names = path.split('/');
    let first = document.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name)).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        let document = json!({
            "id": "credential/1", "connector": {"href": "connector/exoscale-ch"}, "quota": 7, "on": true, "gone": null,
            "tags": ["a", "b"], "only": ["one"],
        });
        document.as_object().expect("an object").clone()
    }

    #[test]
    fn places_take_values_and_doubled_braces_stand_for_themselves() {
        let rows = [
            ("{id}", Ok("credential/1")),
            ("at {connector/href} with {quota}: {on}", Ok("at connector/exoscale-ch with 7: true")),
            ("{{id}} }}{{", Ok("{id} }{")),
            ("{{{id}}}", Ok("{credential/1}")),
            ("plain", Ok("plain")),
            ("", Ok("")),
            ("{only}", Ok("one")),
            ("{tags}", Err("tags")),
            ("{gone}", Err("gone")),
            ("{connector}", Err("connector")),
            ("{connector/name}", Err("connector/name")),
        ];
        for (template, expected) in rows {
            let filled = TextTemplate::parse(template).expect("a template").fill(&document());
            assert_eq!(filled.as_deref(), expected.map_err(|path| Missing(path.to_owned())).as_deref(), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for unpaired in ["{id", "id}", "a { b", "{{id}", "}"] {
            assert_eq!(TextTemplate::parse(unpaired), Err(TemplateError::Brace(unpaired.to_owned())), "{unpaired}");
        }
        for (template, path) in [("{}", ""), ("{a//b}", "a//b"), ("{a b}", "a b"), ("x{/a}", "/a"), ("{a{b}", "a{b")] {
            assert_eq!(TextTemplate::parse(template), Err(TemplateError::NoPath(path.to_owned())), "{template}");
        }
    }

    #[test]
    fn a_text_that_is_one_place_gives_the_value_itself() {
        let template = json!({"tags": "{tags}", "size": "{quota}", "text": "quota {quota}", "fixed": [1, null, "{id}"]});
        let template = Template::parse(template).expect("templates");
        let filled = json!({"tags": ["a", "b"], "size": 7, "text": "quota 7", "fixed": [1, null, "credential/1"]});
        assert_eq!(template.fill(&document()), Ok(filled));
        let mut needed = BTreeSet::new();
        template.needs(&mut needed);
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), ["id", "quota", "tags"]);
        let nested = Template::parse(json!({"a": {"b": ["{connector/port}"]}})).expect("templates");
        assert_eq!(nested.fill(&document()), Err(Missing("connector/port".to_owned())));
        assert!(Template::parse(json!({"a": ["{"]})).is_err());
    }
}
