//! What differs between two states of a page, as the script takes it.

use serde_json::{Value, json};

use crate::page::{Content, Region, Row};

/// All regions.
pub fn all(regions: &[Region], state: &str) -> String {
    let regions: Vec<Value> = regions.iter().map(|region| written(None, region)).collect();
    json!({"state": state, "regions": regions}).to_string()
}

/// What is to be told to somebody who has the regions `before`, or none; nothing if all is as before.
pub fn between(before: Option<&[Region]>, now: &[Region], state: &str) -> Option<String> {
    let earlier = |region: &Region| before.into_iter().flatten().find(|earlier| earlier.id == region.id);
    let changed = now.iter().filter(|region| earlier(region) != Some(region));
    let regions: Vec<Value> = changed.map(|region| written(earlier(region), region)).collect();
    (!regions.is_empty()).then(|| json!({"state": state, "regions": regions}).to_string())
}

/// A region; of rows their order and those that are not as before.
fn written(before: Option<&Region>, region: &Region) -> Value {
    match &region.content {
        Content::Whole(html) => json!({"id": region.id, "html": html}),
        Content::Rows(rows) => {
            let earlier: &[Row] = match before.map(|before| &before.content) {
                Some(Content::Rows(rows)) => rows,
                _ => &[],
            };
            let changed = rows.iter().filter(|row| !earlier.contains(row));
            let changed: serde_json::Map<String, Value> =
                changed.map(|row| (row.id.clone(), row.html.clone().into())).collect();
            json!({"id": region.id, "order": rows.iter().map(|row| &row.id).collect::<Vec<_>>(), "rows": changed})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Region {
        let row = |(id, html): &(&str, &str)| Row { id: (*id).to_owned(), html: (*html).to_owned() };
        Region { id: "rows", content: Content::Rows(rows.iter().map(row).collect()) }
    }

    #[test]
    fn only_what_changed_is_told() {
        let whole = |html: &str| Region { id: "summary", content: Content::Whole(html.to_owned()) };
        let before = [whole("one"), rows(&[("a", "A"), ("b", "B")])];
        let told = |now: &[Region]| {
            let told: Option<Value> = between(Some(&before), now, "7").map(|text| text.parse().expect("JSON"));
            told.map(|told| told["regions"].clone())
        };
        assert_eq!(told(&before), None);
        assert_eq!(told(&[whole("two"), before[1].clone()]), Some(json!([{"id": "summary", "html": "two"}])));
        let moved = [whole("one"), rows(&[("c", "C"), ("a", "A!"), ("b", "B")])];
        let expected = json!([{"id": "rows", "order": ["c", "a", "b"], "rows": {"c": "C", "a": "A!"}}]);
        assert_eq!(told(&moved), Some(expected));
        let all: Value = all(&before, "7").parse().expect("JSON");
        let first: Value = between(None, &before, "7").expect("all of it").parse().expect("JSON");
        assert_eq!(all, first);
    }
}
