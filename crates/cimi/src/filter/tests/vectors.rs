//! The vectors of specification 4.3, cell by cell. The file that holds them is also what the original Python client
//! asks the server. A filter that is accepted stands beside what it prints as, one that is refused beside the column of
//! its error.

use super::*;

/// A cell of the two tables there and of the text between them, and how many vectors it holds.
const CELLS: [(&str, usize); 8] = [
    ("accepted by both", 28),
    ("accepted in the text", 4),
    ("rejected by both", 27),
    ("rejected in the text", 1),
    ("only S", 2),
    ("only N", 7),
    ("only N, and refused by name", 1),
    ("neither, but worth accepting", 4),
];

fn cells() -> Vec<(String, Vec<(String, Value)>)> {
    let file = include_str!("../../../tests/filter_vectors.json");
    let cells: serde_json::Map<String, Value> = serde_json::from_str(file).expect("an object");
    let vectors = |cell| serde_json::from_value(cell).expect("pairs");
    cells.into_iter().map(|(name, cell)| (name, vectors(cell))).collect()
}

#[test]
fn no_vector_is_forgotten() {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (name, vectors) in cells() {
        let different: std::collections::BTreeSet<&String> = vectors.iter().map(|(filter, _)| filter).collect();
        found.push((name, different.len()));
    }
    found.sort();
    let mut expected: Vec<(String, usize)> = CELLS.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_vector_is_accepted_or_refused_as_its_cell_says() {
    for (cell, vectors) in cells() {
        for (filter, expected) in vectors {
            match (Filter::parse(&filter), expected) {
                (Ok(parsed), Value::String(printed)) => {
                    assert_eq!(parsed.to_string(), printed, "{cell}: {filter:?}");
                    assert_eq!(parse(&printed), parsed, "{cell}: {filter:?}");
                }
                (Err(error), Value::Number(column)) => {
                    assert_eq!((1, Some(error.column as u64)), (error.line, column.as_u64()), "{cell}: {filter:?}");
                    let start = format!("Invalid CIMI filter. Parse error at line 1, column {}:\n", error.column);
                    assert!(error.to_string().starts_with(&start), "{cell}: {filter:?}: {error}");
                }
                (parsed, expected) => panic!("{cell}: {filter:?}: expected {expected}, got {parsed:?}"),
            }
        }
    }
}
