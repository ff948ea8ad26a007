//! `slipstream-job executors` and `slipstream-job actions`: who does jobs, and which ones.

use std::collections::BTreeMap;

use serde::Serialize;

use super::options::connection::ShowOptions;
use super::terminal::{Screen, one_line};
use crate::api::executors::{Executor, Executors, PLACE};

/// Most lines of an executor: the names of its actions may be many.
const MOST_LINES: usize = 3;

/// Lists executors.
pub async fn executors(options: ShowOptions) -> anyhow::Result<()> {
    let Executors { executors, .. } = options.connection.view(PLACE).await?;
    options.print(&executors, |screen| render_executors(&executors, screen))
}

/// Lists the actions that executors know.
pub async fn actions(options: ShowOptions) -> anyhow::Result<()> {
    let Executors { executors, .. } = options.connection.view(PLACE).await?;
    let actions = by_action(&executors);
    options.print(&actions, |screen| render_actions(&actions, screen))
}

/// An action, and who can do it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Action {
    #[serde(rename = "action")]
    name: String,
    /// How many jobs at once, if nothing else were done.
    slots: usize,
    executors: Vec<String>,
}

fn by_action(executors: &[Executor]) -> Vec<Action> {
    let mut actions: BTreeMap<&str, Action> = BTreeMap::new();
    for executor in executors.iter().map(|executor| &executor.registered) {
        for name in &executor.actions {
            let new = || Action { name: name.clone(), slots: 0, executors: Vec::new() };
            let action = actions.entry(name).or_insert_with(new);
            action.slots += executor.slots;
            action.executors.push(executor.name.clone());
        }
    }
    actions.into_values().collect()
}

fn render_actions(actions: &[Action], screen: Screen) -> String {
    if actions.is_empty() {
        return "no actions: no executor has a session".to_owned();
    }
    let row = |action: &Action| {
        vec![one_line(&action.name), action.slots.to_string(), one_line(&action.executors.join(", "))]
    };
    screen.listing(&["ACTION", "SLOTS", "EXECUTORS"], &[0, 2], actions.iter().map(row).collect())
}

fn render_executors(executors: &[Executor], screen: Screen) -> String {
    if executors.is_empty() {
        return "no executors".to_owned();
    }
    let row = |Executor { registered, busy, .. }: &Executor| {
        vec![
            one_line(&registered.name),
            one_line(&registered.process.host),
            registered.process.id.to_string(),
            one_line(&registered.process.version),
            registered.slots.to_string(),
            busy.map_or_else(|| "?".to_owned(), |busy| busy.to_string()),
            one_line(&registered.actions.join(", ")),
        ]
    };
    let titles = ["EXECUTOR", "HOST", "PID", "VERSION", "SLOTS", "BUSY", "ACTIONS"];
    screen.tall_listing(&titles, &[0, 1, 6], executors.iter().map(row).collect(), MOST_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::registry::loaded::Loaded;
    use crate::process::registry::{Process, RegisteredExecutor};

    fn executor(name: &str, slots: usize, busy: Option<usize>, actions: &[&str]) -> Executor {
        let process = Process { host: format!("{name}.example.org"), id: 4711, version: "0.1.0".to_owned() };
        let registered = RegisteredExecutor {
            name: name.to_owned(),
            process,
            slots,
            actions: actions.iter().map(ToString::to_string).collect(),
            loaded: Loaded::default(),
            begun: "2026-11-24T12:00:00Z".parse().unwrap(),
            passed_over: Vec::new(),
        };
        Executor { claimant: "0a".to_owned(), registered, busy }
    }

    fn two() -> [Executor; 2] {
        let many = ["cleanup_jobs", "dummy_test_action", "noop", "orchestrate_everything_that_there_is"];
        [executor("node-1", 8, Some(3), &many), executor("node-2", 1000, None, &["noop"])]
    }

    #[test]
    fn executors_fit_80_columns() {
        let expected = "\
EXECUTOR  HOST                PID   VERSION  SLOTS  BUSY  ACTIONS
node-1    node-1.example.org  4711  0.1.0    8      3     cleanup_jobs,
                                                          dummy_test_action,
                                                          noop, orchestrate_eve…
node-2    node-2.example.org  4711  0.1.0    1000   ?     noop";
        assert_eq!(render_executors(&two(), Screen { width: Some(80), colours: false }), expected);
        assert_eq!(render_executors(&[], Screen { width: Some(80), colours: false }), "no executors");
    }

    #[test]
    fn an_action_has_the_slots_of_all_who_know_it() {
        let expected = "\
ACTION                                SLOTS  EXECUTORS
cleanup_jobs                          8      node-1
dummy_test_action                     8      node-1
noop                                  1008   node-1, node-2
orchestrate_everything_that_there_is  8      node-1";
        let screen = Screen { width: Some(80), colours: false };
        assert_eq!(render_actions(&by_action(&two()), screen), expected);
        assert_eq!(render_actions(&[], screen), "no actions: no executor has a session");
    }
}
