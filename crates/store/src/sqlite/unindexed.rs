//! What makes a search slow.

use slipstream_cimi::filter::{Comparison, Filter, Literal};

use super::column::Column;
use crate::Query;

/// The attributes of a search for which no index helps: none, if an index finds all that match and it is too much.
pub(super) fn unindexed(query: &Query) -> Vec<String> {
    let mut attributes = Vec::new();
    if let Some(filter) = query.filter.as_ref().filter(|filter| !is_found(filter)) {
        collect(filter, &mut attributes);
    }
    let order = query.order.iter().map(|order| &order.attribute).filter(|path| Column::of(path).is_none());
    attributes.extend(order.cloned());
    let mut seen = std::collections::BTreeSet::new();
    attributes.retain(|attribute| seen.insert(attribute.clone()));
    attributes
}

/// Whether an index finds what matches: of all conditions it must find one, of alternatives each.
fn is_found(filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().any(is_found),
        Filter::Any(parts) => parts.iter().all(is_found),
        Filter::Compare(path, comparison, literal) => {
            !matches!(comparison, Comparison::NotEqual | Comparison::Words)
                && *literal != Literal::Null
                && Column::of(&path.0).is_some_and(|column| column.condition(*comparison, literal).is_some())
        }
    }
}

fn collect(filter: &Filter, attributes: &mut Vec<String>) {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().for_each(|part| collect(part, attributes)),
        Filter::Compare(path, ..) if !is_found(filter) => attributes.push(path.0.clone()),
        Filter::Compare(..) => (),
    }
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::query::Order;

    use super::*;

    fn named(filter: &str, order: &[&str]) -> Vec<String> {
        let order = order.iter().map(|path| Order { attribute: (*path).to_owned(), descending: true });
        let filter = (!filter.is_empty()).then(|| Filter::parse(filter).unwrap());
        unindexed(&Query { filter, order: order.collect(), ..Query::default() })
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
}
