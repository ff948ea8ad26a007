//! How many jobs of each action wait.

use std::collections::BTreeMap;

use serde_json::Value;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::query::{Aggregation, Algorithm};
use slipstream_store::{Query, StoreError};

use crate::server::Shared;

/// Most actions that are counted: those of which most jobs wait.
const MOST: usize = 1_000;

/// Of each action that has any. An aggregation names ten values, so that it is asked again without those; the store answers
/// each from its tally.
pub async fn by_action(shared: &Shared) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut found = BTreeMap::new();
    while found.len() < MOST {
        let aggregation = Aggregation { algorithm: Algorithm::Terms, attribute: "action".to_owned() };
        let query = Query { filter: Some(others(&found)), aggregations: vec![aggregation], ..Query::default() };
        let answer = shared.store.search(JOB.name, &query).await?;
        let more = answer.aggregations.first().map(terms).unwrap_or_default();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    Ok(found)
}

/// How many have each value, as an aggregation answers it.
pub fn terms(answer: &Value) -> BTreeMap<String, u64> {
    let buckets = answer["buckets"].as_array().into_iter().flatten();
    let count = |bucket: &Value| Some((bucket["key"].as_str()?.to_owned(), bucket["doc_count"].as_u64()?));
    buckets.filter_map(count).collect()
}

/// Jobs that wait, of other actions than these.
fn others(known: &BTreeMap<String, u64>) -> Filter {
    let compare =
        |attribute: &str, comparison, literal| Filter::Compare(Attribute(attribute.to_owned()), comparison, literal);
    let text = |text: &str| Literal::Text(text.to_owned());
    let queued = compare("state", Comparison::Equal, text(State::Queued.as_str()));
    if known.is_empty() {
        return queued;
    }
    let known = Literal::List(known.keys().map(|action| text(action)).collect());
    Filter::All(vec![queued, compare("action", Comparison::NotEqual, known)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::auth::caller::Caller;
    use crate::server::jobs;
    use crate::server::jobs::tests::shared;

    #[tokio::test]
    async fn all_actions_are_counted_and_not_only_ten() {
        let shared = shared().await;
        let caller = Caller::User { name: "super".to_owned(), roles: vec!["ADMIN".to_owned()], session: None };
        for number in 0..35 {
            for _ in 0..=number % 2 {
                let Value::Object(sent) = json!({"action": format!("action '{number}'")}) else {
                    unreachable!("an object")
                };
                jobs::add(&shared, &caller, sent, None).await.expect("added");
            }
        }
        shared.jobs.settled().await;
        let found = by_action(&shared).await.expect("counted");
        assert_eq!((found.len(), found["action '7'"], found["action '8'"]), (35, 2, 1));
    }
}
