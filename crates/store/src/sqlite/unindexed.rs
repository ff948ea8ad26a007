//! What makes a search slow.

use slipstream_cimi::filter::{Comparison, Filter, Literal};

use super::attribute::Declared;
use super::column::Column;
use crate::Query;

/// The attributes of a search for which no index helps: none, if an index finds all that match and it is too much.
pub(super) fn unindexed(declared: &Declared, kind: &str, query: &Query) -> Vec<String> {
    let mut attributes = Vec::new();
    let indexes = Indexes { declared, kind };
    if let Some(filter) = query.filter.as_ref().filter(|filter| !indexes.find(filter)) {
        indexes.collect(filter, &mut attributes);
    }
    let order = query.order.iter().map(|order| &order.attribute).filter(|path| Column::of(path).is_none());
    attributes.extend(order.cloned());
    let mut seen = std::collections::BTreeSet::new();
    attributes.retain(|attribute| seen.insert(attribute.clone()));
    attributes
}

/// Those that there are for a type.
struct Indexes<'a> {
    declared: &'a Declared,
    kind: &'a str,
}

impl Indexes<'_> {
    /// Whether an index finds what matches: of all conditions it must find one, of alternatives each.
    fn find(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(parts) => parts.iter().any(|part| self.find(part)),
            Filter::Any(parts) => parts.iter().all(|part| self.find(part)),
            Filter::Compare(path, comparison, literal) => {
                let in_column = !matches!(comparison, Comparison::NotEqual | Comparison::Words)
                    && *literal != Literal::Null
                    && Column::of(&path.0).is_some_and(|column| column.condition(*comparison, literal).is_some());
                in_column || self.declared.finds(self.kind, &path.0, *comparison, literal)
            }
        }
    }

    fn collect(&self, filter: &Filter, attributes: &mut Vec<String>) {
        match filter {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().for_each(|part| self.collect(part, attributes)),
            Filter::Compare(path, ..) if !self.find(filter) => attributes.push(path.0.clone()),
            Filter::Compare(..) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::query::Order;

    use super::*;

    fn named(filter: &str, order: &[&str]) -> Vec<String> {
        named_of("job", filter, order)
    }

    fn named_of(kind: &str, filter: &str, order: &[&str]) -> Vec<String> {
        let mut declared = Declared::default();
        declared.add("credential", ["type", "connector/href"].map(str::to_owned));
        let order = order.iter().map(|path| Order { attribute: (*path).to_owned(), descending: true });
        let filter = (!filter.is_empty()).then(|| Filter::parse(filter).unwrap());
        unindexed(&declared, kind, &Query { filter, order: order.collect(), ..Query::default() })
    }

    #[test]
    fn attributes_for_which_no_index_helps_are_named() {
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("statusMessage='x'", &["created"], &["statusMessage"]),
            ("statusMessage='x' or progress>5 or statusMessage='y'", &[], &["statusMessage", "progress"]),
            ("state='QUEUED' or progress>5", &[], &["progress"]),
            ("progress>5 and name='x'", &["duration", "created", "name"], &["progress", "name", "duration"]),
            ("state!='QUEUED'", &[], &["state"]),
            ("parentJob=null", &[], &["parentJob"]),
            ("", &["progress"], &["progress"]),
            ("state='QUEUED'", &["progress"], &["progress"]),
            ("state='SUCCESS'", &["created"], &[]),
            ("state='SUCCESS' and progress>5", &["created"], &[]),
            ("created>'2026-01-01T00:00:00.000Z'", &["updated"], &[]),
            ("priority<5 or acl/owner/principal='jane' or targetResource/href^='a'", &["priority"], &[]),
            ("", &["created"], &[]),
        ];
        for (filter, order, expected) in rows {
            assert_eq!(named(filter, order), *expected, "{filter} {order:?}");
        }
    }

    #[test]
    fn what_is_declared_has_an_index_in_its_own_type_alone() {
        let rows: &[(&str, &[&str])] = &[
            ("type^='cloud-cred-'", &[]),
            ("type^='cloud-cred-' and disabledMonitoring!=true", &[]),
            ("type=['a','b'] or connector/href='connector/a'", &[]),
            ("type='a' or key='b'", &["key"]),
            ("type!='a'", &["type"]),
            ("type>'a'", &["type"]),
            ("type=null", &["type"]),
        ];
        for (filter, expected) in rows {
            assert_eq!(named_of("credential", filter, &[]), *expected, "{filter}");
        }
        assert_eq!(named("type='a'", &[]), ["type"]);
        assert_eq!(named_of("credential", "type='a'", &["type"]), ["type"], "an order needs an index of its own");
    }
}
