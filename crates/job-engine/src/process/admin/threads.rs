//! What `threads` shows: the process, each slot, each thread with its stack, and what the programs of actions say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use slipstream_stacks::Capture;

use crate::process::activity::slot::{self, AttemptNotes};
use crate::process::activity::{Activity, Phase};
use crate::process::service_manager;
use crate::process::visible::visible;

/// Longest job id that is shown, in characters: what is no id of a job may be of any length.
const LONGEST_ID: usize = 60;
/// How long programs have to say what they do, all together.
const SAYING: Duration = Duration::from_secs(1);

/// What a process is doing.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    version: &'static str,
    role: &'static str,
    name: String,
    process: u32,
    #[serde(rename = "up_seconds", serialize_with = "seconds")]
    up: Duration,
    peers: Vec<Peer>,
    draining: bool,
    /// It was asked to stop.
    stopping: bool,
    /// In words for people.
    status: String,
    /// By their numbers, from 1.
    slots: Vec<Slot>,
    threads: Vec<Thread>,
    /// How many of the threads have no frames.
    missed: usize,
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    took: Duration,
    /// Programs that can say what they do.
    hosts: Vec<Host>,
}

/// Somebody a process cannot work without.
#[derive(Debug, Serialize)]
struct Peer {
    name: String,
    connected: bool,
}

#[derive(Debug, Serialize)]
struct Slot {
    slot: usize,
    attempt: Option<Attempt>,
}

#[derive(Debug, Serialize)]
struct Attempt {
    job: String,
    lease: Option<String>,
    action: Option<String>,
    rerun: bool,
    step: &'static str,
    #[serde(rename = "step_seconds", serialize_with = "seconds")]
    step_for: Duration,
    progress: Option<Progress>,
    program: Option<Program>,
    /// The one that polls a native action.
    thread: Option<i32>,
}

#[derive(Debug, Serialize)]
struct Progress {
    percent: u8,
    #[serde(rename = "seconds_ago", serialize_with = "seconds")]
    ago: Duration,
}

#[derive(Debug, Serialize)]
struct Program {
    name: String,
    process: i32,
}

