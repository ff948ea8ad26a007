//! Thousands of conditions on one attribute as one list: `SQLite` plans each condition by itself, and a list at once.

use std::collections::HashMap;

use slipstream_cimi::filter::{Attribute, Comparison, DATE_ATTRIBUTES, Filter, Literal};

/// The same filter, in which `a='x' or a='y'` is `a=['x','y']`, and `a!='x' and a!='y'` is `a!=['x','y']`. Dates stay as
/// they are: each is a range, for which there is an index, and a list of them has none.
pub(super) fn gathered(filter: &Filter) -> Filter {
    match filter {
        Filter::All(parts) => joined(parts, Comparison::NotEqual, Filter::All),
        Filter::Any(parts) => joined(parts, Comparison::Equal, Filter::Any),
        Filter::Compare(..) => filter.clone(),
    }
}

fn joined(parts: &[Filter], wanted: Comparison, join: fn(Vec<Filter>) -> Filter) -> Filter {
    let mut places: HashMap<Attribute, usize> = HashMap::new();
    let mut joined: Vec<Filter> = Vec::new();
    for part in parts.iter().map(gathered) {
        match part {
            Filter::Compare(path, comparison, literal) if comparison == wanted && is_gathered(&path, &literal) => {
                if let Some(Filter::Compare(.., list)) = places.get(&path).and_then(|place| joined.get_mut(*place)) {
                    let mut elements = elements(std::mem::replace(list, Literal::Null));
                    elements.extend(self::elements(literal));
                    *list = Literal::List(elements);
                } else {
                    places.insert(path.clone(), joined.len());
                    joined.push(Filter::Compare(path, comparison, literal));
                }
            }
            other => joined.push(other),
        }
    }
    if joined.len() == 1 { joined.remove(0) } else { join(joined) }
}

fn is_gathered(path: &Attribute, literal: &Literal) -> bool {
    *literal != Literal::Null && !DATE_ATTRIBUTES.contains(&path.0.as_str())
}

fn elements(literal: Literal) -> Vec<Literal> {
    match literal {
        Literal::List(elements) => elements,
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_on_one_attribute_become_a_list() {
        for (written, gathers) in [
            ("state='A' or state='B'", "state=['A','B']"),
            ("state='A' or n=1 or state=['B','C'] or n=2", "state=['A','B','C'] or n=[1,2]"),
            ("state!='A' and state!='B'", "state!=['A','B']"),
            ("n=1 and (state='A' or state='B' or state=[])", "n=1 and state=['A','B']"),
            ("state='A' and state='B'", "state='A' and state='B'"),
            ("state!='A' or state!='B'", "state!='A' or state!='B'"),
            ("state='A' or state=null or state='B'", "state=['A','B'] or state=null"),
            ("state='A' or state^='B'", "state='A' or state^='B'"),
            ("created='2026-01-01' or created='2026-01-02'", "created='2026-01-01' or created='2026-01-02'"),
        ] {
            let filter = |text| Filter::parse(text).unwrap();
            assert_eq!(gathered(&filter(written)), filter(gathers), "{written}");
        }
    }
}
