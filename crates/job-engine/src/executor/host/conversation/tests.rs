use proptest::prelude::*;
use slipstream_action::protocol::Offered;

use super::*;

const HELLO: &str = r#"{"hello":{"protocol":1,"actions":[{"name":"a"}]}}"#;

fn starting() -> Conversation {
    Conversation::default()
}

fn idle() -> Conversation {
    let mut conversation = starting();
    assert!(matches!(conversation.said(HELLO.as_bytes(), || true), Ok(Said::Hello(_))));
    conversation
}

/// At its second job.
fn working() -> Conversation {
    let mut conversation = between();
    assert_eq!(conversation.next_number(), 2);
    conversation.begin();
    conversation
}

/// After its first job.
fn between() -> Conversation {
    let mut conversation = idle();
    assert_eq!(conversation.next_number(), 1);
    conversation.begin();
    assert!(matches!(conversation.said(br#"{"end":{"state":"SUCCESS"}}"#, || true), Ok(Said::Ended(_))));
    conversation
}

fn success(number: Option<u64>) -> End {
    End { number, state: EndState::Success, return_code: None, message: None, retire: false }
}

#[test]
fn the_end_of_a_job_is_no_message_of_which_so_many_are_read_in_a_second() {
    assert!(!Said::Ended(success(Some(2))).is_beside_the_end());
    assert!(Said::Reported(Reported::default()).is_beside_the_end());
    assert!(Said::Late("it reports of a job that has ended").is_beside_the_end());
}

/// When a line is said, and what it means then.
type Row = (fn() -> Conversation, &'static str, Result<Said, Breach>);

#[test]
fn every_line_means_what_the_table_says() {
    const REPORTS: Said = Said::Late("it reports of a job that has ended");
    const ENDS: Said = Said::Late("it ends a job that has ended");
    let hello = Hello {
        protocol: 1,
        actions: vec![Offered { name: "a".to_owned(), ..Offered::default() }],
        ..Hello::default()
    };
    let report = |number| Said::Reported(Reported { number, progress: Some(3), ..Reported::default() });
    let end = |number| Said::Ended(success(number));
    let rows: Vec<Row> = vec![
        (starting, HELLO, Ok(Said::Hello(hello))),
        (starting, r#"{"hello":{"protocol":2}}"#, Err(Breach::Version(2))),
        (starting, r#"{"hello":{"protocol":0}}"#, Err(Breach::Version(0))),
        (starting, r#"{"report":{"progress":3}}"#, Err(Breach::NoHello)),
        (starting, r#"{"end":{"state":"SUCCESS"}}"#, Err(Breach::NoHello)),
        (idle, HELLO, Err(Breach::SecondHello)),
        (idle, r#"{"report":{"progress":3}}"#, Ok(REPORTS)),
        (idle, r#"{"report":{"number":1}}"#, Err(Breach::UnknownNumber(1))),
        (idle, r#"{"end":{"state":"SUCCESS"}}"#, Err(Breach::EndWithoutJob)),
        (idle, r#"{"end":{"state":"SUCCESS","number":1}}"#, Err(Breach::UnknownNumber(1))),
        (between, HELLO, Err(Breach::SecondHello)),
        (between, r#"{"report":{"progress":3}}"#, Ok(REPORTS)),
        (between, r#"{"report":{"number":1}}"#, Ok(REPORTS)),
        (between, r#"{"report":{"number":2}}"#, Err(Breach::UnknownNumber(2))),
        (between, r#"{"end":{"state":"SUCCESS"}}"#, Err(Breach::EndWithoutJob)),
        (between, r#"{"end":{"state":"SUCCESS","number":1}}"#, Ok(ENDS)),
        (working, HELLO, Err(Breach::SecondHello)),
        (working, r#"{"report":{"progress":3}}"#, Ok(report(None))),
        (working, r#"{"report":{"progress":3,"number":2}}"#, Ok(report(Some(2)))),
        (working, r#"{"report":{"progress":3,"number":1}}"#, Ok(REPORTS)),
        (working, r#"{"report":{"progress":3,"number":3}}"#, Err(Breach::UnknownNumber(3))),
        (working, r#"{"end":{"state":"SUCCESS"}}"#, Ok(end(None))),
        (working, r#"{"end":{"state":"SUCCESS","number":2}}"#, Ok(end(Some(2)))),
        (working, r#"{"end":{"state":"SUCCESS","number":1}}"#, Ok(ENDS)),
        (working, r#"{"end":{"state":"SUCCESS","number":3}}"#, Err(Breach::UnknownNumber(3))),
    ];
    for (phase, line, expected) in rows {
        let mut conversation = phase();
        let before = conversation.phase;
        let said = conversation.said(line.as_bytes(), || true);
        assert_eq!(said, expected, "{line} while {before:?}");
        let ends = matches!(said, Ok(Said::Ended(_)));
        assert_eq!(before == Phase::Working && conversation.phase == Phase::Idle, ends, "{line}");
    }
}

#[test]
fn what_has_not_read_its_job_speaks_of_an_earlier_one_unless_it_says_otherwise() {
    const LATE: Said = Said::Late("it reports of a job that has ended");
    let said = |line: &str| working().said(line.as_bytes(), || false);
    assert_eq!(said(r#"{"report":{"progress":3}}"#), Ok(LATE));
    assert_eq!(said(r#"{"end":{"state":"SUCCESS"}}"#), Err(Breach::EndWithoutJob));
    let asked = || -> bool { panic!("it has said of which") };
    for number in 1..=3 {
        let line = format!(r#"{{"end":{{"state":"SUCCESS","number":{number}}}}}"#);
        let ends = matches!(working().said(line.as_bytes(), asked), Ok(Said::Ended(_)));
        assert_eq!(ends, number == 2);
    }
}

#[test]
fn what_is_no_message_is_a_breach_at_any_time() {
    let long = format!("{{{}", "x".repeat(1000));
    for phase in [starting, idle, between, working] {
        for line in ["", "nonsense", "{}", r#"{"ping":{}}"#, r#"{"keeper":{"pid":1}}"#, r#"{"end":{}}"#, &long] {
            let breach = phase().said(line.as_bytes(), || true).expect_err(line);
            assert!(matches!(breach, Breach::NoMessage(_)), "{line}: {breach}");
        }
    }
    let text = working().said(br#"{"ping":{}}"#, || true).unwrap_err().to_string();
    assert!(text.starts_with(r#"`{"ping":{}}` is no message: unknown variant `ping`, expected"#), "{text}");
}

#[test]
fn why_a_process_is_gone_is_said_as_the_table_has_it() {
    let log: Vec<String> = (1..=7).map(|number| format!("line {number}")).collect();
    let last_five = "\nline 3\nline 4\nline 5\nline 6\nline 7";
    let rows = [
        (Gone::Ended(Exit::Code(3)), "the program ended: exit code 3", last_five),
        (Gone::Ended(Exit::Signal(11)), "the program ended: killed by SIGSEGV", last_five),
        (Gone::Closed, "the program closed file descriptor 3", last_five),
        (Gone::Limit("used 2 MiB of memory".to_owned()), "used 2 MiB of memory", last_five),
        (Gone::Broke(Breach::SecondHello), "broke the protocol: it says `hello` twice", ""),
        (Gone::Broke(Breach::TooLong), "broke the protocol: a line is longer than 1048576 bytes", ""),
        (Gone::Silent(Duration::from_secs(10)), "the program did not say hello within 10s", ""),
        (Gone::Unstoppable(Duration::from_secs(5)), "the program was told to stop, and killed 5s later", ""),
        (Gone::Deaf, "the program does not read its jobs", ""),
        (Gone::Unwanted, "nobody waits for it any more", ""),
    ];
    for (gone, text, lines) in rows {
        assert_eq!(gone.failure(&log), Failure::new(format!("{text}{lines}")));
        assert_eq!(gone.without_job("./greet -v", Some("line 7")), format!("./greet -v: {text}: line 7"));
        assert_eq!((gone.failure(&[]).message, gone.without_job("a", None)), (text.to_owned(), format!("a: {text}")));
    }
    let endless = vec!["ä".repeat(100_000); 20];
    assert!(Gone::Closed.failure(&endless).message.len() < 11_000);
}

#[test]
fn each_state_of_an_end_has_its_outcome() {
    let end = |state, message: Option<&str>| {
        outcome(End { number: None, state, return_code: Some(3), message: message.map(str::to_owned), retire: false })
    };
    let said = || Some("said".to_owned());
    let success = Success { return_code: Some(3), message: said() };
    assert_eq!(end(EndState::Success, Some("said")), Outcome::Ended(Ok(success)));
    let success = Success { return_code: Some(3), message: None };
    assert_eq!(end(EndState::Success, None), Outcome::Ended(Ok(success)));
    let failure = |message: &str| Outcome::Ended(Err(Failure { message: message.to_owned(), return_code: Some(3) }));
    assert_eq!(end(EndState::Failed, Some("said")), failure("said"));
    assert_eq!(end(EndState::Failed, None), failure("the action failed and does not say why"));
    assert_eq!(end(EndState::Released, Some("said")), Outcome::Released("said".to_owned()));
    assert_eq!(end(EndState::Released, None), Outcome::Released("its action gave it back".to_owned()));
    assert_eq!(end(EndState::Left, Some("said")), Outcome::Left);
}

/// Something that a host may say.
fn line() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(String::new()), (0..5_u64).prop_map(|number| format!(r#","number":{number}"#)),];
    prop_oneof![
        any::<String>(),
        Just(HELLO.to_owned()),
        Just(r#"{"hello":{"protocol":7}}"#.to_owned()),
        (number.clone(), any::<i32>())
            .prop_map(|(number, progress)| format!(r#"{{"report":{{"progress":{progress}{number}}}}}"#)),
        (number, "SUCCESS|FAILED|RELEASED|LEFT|X")
            .prop_map(|(number, state)| format!(r#"{{"end":{{"state":"{state}"{number}}}}}"#)),
    ]
}

proptest! {
    #[test]
    fn no_line_ends_another_job_than_its_own(steps in prop::collection::vec((line(), any::<bool>()), 0..30)) {
        let mut conversation = Conversation::default();
        let mut under_way = None;
        for (line, begins) in steps {
            if begins && conversation.phase == Phase::Idle {
                under_way = Some(conversation.next_number());
                conversation.begin();
            }
            match conversation.said(line.as_bytes(), || true) {
                Ok(Said::Ended(end)) => {
                    let ended = under_way.take();
                    prop_assert!(ended.is_some() && (end.number.is_none() || end.number == ended), "{line}");
                }
                Ok(Said::Reported(report)) => {
                    prop_assert!(under_way.is_some() && (report.number.is_none() || report.number == under_way));
                }
                Ok(Said::Hello(_)) => prop_assert!(conversation.number == 0 && under_way.is_none()),
                Ok(Said::Late(_)) => {}
                // its process is killed
                Err(_) => break,
            }
            prop_assert_eq!(under_way.is_some(), conversation.phase == Phase::Working);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_a_message_or_a_breach(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for mut conversation in [starting(), idle(), between(), working()] {
            prop_assert!(!matches!(conversation.said(&bytes, || true), Ok(Said::Ended(_))));
        }
    }
}
