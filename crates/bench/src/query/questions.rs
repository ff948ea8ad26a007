//! What people ask of jobs.

use jiff::SignedDuration;
use rand::RngExt;
use rand::rngs::StdRng;
use slipstream_cimi::acl::Principal;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::query::Order;
use slipstream_cimi::resource::format_time;
use slipstream_store::Query;

use super::documents::{ACTIONS, BUSY_USER, Jobs, PERIOD, RARE_USER, action, user};

/// What is to be expected of the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The promise holds.
    Promised,
    /// Shown for honesty: so much matches that counting it exactly takes long, or no one index has all of it.
    Shown,
    /// To compare with.
    Control,
}

/// One question with ever other values.
pub struct Question {
    pub name: &'static str,
    pub kind: Kind,
    /// Reads the document `after` instead of searching.
    pub gets: bool,
    pub query: Box<dyn Fn(&mut StdRng) -> Query>,
}

const STATES: [&str; 5] = ["SUCCESS", "FAILED", "STOPPED", "RUNNING", "QUEUED"];
const PAGE: u64 = 20;

fn question(kind: Kind, name: &'static str, query: impl Fn(&mut StdRng) -> Query + 'static) -> Question {
    Question { name, kind, gets: false, query: Box::new(query) }
}

/// The newest that match.
fn newest(kind: Kind, name: &'static str, text: impl Fn(&mut StdRng) -> String + 'static) -> Question {
    question(kind, name, move |random| by("created", &text(random)))
}

/// The first in descending order of an attribute.
fn by(attribute: &str, text: &str) -> Query {
    let order = vec![Order { attribute: attribute.to_owned(), descending: true }];
    Query { filter: filter(text), order, limit: PAGE, ..Query::default() }
}

fn filter(text: &str) -> Option<Filter> {
    (!text.is_empty()).then(|| Filter::parse(text).expect("the questions are sound"))
}

fn state(random: &mut StdRng) -> &'static str {
    STATES[random.random_range(0..STATES.len())]
}

/// All questions, in the order of the table.
pub fn all(jobs: &Jobs) -> Vec<Question> {
    let mut questions = controls(jobs);
    questions.extend(states_and_actions());
    questions.extend(targets_and_parents(jobs));
    questions.extend(times(jobs));
    questions.extend(priorities_and_owners());
    questions.extend(callers());
    questions.extend(large(jobs));
    questions
}

fn controls(jobs: &Jobs) -> Vec<Question> {
    let number = jobs.number;
    let get = question(Kind::Control, "get by id", move |random| Query {
        after: Some(Jobs::id(random.random_range(0..number))),
        ..Query::default()
    });
    vec![Question { gets: true, ..get }]
}

fn states_and_actions() -> Vec<Question> {
    let promised = Kind::Promised;
    vec![
        newest(promised, "state and action", |random| {
            format!("state='{}' and action='{}'", state(random), action(random))
        }),
        question(promised, "state and action, count alone", |random| Query {
            filter: filter(&format!("state='{}' and action='{}'", state(random), action(random))),
            ..Query::default()
        }),
        question(promised, "state and action, page 1 to 10", |random| {
            let offset = PAGE * random.random_range(0..10);
            Query { offset, ..by("created", &format!("state='{}' and action='{}'", state(random), action(random))) }
        }),
        newest(promised, "no filter", |_| String::new()),
        newest(promised, "state", |random| format!("state='{}'", state(random))),
        newest(promised, "state = list of 2", |random| format!("state=['{}','{}']", state(random), state(random))),
        newest(promised, "state or state", |random| format!("state='{}' or state='{}'", state(random), state(random))),
        newest(promised, "action", |random| format!("action='{}'", action(random))),
        newest(promised, "action = list of 2", |random| format!("action=['{}','{}']", action(random), action(random))),
        newest(promised, "action and (state or state)", |random| {
            format!("action='{}' and (state='{}' or state='{}')", action(random), state(random), state(random))
        }),
        newest(promised, "action and state = list of 2", |random| {
            format!("action='{}' and state=['{}','{}']", action(random), state(random), state(random))
        }),
        question(promised, "state, no order", |random| Query {
            filter: filter(&format!("state='{}'", state(random))),
            limit: PAGE,
            ..Query::default()
        }),
        question(promised, "not final, walked by id", |random| Query {
            filter: filter("state='QUEUED' or state='RUNNING'"),
            after: Some(Jobs::id(random.random())),
            limit: PAGE,
            ..Query::default()
        }),
    ]
}

fn targets_and_parents(jobs: &Jobs) -> Vec<Question> {
    let promised = Kind::Promised;
    let (targets, parents) = (jobs.targets(), jobs.parents());
    let target =
        move |random: &mut StdRng| format!("credential/{:08}-cloud-exoscale-ch-gva", random.random_range(0..targets));
    let parent = move |random: &mut StdRng| format!("job/parent-{:08}", random.random_range(0..parents));
    vec![
        newest(promised, "target", move |random| format!("targetResource/href='{}'", target(random))),
        newest(promised, "target and state", move |random| {
            format!("targetResource/href='{}' and state='{}'", target(random), state(random))
        }),
        newest(promised, "target = list of 3", move |random| {
            format!("targetResource/href=['{}','{}','{}']", target(random), target(random), target(random))
        }),
        newest(promised, "target ^= prefix of one", move |random| {
            format!("targetResource/href^='credential/{:08}'", random.random_range(0..targets))
        }),
        newest(promised, "parent", move |random| format!("parentJob='{}'", parent(random))),
        newest(promised, "parent and state", move |random| {
            format!("parentJob='{}' and state='{}'", parent(random), state(random))
        }),
        newest(promised, "parent = list of 2", move |random| {
            format!("parentJob=['{}','{}']", parent(random), parent(random))
        }),
    ]
}

