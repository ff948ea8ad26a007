//! What `threads` shows: the process in a line, each slot, each thread with its stack, and what the programs of actions say.

use std::collections::BTreeMap;
use std::time::Duration;

use slipstream_stacks::{Capture, Thread};

use crate::process::activity::Activity;
use crate::process::activity::slot::{AttemptNotes, Changing, Program};
use crate::process::visible::visible;

/// Longest job id that is shown, in characters: what is no id of a job may be of any length.
const LONGEST_ID: usize = 60;

/// For people, line by line.
pub(super) fn text(activity: &Activity) -> Vec<String> {
    let slots: Vec<_> = activity.slots().iter().map(|slot| slot.attempt()).collect();
    let rows: Vec<Vec<String>> = slots.iter().enumerate().map(|(number, slot)| row(number + 1, slot)).collect();
    let mut lines = vec![head(activity, &slots)];
    lines.extend(aligned(&rows));
    let polls = slots.iter().enumerate().filter_map(|(slot, attempt)| {
        let thread = attempt.as_ref().ok()?.as_ref()?.thread()?;
        Some((thread, slot + 1))
    });
    let (polls, capture) = (polls.collect(), slipstream_stacks::capture());
    lines.extend(capture.threads.iter().flat_map(|thread| of_thread(thread, &polls)));
    for (number, slot) in slots.iter().enumerate() {
        if let Ok(Some(attempt)) = slot
            && let Some(program) = attempt.program()
        {
            lines.extend(of_program(number + 1, &program));
        }
    }
    lines.push(end(&capture));
    // names of jobs, threads and programs are those of others
    lines.iter().map(|line| visible(line, &[])).collect()
}

type Seen = Result<Option<std::sync::Arc<AttemptNotes>>, Changing>;

/// The process in a line.
fn head(activity: &Activity, slots: &[Seen]) -> String {
    let ((role, name), process) = (activity.role(), std::process::id());
    let mut facts = vec![
        format!("slipstream-job {} {role} {name}", env!("CARGO_PKG_VERSION")),
        format!("process {process}"),
        format!("up {}", age(activity.age())),
    ];
    if !slots.is_empty() {
        let busy = slots.iter().filter(|slot| !matches!(slot, Ok(None))).count();
        facts.push(format!("{busy} of {} slots busy", slots.len()));
    }
    facts.extend(
        activity
            .peers()
            .iter()
            .map(|peer| format!("{} {}", peer.name(), if peer.is_there() { "connected" } else { "out of reach" })),
    );
    if !slots.is_empty() {
        facts.push(format!("draining: {}", if activity.is_draining() { "yes" } else { "no" }));
    }
    facts.join(", ")
}

/// A slot, column by column.
fn row(number: usize, slot: &Seen) -> Vec<String> {
    let mut columns = vec![format!("slot {number}")];
    let attempt = match slot {
        Err(Changing) => {
            columns.push("busy".to_owned());
            return columns;
        }
        Ok(None) => {
            columns.push("idle".to_owned());
            return columns;
        }
        Ok(Some(attempt)) => attempt,
    };
    let (step, since) = attempt.step();
    columns.push(attempt.job().chars().take(LONGEST_ID).collect());
    columns.push(attempt.action().unwrap_or_default().to_owned());
    columns.push(format!("{} {}", step.in_words(), clock(since)));
    let mut more = Vec::new();
    if attempt.is_rerun() {
        more.push("run again after a lost attempt".to_owned());
    }
    if let Some((percent, ago)) = attempt.progress() {
        more.push(format!("last progress {percent} % {} ago", clock(ago)));
    }
    if let Some(Program { name, process, .. }) = attempt.program() {
        more.push(format!("program {name}, process {process}"));
    }
    more.extend(attempt.thread().map(|thread| format!("thread {thread}")));
    columns.push(more.join(", "));
    columns
}

/// A thread, with the functions that it is in; `polls` says which slots have their actions polled by which threads.
fn of_thread(Thread { id, name, state, cpu, frames }: &Thread, polls: &BTreeMap<i32, usize>) -> Vec<String> {
    let slot = polls.get(id).map(|slot| format!(", slot {slot}")).unwrap_or_default();
    let state = match state {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "waiting in the kernel",
        'T' | 't' => "halted",
        _ => "ended",
    };
    let head = format!("thread {id} {name}{slot}: {state}, {:.2} s of processor time", cpu.as_secs_f64());
    let frames = match frames {
        Ok(frames) => frames.iter().map(|frame| format!("    {frame}")).collect(),
        Err(missed) => vec![format!("    no stack: {missed}")],
    };
    [vec![head], frames].concat()
}

fn end(Capture { threads, missed, took }: &Capture) -> String {
    let missed = if *missed == 0 { "none".to_owned() } else { missed.to_string() };
    format!("{} threads in {} ms, {missed} missed", threads.len(), took.as_millis())
}

