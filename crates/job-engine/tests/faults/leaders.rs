//! What distributors say of their leadership, each in its own log: who led when, and who added which round.

use jiff::Timestamp;

use crate::part::Part;

/// Something that a distributor said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub time: Timestamp,
    pub distributor: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was elected.
    Leads,
    /// It has added the jobs of a round.
    Added { round: Timestamp },
    /// It leads no more, and knows.
    Ended,
}

/// All that was said, in the order of time.
pub fn said(distributors: &[Part]) -> Vec<Said> {
    let of = |part: &Part| {
        let lines: Vec<Said> = part.log().lines().filter_map(|line| parse(&part.name, line)).collect();
        lines
    };
    let mut said: Vec<Said> = distributors.iter().flat_map(of).collect();
    said.sort_by_key(|said| said.time);
    said
}

/// A line is `<time> <level> distributor{name=…}: <message> <name>=<value> …`.
fn parse(distributor: &str, line: &str) -> Option<Said> {
    let (time, rest) = line.split_once(' ')?;
    let time = time.parse().ok()?;
    let (_, message) = rest.split_once(" distributor{name=")?.1.split_once("}: ")?;
    let what = match () {
        () if message == "elected leader" => What::Leads,
        () if message.starts_with("distributed ") => {
            What::Added { round: message.split_once("round=")?.1.split(' ').next()?.parse().ok()? }
        }
        () if message == "lost leadership" || message == "resigned leadership" => What::Ended,
        () => return None,
    };
    Some(Said { time, distributor: distributor.to_owned(), what })
}

/// Who added although somebody else had been elected since. What was under way when a leader was stopped in its tracks is
/// carried out when it goes on, and counts as what it is, the same job again: `stopped` are the moments of these stops.
pub fn intruders(said: &[Said], stopped: &[Timestamp]) -> Vec<String> {
    let mut intruders = Vec::new();
    let mut leader = None;
    for Said { time, distributor, what } in said {
        match what {
            What::Leads => leader = Some(distributor),
            What::Added { .. } if leader == Some(distributor) => {}
            What::Added { round } => {
                let was_under_way = stopped.iter().any(|stop| stop <= time && round <= stop);
                if !was_under_way {
                    intruders.push(format!("{distributor} added {round} at {time} while {leader:?} led"));
                }
            }
            What::Ended => {}
        }
    }
    intruders
}

/// How long it took from `from` until somebody else than `before` said that it leads.
pub fn handed_over(said: &[Said], before: &str, from: Timestamp) -> Option<std::time::Duration> {
    let next = said.iter().find(|said| said.time >= from && said.distributor != before && said.what == What::Leads)?;
    std::time::Duration::try_from(next.time.duration_since(from)).ok()
}

#[test]
fn lines_of_logs_are_understood() {
    let line = |text: &str| parse("d", text).map(|said| said.what);
    let time = "2026-10-05T17:00:01.500000Z";
    assert_eq!(line(&format!(r#"{time}  INFO distributor{{name="tick"}}: elected leader"#)), Some(What::Leads));
    let added = format!(r#"{time} DEBUG distributor{{name="tick"}}: distributed round=2026-10-05T17:00:01Z jobs=1"#);
    let round = "2026-10-05T17:00:01Z".parse().expect("a time");
    assert_eq!(line(&added), Some(What::Added { round }));
    assert_eq!(line(&format!(r#"{time}  WARN distributor{{name="tick"}}: lost leadership"#)), Some(What::Ended));
    assert_eq!(line(&format!(r#"{time}  INFO distributor{{name="tick"}}: resigned leadership"#)), Some(What::Ended));
    assert_eq!(line(&format!("{time}  INFO something else")), None);
    assert_eq!(line("stopped"), None);
}

#[test]
fn whoever_adds_after_another_was_elected_is_found() {
    let time = |second: i64| Timestamp::from_second(second).expect("a time");
    let say = |second, distributor: &str, what| Said { time: time(second), distributor: distributor.to_owned(), what };
    let added = |second: i64, round| say(second, "a", What::Added { round: time(round) });
    let story = |late| [say(1, "a", What::Leads), added(2, 2), say(4, "b", What::Leads), late];
    assert_eq!(intruders(&story(added(6, 2)), &[time(3)]), Vec::<String>::new());
    assert_eq!(intruders(&story(added(6, 5)), &[time(3)]).len(), 1);
    assert_eq!(intruders(&story(added(6, 2)), &[]).len(), 1);
    let again = [&story(say(5, "a", What::Leads))[..], &[added(6, 6)]].concat();
    assert_eq!(intruders(&again, &[]), Vec::<String>::new());
}