fn times(jobs: &Jobs) -> Vec<Question> {
    let promised = Kind::Promised;
    let end = jobs.end;
    let hour = move |random: &mut StdRng| {
        let start = end - SignedDuration::from_hours(random.random_range(1..=PERIOD.as_hours()));
        (format_time(start), format_time(start + SignedDuration::from_hours(1)))
    };
    let last_hour = format_time(end - SignedDuration::from_hours(1));
    let range = move |attribute: &'static str| {
        move |random: &mut StdRng| {
            let (from, to) = hour(random);
            format!("{attribute}>='{from}' and {attribute}<'{to}'")
        }
    };
    let (created, updated) = (range("created"), range("updated"));
    let within = range("created");
    vec![
        newest(promised, "created within an hour", created),
        newest(promised, "created within an hour, and state", move |random| {
            format!("{} and state='{}'", within(random), state(random))
        }),
        newest(promised, "created in the last hour, state and action", move |random| {
            format!("created>'{last_hour}' and state='{}' and action='{}'", state(random), action(random))
        }),
        question(promised, "updated within an hour, last updated first", move |random| by("updated", &updated(random))),
        question(promised, "no filter, last updated first", |_| by("updated", "")),
        question(promised, "no filter, priority ascending", |_| Query {
            order: vec![Order { attribute: "priority".to_owned(), descending: false }],
            limit: PAGE,
            ..Query::default()
        }),
    ]
}

fn priorities_and_owners() -> Vec<Question> {
    let promised = Kind::Promised;
    vec![
        newest(promised, "priority", |random| format!("priority={}", random.random_range(0..500))),
        newest(promised, "priority < 10", |random| format!("priority<{}", random.random_range(1..=10))),
        newest(Kind::Shown, "priority and state", |random| {
            format!("priority={} and state='{}'", random.random_range(0..500), state(random))
        }),
        newest(promised, "owner with 100 jobs", |random| format!("acl/owner/principal='{}'", user(random))),
        newest(promised, "owner with 100 jobs, and state", |random| {
            format!("acl/owner/principal='{}' and state='{}'", user(random), state(random))
        }),
    ]
}

fn callers() -> Vec<Question> {
    let promised = Kind::Promised;
    vec![
        question(promised, "visible: 100 jobs", |random| seen(&user(random), "")),
        question(promised, "visible: 3 jobs", |_| seen(RARE_USER, "")),
        question(promised, "visible: 3 in 10 jobs", |_| seen(BUSY_USER, "")),
        question(promised, "visible: 3 in 10 jobs, and state", |random| {
            seen(BUSY_USER, &format!("state='{}'", state(random)))
        }),
        question(promised, "visible: 3 in 10 jobs, state or state", |random| {
            seen(BUSY_USER, &format!("state='{}' or state='{}'", state(random), state(random)))
        }),
        question(promised, "visible: 3 in 10 jobs, and action", |random| {
            seen(BUSY_USER, &format!("action='{}'", action(random)))
        }),
        question(Kind::Shown, "visible: 3 in 10 jobs, state and action", |random| {
            seen(BUSY_USER, &format!("state='{}' and action='{}'", state(random), action(random)))
        }),
        question(promised, "visible: 3 in 10 jobs, walked by id", |random| Query {
            after: Some(Jobs::id(random.random())),
            ..Query { order: Vec::new(), ..seen(BUSY_USER, "") }
        }),
        question(promised, "visible: 3 in 10 jobs and those of every user", |_| Query {
            visible_to: Some(principals(BUSY_USER, &["USER", "ANON", "session/1"])),
            ..by("created", "")
        }),
    ]
}

fn principals(name: &str, roles: &[&str]) -> Vec<Principal> {
    let roles = roles.iter().map(|role| Principal::Role((*role).to_owned()));
    std::iter::once(Principal::User(name.to_owned())).chain(roles).collect()
}

fn seen(name: &str, text: &str) -> Query {
    Query { visible_to: Some(principals(name, &["ANON", "session/1"])), ..by("created", text) }
}

fn large(jobs: &Jobs) -> Vec<Question> {
    let end = jobs.end;
    let days_ago = move |random: &mut StdRng, days: i64| {
        format_time(
            end - SignedDuration::from_hours(24 * days) - SignedDuration::from_mins(random.random_range(0..600)),
        )
    };
    let scan = question(Kind::Control, "scan: statusMessage, which has no index", |random| {
        by("created", &format!("statusMessage='{}'", ACTIONS[random.random_range(0..ACTIONS.len())]))
    });
    vec![
        newest(Kind::Shown, "owner of 3 in 10 jobs", |_| format!("acl/owner/principal='{BUSY_USER}'")),
        newest(Kind::Shown, "owner of 6 in 10 jobs", |_| "acl/owner/principal='ADMIN'".to_owned()),
        newest(Kind::Shown, "priority of 8 in 10 jobs", |_| "priority=999".to_owned()),
        newest(Kind::Shown, "created in the last day", move |random| format!("created>'{}'", days_ago(random, 1))),
        newest(Kind::Shown, "created in the last half", move |random| format!("created>'{}'", days_ago(random, 15))),
        newest(Kind::Shown, "created in the last half, and state", move |random| {
            format!("created>'{}' and state='{}'", days_ago(random, 15), state(random))
        }),
        newest(Kind::Shown, "target ^= prefix of all", |_| "targetResource/href^='credential/'".to_owned()),
        scan,
    ]
}
