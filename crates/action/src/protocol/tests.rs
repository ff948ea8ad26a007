use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<FromHost, serde_json::Error> {
    serde_json::from_slice(text.as_bytes())
}

#[test]
fn messages_have_the_names_of_the_protocols_page() {
    let setup = Setup {
        protocols: vec![1],
        engine: "slipstream-job 0.2.0".to_owned(),
        executor: "Kenny".to_owned(),
        url: "https://nuv.la".to_owned(),
        insecure: false,
        dialect: "slipstream".to_owned(),
        threads: 4,
        es_hosts: vec!["localhost:9200".to_owned()],
        socket: Some("/run/slipstream/api".to_owned()),
    };
    let written = json!({ "setup": {
        "protocols": [1], "engine": "slipstream-job 0.2.0", "executor": "Kenny", "url": "https://nuv.la",
        "insecure": false, "dialect": "slipstream", "threads": 4, "es-hosts": ["localhost:9200"],
        "socket": "/run/slipstream/api",
    }});
    assert_eq!(serde_json::to_value(ToHost::<Document>::Setup(setup.clone())).unwrap(), written);
    assert_eq!(serde_json::from_value::<ToHost>(written).unwrap(), ToHost::Setup(setup));

    let job = json!({ "id": "job/1", "state": "QUEUED", "action": "greet", "a": 1 });
    let run = Run {
        number: 7,
        job: serde_json::from_value(job.clone()).unwrap(),
        rerun: true,
        deadline: Some("2026-11-28T06:00:00Z".parse().unwrap()),
        api: "http://9f3c0d/api".to_owned(),
        directory: "/var/lib/slipstream/work/7".to_owned(),
    };
    let mut written = json!({ "run": {
        "number": 7, "job": job, "rerun": true, "deadline": "2026-11-28T06:00:00Z", "api": "http://9f3c0d/api",
        "directory": "/var/lib/slipstream/work/7",
    }});
    let text = String::from_utf8(line(&ToHost::Run(run.clone())).unwrap()).unwrap();
    assert_eq!(text, format!("{written}\n"), "members keep their order");
    assert_eq!(serde_json::from_str::<ToHost>(&text).unwrap(), ToHost::Run(run.clone()));
    written["run"]["deadline"] = Value::Null;
    assert_eq!(
        serde_json::from_value::<ToHost>(written.clone()).unwrap(),
        ToHost::Run(Run { deadline: None, ..run.clone() })
    );
    assert_eq!(serde_json::to_value(ToHost::Run(Run { deadline: None, ..run })).unwrap(), written);

    let hello = Hello {
        protocol: 1,
        program: "greeter 1".to_owned(),
        actions: vec![
            Offered { name: "greet".to_owned(), file: None, dialect: None },
            Offered { name: "wave".to_owned(), file: Some("wave.py".to_owned()), dialect: Some("nuvla".to_owned()) },
        ],
        failed: vec![NotLoaded { file: "a.py".to_owned(), reason: "line 3: no".to_owned() }],
        stacks: true,
    };
    let written = json!({ "hello": {
        "protocol": 1, "program": "greeter 1",
        "actions": [{ "name": "greet" }, { "name": "wave", "file": "wave.py", "dialect": "nuvla" }],
        "failed": [{ "file": "a.py", "reason": "line 3: no" }],
        "stacks": true,
    }});
    assert_eq!(serde_json::to_value(FromHost::Hello(hello.clone())).unwrap(), written);
    assert_eq!(serde_json::from_value::<FromHost>(written).unwrap(), FromHost::Hello(hello));

    let end = End { number: Some(7), state: EndState::Left, return_code: Some(3), message: None, retire: true };
    let written = json!({ "end": { "number": 7, "state": "LEFT", "return-code": 3, "retire": true } });
    assert_eq!(serde_json::to_value(FromHost::End(end.clone())).unwrap(), written);
    assert_eq!(serde_json::from_value::<FromHost>(written).unwrap(), FromHost::End(end));
}