#[derive(Debug, Serialize)]
struct Thread {
    id: i32,
    name: String,
    /// The slot whose action it polls.
    slot: Option<usize>,
    state: &'static str,
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    cpu: Duration,
    /// Innermost first.
    frames: Vec<String>,
    /// Why there are none.
    missed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Host {
    slot: usize,
    #[serde(flatten)]
    program: Program,
    says: Vec<String>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Shown {
    /// Asks all threads, and all programs, which takes little longer than a second.
    pub(super) fn of(activity: &Activity) -> Self {
        let attempts: Vec<Option<Arc<AttemptNotes>>> = activity.slots().iter().map(|slot| slot.attempt()).collect();
        let slots: Vec<Slot> =
            attempts.iter().enumerate().map(|(index, notes)| Slot::of(index + 1, notes.as_deref())).collect();
        // all are asked before any is waited for
        let asked: Vec<_> = attempts
            .iter()
            .enumerate()
            .filter_map(|(index, notes)| {
                let slot::Program { name, process, own_words } = notes.as_ref()?.program()?;
                Some((index + 1, Program { name, process }, own_words?()))
            })
            .collect();
        let deadline = Instant::now() + SAYING;
        let polls = Self::polls(&slots);
        let Capture { threads, missed, took } = slipstream_stacks::capture();
        let (role, name) = activity.role();
        let peers = activity.peers();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            role,
            name: name.to_owned(),
            process: std::process::id(),
            up: activity.age(),
            peers: peers.iter().map(|peer| Peer { name: peer.name().to_owned(), connected: peer.is_there() }).collect(),
            draining: activity.is_draining(),
            stopping: matches!(*activity.phase().borrow(), Phase::Stopping { .. }),
            status: service_manager::status_of(activity),
            slots,
            threads: threads.into_iter().map(|thread| Thread::of(thread, &polls)).collect(),
            missed,
            took,
            hosts: asked
                .into_iter()
                .map(|(slot, program, answer)| Host { slot, program, says: answer(deadline) })
                .collect(),
        }
    }

    /// Which slots have their actions polled by which threads.
    fn polls(slots: &[Slot]) -> BTreeMap<i32, usize> {
        slots.iter().filter_map(|slot| Some((slot.attempt.as_ref()?.thread?, slot.slot))).collect()
    }

    /// For people, line by line.
    pub(super) fn text(&self) -> Vec<String> {
        let mut lines = vec![self.head()];
        lines.extend(aligned(&self.slots.iter().map(Slot::row).collect::<Vec<_>>()));
        lines.extend(self.threads.iter().flat_map(Thread::lines));
        lines.extend(self.hosts.iter().flat_map(Host::lines));
        lines.push(self.end());
        // names of jobs, threads and programs are those of others
        lines.iter().map(|line| visible(line, &[])).collect()
    }

    /// The process in a line.
    fn head(&self) -> String {
        let Self { version, role, name, process, up, slots, .. } = self;
        let mut facts = vec![
            format!("slipstream-job {version} {role} {name}"),
            format!("process {process}"),
            format!("up {}", age(*up)),
        ];
        if !slots.is_empty() {
            let busy = slots.iter().filter(|slot| slot.attempt.is_some()).count();
            facts.push(format!("{busy} of {} slots busy", slots.len()));
        }
        facts.extend(
            self.peers
                .iter()
                .map(|peer| format!("{} {}", peer.name, if peer.connected { "connected" } else { "out of reach" })),
        );
        if self.stopping {
            facts.push(self.status.clone());
        } else if !slots.is_empty() {
            facts.push(format!("draining: {}", if self.draining { "yes" } else { "no" }));
        }
        facts.join(", ")
    }

    fn end(&self) -> String {
        let missed = if self.missed == 0 { "none".to_owned() } else { self.missed.to_string() };
        format!("{} threads in {} ms, {missed} missed", self.threads.len(), self.took.as_millis())
    }
}

impl Slot {
    fn of(slot: usize, notes: Option<&AttemptNotes>) -> Self {
        let attempt = notes.map(|notes| {
            let (step, step_for) = notes.step();
            Attempt {
                job: notes.job().chars().take(LONGEST_ID).collect(),
                lease: notes.lease().map(str::to_owned),
                action: notes.action().map(str::to_owned),
                rerun: notes.is_rerun(),
                step: step.in_words(),
                step_for,
                progress: notes.progress().map(|(percent, ago)| Progress { percent, ago }),
                program: notes.program().map(|slot::Program { name, process, .. }| Program { name, process }),
                thread: notes.thread(),
            }
        });
        Self { slot, attempt }
    }

    /// Column by column.
    fn row(&self) -> Vec<String> {
        let mut columns = vec![format!("slot {}", self.slot)];
        let Some(attempt) = &self.attempt else {
            columns.push("idle".to_owned());
            return columns;
        };
        columns.push(attempt.job.clone());
        columns.push(attempt.action.clone().unwrap_or_default());
        columns.push(format!("{} {}", attempt.step, clock(attempt.step_for)));
        let mut more = Vec::new();
        more.extend(attempt.lease.as_ref().map(|lease| format!("lease {lease}")));
        if attempt.rerun {
            more.push("run again after a lost attempt".to_owned());
        }
        if let Some(Progress { percent, ago }) = &attempt.progress {
            more.push(format!("last progress {percent} % {} ago", clock(*ago)));
        }
        if let Some(Program { name, process }) = &attempt.program {
            more.push(format!("program {name}, process {process}"));
        }
        more.extend(attempt.thread.map(|thread| format!("thread {thread}")));
        columns.push(more.join(", "));
        columns
    }
}

impl Thread {
    fn of(thread: slipstream_stacks::Thread, polls: &BTreeMap<i32, usize>) -> Self {
        let slipstream_stacks::Thread { id, name, state, cpu, frames } = thread;
        let state = match state {
            'R' => "running",
            'S' | 'I' => "sleeping",
            'D' => "waiting in the kernel",
            'T' | 't' => "halted",
            _ => "ended",
        };
        let missed = frames.as_ref().err().map(ToString::to_string);
        Self { id, name, slot: polls.get(&id).copied(), state, cpu, frames: frames.unwrap_or_default(), missed }
    }