fn of_program(slot: usize, Program { name, process, own_words }: &Program) -> Vec<String> {
    let Some(own_words) = own_words else { return Vec::new() };
    let head = format!("program {process} {name}, for slot {slot}");
    [vec![head], own_words().into_iter().map(|line| format!("    {line}")).collect()].concat()
}

/// Columns below each other, two blanks apart.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Hours, minutes and seconds.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The two largest units.
fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slipstream_stacks::Missed;

    use super::*;
    use crate::process::activity::Peer;
    use crate::process::activity::slot::Step;

    #[test]
    fn each_slot_is_shown_with_what_is_known_of_it() {
        let activity = Activity::new();
        activity.has_role("executor", "kenny");
        let peer = Peer::new("ZooKeeper at zk1:2181".to_owned());
        peer.note(true);
        activity.needs([peer]);
        drop(activity.slot(2));
        let native = activity.slot(0).begin("job/1".to_owned());
        native.notes().note_job("stop_deployment", true);
        native.notes().note_step(Step::Runs);
        native.notes().note_progress(Some(30));
        let _here = native.notes().polled_here();
        let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
        let program = activity.slot(1).begin("job/22".to_owned());
        program.notes().note_job("quotas", false);
        program.notes().note_step(Step::Runs);
        let own_words: Option<crate::process::activity::slot::OwnWords> = Some(Arc::new(|| vec!["line 41".to_owned()]));
        program.notes().note_program(Program { name: "python3".to_owned(), process: 1044, own_words });
        let mut lines = text(&activity);
        let last = lines.pop().unwrap();
        assert!(last.contains(" threads in ") && last.ends_with(" missed"), "{last}");
        // threads are between slots and programs
        let threads = lines.drain(4..lines.len() - 2).collect::<Vec<_>>();
        let own = threads.iter().find(|line| line.starts_with(&format!("thread {thread} "))).unwrap();
        assert!(own.contains(", slot 1: ") && own.ends_with(" s of processor time"), "{own}");
        let expected = [
            format!(
                "slipstream-job {} executor kenny, process {process}, up 0 s, 2 of 3 slots busy, \
                 ZooKeeper at zk1:2181 connected, draining: no",
                env!("CARGO_PKG_VERSION")
            ),
            format!(
                "slot 1  job/1   stop_deployment  running 00:00:00  run again after a lost attempt, \
                 last progress 30 % 00:00:00 ago, thread {thread}"
            ),
            "slot 2  job/22  quotas           running 00:00:00  program python3, process 1044".to_owned(),
            "slot 3  idle".to_owned(),
            "program 1044 python3, for slot 2".to_owned(),
            "    line 41".to_owned(),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_others_have_named_steers_no_terminal() {
        let activity = Activity::new();
        let attempt = activity.slot(0).begin("job/\u{1b}[1m".to_owned());
        attempt.notes().note_job("a\u{202e}b", false);
        let own_words: Option<crate::process::activity::slot::OwnWords> =
            Some(Arc::new(|| vec!["\u{1b}]0;x".to_owned()]));
        attempt.notes().note_program(Program { name: "py\u{7}".to_owned(), process: 1044, own_words });
        let shown = text(&activity).join("\n");
        for escaped in [r"job/\u001b[1m", r"a\u202eb", r"program py\u0007", r"program 1044 py\u0007", r"    \u001b]0;x"]
        {
            assert!(shown.contains(escaped), "{escaped} in {shown}");
        }
    }

    #[test]
    fn a_thread_is_shown_with_its_functions_or_why_not() {
        let (name, cpu) = ("action".to_owned(), Duration::from_millis(50));
        let mut thread =
            Thread { id: 921, name, state: 'S', cpu, frames: Ok(vec!["a::b".to_owned(), "main".to_owned()]) };
        let polls = BTreeMap::from([(921, 1)]);
        let head = "thread 921 action, slot 1: sleeping, 0.05 s of processor time";
        assert_eq!(of_thread(&thread, &polls), [head, "    a::b", "    main"]);
        thread.frames = Err(Missed::Silent);
        let head = "thread 921 action: sleeping, 0.05 s of processor time";
        assert_eq!(of_thread(&thread, &BTreeMap::new()), [head, "    no stack: it does not answer"]);
        let capture = |missed| Capture { threads: vec![thread.clone(); 7], missed, took: Duration::from_millis(21) };
        assert_eq!(
            [end(&capture(0)), end(&capture(1))],
            ["7 threads in 21 ms, none missed", "7 threads in 21 ms, 1 missed"]
        );
    }

    #[test]
    fn durations_have_words() {
        let ages = [59, 60, 3_600, 356_400].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["59 s", "1 min 0 s", "1 h 0 min", "4 d 3 h"]);
        assert_eq!(clock(Duration::from_secs(360_000 + 61)), "100:01:01");
    }
}
