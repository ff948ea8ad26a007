//! `slipstream-job actions list`: the actions that executors know.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use slipstream_cimi::overview::executors::loaded::Kind;
use slipstream_cimi::overview::executors::{Executor, Executors, PLACE};

use crate::cli::executors::render_failed;
use crate::cli::options::connection::ShowOptions;
use crate::cli::terminal::{Screen, one_line};

/// Lists the actions that executors know.
pub async fn run(options: ShowOptions) -> anyhow::Result<()> {
    let Executors { executors, .. } = options.connection.view(PLACE).await?;
    let actions = by_action(&executors);
    options.print(&actions, |screen| {
        let parts = std::iter::once(render(&actions, screen)).chain(render_failed(&executors, screen));
        parts.collect::<Vec<_>>().join("\n\n")
    })
}

/// An action, and who can do it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Action {
    #[serde(rename = "action")]
    name: String,
    /// Of which kinds it is: executors may differ.
    kinds: BTreeSet<Kind>,
    /// How many jobs at once, if nothing else were done.
    slots: usize,
    executors: Vec<String>,
}

fn by_action(executors: &[Executor]) -> Vec<Action> {
    let mut actions: BTreeMap<&str, Action> = BTreeMap::new();
    for executor in executors.iter().map(|executor| &executor.registered) {
        for name in &executor.actions {
            let new = || Action { name: name.clone(), kinds: BTreeSet::new(), slots: 0, executors: Vec::new() };
            let action = actions.entry(name).or_insert_with(new);
            action.kinds.insert(executor.loaded.kind(name));
            action.slots += executor.slots;
            action.executors.push(executor.name.clone());
        }
    }
    actions.into_values().collect()
}

fn render(actions: &[Action], screen: Screen) -> String {
    if actions.is_empty() {
        return "no actions: no executor has a session".to_owned();
    }
    let row = |action: &Action| {
        let kinds: Vec<String> = action.kinds.iter().map(ToString::to_string).collect();
        vec![one_line(&action.name), kinds.join(", "), action.slots.to_string(), one_line(&action.executors.join(", "))]
    };
    screen.listing(&["ACTION", "KIND", "SLOTS", "EXECUTORS"], &[0, 3], actions.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::executors::tests::two;

    #[test]
    fn an_action_has_the_slots_of_all_who_know_it() {
        let expected = "\
ACTION                                KIND             SLOTS  EXECUTORS
cleanup_jobs                          native           8      node-1
dummy_test_action                     native           8      node-1
noop                                  native, command  1008   node-1, node-2
orchestrate_everything_that_there_is  python           8      node-1";
        let screen = Screen { width: Some(80), colours: false };
        assert_eq!(render(&by_action(&two()), screen), expected);
        assert_eq!(render(&[], screen), "no actions: no executor has a session");
    }
}