    /// With the functions that it is in.
    fn lines(&self) -> Vec<String> {
        let Self { id, name, slot, state, cpu, frames, missed } = self;
        let slot = slot.map(|slot| format!(", slot {slot}")).unwrap_or_default();
        let mut lines =
            vec![format!("thread {id} {name}{slot}: {state}, {:.2} s of processor time", cpu.as_secs_f64())];
        lines.extend(frames.iter().map(|frame| format!("    {frame}")));
        lines.extend(missed.iter().map(|missed| format!("    no stack: {missed}")));
        lines
    }
}

impl Host {
    fn lines(&self) -> Vec<String> {
        let Self { slot, program: Program { name, process }, says } = self;
        let mut lines = vec![format!("program {process} {name}, for slot {slot}")];
        lines.extend(says.iter().map(|line| format!("    {line}")));
        lines
    }
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
    use serde_json::json;
    use slipstream_stacks::Missed;

    use super::*;
    use crate::process::activity;
    use crate::process::activity::slot::{OwnWords, Step};

    fn says(name: &str, line: &'static str) -> slot::Program {
        let own_words: OwnWords = Arc::new(move || Box::new(move |_| vec![line.to_owned()]));
        slot::Program { name: name.to_owned(), process: 1044, own_words: Some(own_words) }
    }

