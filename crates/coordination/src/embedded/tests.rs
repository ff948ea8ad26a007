use super::*;

async fn read(session: &EmbeddedSession, path: &str) -> Vec<u8> {
    session.data(path).await.unwrap().data
}

#[tokio::test]
async fn restores_children_and_goes_on_above_them() {
    let embedded = Embedded::new();
    let children = [("entry-999-0000000007", "a"), ("entry-100-0000000041", "b"), ("foreign", "c")];
    let children = children.map(|(name, data)| (name.to_owned(), data.as_bytes().to_vec()));
    embedded.restore("/job/entries", children).unwrap();
    let session = embedded.session();
    assert_eq!(read(&session, "/job/entries/entry-100-0000000041").await, b"b");
    let create = Operation::create("/job/entries/entry-999-", "d", Mode::PersistentSequential);
    assert_eq!(session.commit(vec![create]).await.unwrap(), ["/job/entries/entry-999-0000000042"]);
}

#[tokio::test]
async fn restores_all_or_none() {
    let embedded = Embedded::new();
    let twice = [("a".to_owned(), Vec::new()), ("a".to_owned(), Vec::new())];
    assert!(embedded.restore("/x", twice).unwrap_err().is(Cause::NodeExists));
    assert!(embedded.session().children("/x").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_that_is_dropped_has_ended() {
    let embedded = Embedded::new();
    let session = embedded.session();
    session.commit(vec![Operation::create("/e", "", Mode::Ephemeral)]).await.unwrap();
    let other = embedded.session();
    let state = session.state();
    drop(session);
    assert!(other.data("/e").await.unwrap_err().is(Cause::NoNode));
    assert_eq!(*state.borrow(), State::Expired);
}

#[tokio::test]
async fn watches_that_nobody_reads_are_forgotten() {
    let embedded = Embedded::new();
    let session = embedded.session();
    drop(session.watch("/a").await.unwrap());
    let kept = session.watch("/b").await.unwrap();
    session.commit(vec![Operation::create("/c", "", Mode::Persistent)]).await.unwrap();
    assert_eq!(embedded.lock().sessions[&session.id].watchers.len(), 1);
    drop(kept);
}

#[test]
fn reads_sequences_from_names() {
    for (name, expected) in [
        ("entry-999-0000000042", Some(42)),
        ("entry-999--2147483648", Some(i32::MIN)),
        ("abc__lock__2147483647", Some(i32::MAX)),
        ("entry-999-9999999999", None),
        ("entry-999-000000004x", None),
        ("é234567890", None),
        ("short", None),
    ] {
        assert_eq!(sequence(name), expected, "{name}");
    }
}

#[test]
fn a_watch_covers_its_path_and_below() {
    for (path, watched, expected) in [
        ("/job", "/job", true),
        ("/job/entries/a", "/job", true),
        ("/jobs", "/job", false),
        ("/", "/job", false),
        ("/job", "/", true),
    ] {
        assert_eq!(is_at_or_below(path, watched), expected, "{path} {watched}");
    }
}