#[test]
fn what_is_missing_null_or_unknown_does_no_harm() {
    let hello = FromHost::Hello(Hello { protocol: 1, ..Hello::default() });
    assert_eq!(read(r#"{"hello":{"protocol":1}}"#).unwrap(), hello);
    let nulls = r#"{"hello":{"protocol":1,"program":null,"actions":null,"failed":null,"colour":"blue"}}"#;
    assert_eq!(read(nulls).unwrap(), hello);
    let nothing = FromHost::Report(Reported::default());
    assert_eq!(read(r#"{"report":{}}"#).unwrap(), nothing);
    let nulls = r#"{"report":{"number":null,"progress":null,"message":null,"affected":null,"x":[{}]}}"#;
    assert_eq!(read(nulls).unwrap(), nothing);
    let end =
        FromHost::End(End { number: None, state: EndState::Failed, return_code: None, message: None, retire: false });
    let nulls = r#"{"end":{"number":null,"state":"FAILED","return-code":null,"message":null,"retire":null}}"#;
    for text in [r#"{"end":{"state":"FAILED"}}"#, nulls, " {\"end\" : {\"state\":\"FAILED\"}}\r"] {
        assert_eq!(read(text).unwrap(), end, "{text}");
    }
    let setup: ToHost = serde_json::from_str(r#"{"setup":{"protocols":[2,1]}}"#).unwrap();
    assert_eq!(setup, ToHost::Setup(Setup { protocols: vec![2, 1], ..Setup::default() }));
}

#[test]
fn what_is_no_message_is_refused() {
    let texts = [
        "",
        "nonsense",
        "[]",
        "{}",
        "null",
        "7",
        r#""hello""#,
        r#"{"end":{"state":"SUCCESS"},"report":{}}"#,
        r#"{"end":{"state":"SUCCESS"}} x"#,
        r#"{"end":{"state":"SUCCESS"}"#,
        r#"{"end":{"state":"STOPPED"}}"#,
        r#"{"end":{}}"#,
        r#"{"end":{"state":"SUCCESS","return-code":"7"}}"#,
        r#"{"end":{"state":"SUCCESS","number":-1}}"#,
        r#"{"end":{"state":"SUCCESS","state":"FAILED"}}"#,
        r#"{"hello":{}}"#,
        r#"{"hello":{"protocol":1,"actions":["greet"]}}"#,
        r#"{"report":{"progress":"30"}}"#,
        r#"{"report":{"message":"\ud800"}}"#,
        r#"{"ping":{}}"#,
        r#"{"keeper":{"pid":1}}"#,
    ];
    for text in texts {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(serde_json::from_slice::<FromHost>(b"{\"report\":{\"message\":\"\xff\"}}").is_err(), "it is not UTF-8");
    let deep = format!(r#"{{"report":{{"x":{}}}}}"#, "[".repeat(100_000));
    assert!(read(&deep).is_err());
}

#[test]
fn progress_is_any_number() {
    for (text, expected) in
        [("30", 30), ("99.9", 99), ("100", 100), ("250", 100), ("1e300", 100), ("-1", 0), ("0", 0), ("-0.5", 0)]
    {
        let FromHost::Report(report) = read(&format!(r#"{{"report":{{"progress":{text}}}}}"#)).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(report.progress, Some(expected), "{text}");
    }
}

/// All lines that arrive when `bytes` do, in pieces of this size.
fn lines_of(bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, TooLong> {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        lines.push(piece);
        while let Some(line) = lines.next_line()? {
            all.push(line);
        }
        assert!(lines.bytes.len() <= LONGEST_LINE + piece.len(), "{}", lines.bytes.len());
    }
    Ok(all)
}

#[test]
fn lines_are_cut_at_newlines_however_they_arrive() {
    let bytes = b"one\n\ntwo and \xff\nhalf";
    for piece in 1..=bytes.len() {
        let expected: [&[u8]; 3] = [b"one", b"", b"two and \xff"];
        assert_eq!(lines_of(bytes, piece).unwrap(), expected, "in pieces of {piece}");
    }
}

#[test]
fn a_line_has_a_longest_length() {
    let mut longest = vec![b'x'; LONGEST_LINE];
    longest.push(b'\n');
    let twice = longest.repeat(2);
    assert_eq!(lines_of(&twice, 65_536).unwrap().len(), 2);
    longest.insert(0, b'x');
    for piece in [65_536, longest.len()] {
        assert_eq!(lines_of(&longest, piece), Err(TooLong));
    }
    assert_eq!(lines_of(&longest[..=LONGEST_LINE], 65_536), Err(TooLong), "no newline is waited for");
    let text = "x".repeat(LONGEST_LINE - 2);
    assert_eq!(line(&text).unwrap().len(), LONGEST_LINE + 1);
    assert_eq!(line(&format!("{text}x")), Err(TooLong));
}