    #[test]
    fn each_slot_is_shown_with_what_is_known_of_it() {
        let activity = Activity::new();
        activity.has_role("executor", "kenny");
        let peer = activity::Peer::new("ZooKeeper at zk1:2181".to_owned());
        peer.note(true);
        activity.needs([peer]);
        drop(activity.slot(2));
        let native = activity.slot(0).begin("job/1".to_owned());
        native.notes().note_lease("1.42".to_owned());
        native.notes().note_job("stop_deployment", true);
        native.notes().note_step(Step::Runs);
        native.notes().note_progress(Some(30));
        let _here = native.notes().polled_here();
        let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
        let program = activity.slot(1).begin("job/22".to_owned());
        program.notes().note_job("quotas", false);
        program.notes().note_step(Step::Runs);
        let _done_by = program.notes().done_by(says("python3", "line 41"));
        let shown = Shown::of(&activity);
        let mut lines = shown.text();
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
                "slot 1  job/1   stop_deployment  running 00:00:00  lease 1.42, \
                 run again after a lost attempt, \
                 last progress 30 % 00:00:00 ago, thread {thread}"
            ),
            "slot 2  job/22  quotas           running 00:00:00  program python3, process 1044".to_owned(),
            "slot 3  idle".to_owned(),
            "program 1044 python3, for slot 2".to_owned(),
            "    line 41".to_owned(),
        ];
        assert_eq!(lines, expected);
        let json = serde_json::to_value(&shown).unwrap();
        let facts = [&json["role"], &json["name"], &json["process"], &json["draining"], &json["peers"][0]];
        let peer = json!({"name": "ZooKeeper at zk1:2181", "connected": true});
        assert_eq!(facts, [&json!("executor"), &json!("kenny"), &json!(process), &json!(false), &peer]);
        let attempt = &json["slots"][0]["attempt"];
        assert_eq!(
            [
                &attempt["job"],
                &attempt["lease"],
                &attempt["rerun"],
                &attempt["progress"]["percent"],
                &attempt["thread"]
            ],
            [&json!("job/1"), &json!("1.42"), &json!(true), &json!(30), &json!(thread)]
        );
        let program = json!({"name": "python3", "process": 1044});
        assert_eq!(json["slots"][1]["attempt"]["program"], program);
        assert_eq!(json["slots"][2], json!({"slot": 3, "attempt": null}));
        let host = json!({"slot": 2, "name": "python3", "process": 1044, "says": ["line 41"]});
        assert_eq!(json["hosts"], json!([host]));
        let threads = json["threads"].as_array().unwrap();
        assert!(threads.iter().any(|it| it["id"] == json!(thread) && it["slot"] == 1), "{threads:?}");
    }

    #[test]
    fn who_stops_says_so_and_how_far_it_is() {
        let activity = Activity::new();
        activity.has_role("executor", "kenny");
        let _busy = activity.slot(0).begin("job/1".to_owned());
        activity.enter(Phase::Stopping { what: "jobs", end: Instant::now() + Duration::from_hours(1) });
        let head = Shown::of(&activity).head();
        let (before, said) = head.split_once(", stopping: 1 job, ").expect("it says that it stops");
        assert!(before.ends_with("1 of 1 slots busy") && said.ends_with(" seconds left"), "{head}");
        let json = serde_json::to_value(Shown::of(&activity)).unwrap();
        assert!(json["stopping"] == true && json["status"].as_str().unwrap().starts_with("stopping: 1 job"), "{json}");
    }

    #[test]
    fn what_others_have_named_steers_no_terminal() {
        let activity = Activity::new();
        let attempt = activity.slot(0).begin("job/\u{1b}[1m".to_owned());
        attempt.notes().note_job("a\u{202e}b", false);
        let _done_by = attempt.notes().done_by(says("py\u{7}", "\u{1b}]0;x"));
        let shown = Shown::of(&activity).text().join("\n");
        for escaped in [r"job/\u001b[1m", r"a\u202eb", r"program py\u0007", r"program 1044 py\u0007", r"    \u001b]0;x"]
        {
            assert!(shown.contains(escaped), "{escaped} in {shown}");
        }
    }

    #[test]
    fn a_thread_is_shown_with_its_functions_or_why_not() {
        let thread = |frames| slipstream_stacks::Thread {
            id: 921,
            name: "action".to_owned(),
            state: 'S',
            cpu: Duration::from_millis(50),
            frames,
        };
        let polls = BTreeMap::from([(921, 1)]);
        let head = "thread 921 action, slot 1: sleeping, 0.05 s of processor time";
        let seen = Thread::of(thread(Ok(vec!["a::b".to_owned(), "main".to_owned()])), &polls);
        assert_eq!(seen.lines(), [head, "    a::b", "    main"]);
        let missed = Thread::of(thread(Err(Missed::Silent)), &BTreeMap::new());
        let head = "thread 921 action: sleeping, 0.05 s of processor time";
        assert_eq!(missed.lines(), [head, "    no stack: it does not answer"]);
        let mut all = Shown::of(&Activity::new());
        all.threads = (0..7).map(|_| Thread::of(thread(Ok(Vec::new())), &polls)).collect();
        all.took = Duration::from_millis(21);
        let ends = [0, 1].map(|missed| {
            all.missed = missed;
            all.end()
        });
        assert_eq!(ends, ["7 threads in 21 ms, none missed", "7 threads in 21 ms, 1 missed"]);
    }

    #[test]
    fn silent_programs_are_waited_for_together() {
        let activity = Activity::new();
        let (sender, asked) = std::sync::mpsc::channel();
        let busy: Vec<_> = (0..3).map(|number| activity.slot(number).begin(format!("job/{number}"))).collect();
        let silent = || {
            let sender = sender.clone();
            let own_words: OwnWords = Arc::new(move || {
                sender.send(None).unwrap();
                let sender = sender.clone();
                Box::new(move |deadline| {
                    sender.send(Some(deadline)).unwrap();
                    Vec::new()
                })
            });
            slot::Program { name: "python3".to_owned(), process: 1, own_words: Some(own_words) }
        };
        let _done: Vec<_> = busy.iter().map(|busy| busy.notes().done_by(silent())).collect();
        let _shown = Shown::of(&activity);
        let asked: Vec<_> = asked.try_iter().collect();
        assert_eq!(asked[..3], [None; 3], "each is asked before one is waited for");
        assert!(asked[3].is_some() && asked[3..] == [asked[3]; 3], "until the same time: {asked:?}");
    }

    #[test]
    fn durations_have_words() {
        let ages = [59, 60, 3_600, 356_400].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["59 s", "1 min 0 s", "1 h 0 min", "4 d 3 h"]);
        assert_eq!(clock(Duration::from_secs(360_000 + 61)), "100:01:01");
    }
}
