use super::*;

async fn read(session: &EmbeddedSession, path: &str) -> Vec<u8> {
    session.data(path).await.unwrap().data
}

#[tokio::test]
async fn restores_children_and_goes_on_above_them() {
    let embedded = Embedded::new();
    let children = [("entry-999-0000000007", "a"), ("entry-100-0000000041", "b"), ("foreign", "c")];
    let children = children.map(|(name, data)| (name.to_owned(), data.as_bytes().to_vec()));
    assert_eq!(embedded.restore("/job/entries", children.to_vec()), Ok(0));
    let session = embedded.session();
    assert_eq!(read(&session, "/job/entries/entry-100-0000000041").await, b"b");
    let create = Operation::create("/job/entries/entry-999-", "d", Mode::PersistentSequential);
    assert_eq!(session.commit(vec![create]).await.unwrap(), ["/job/entries/entry-999-0000000042"]);
}

fn children(children: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    children.iter().map(|(name, data)| ((*name).to_owned(), data.as_bytes().to_vec())).collect()
}

#[tokio::test]
async fn restores_all_or_none() {
    let embedded = Embedded::new();
    for bad in ["a/b", "", "..", "\u{1}"] {
        let refused = embedded.restore("/x", children(&[("a", "1"), (bad, "2")]));
        assert!(refused.as_ref().is_err_and(|error| error.is(Cause::BadPath)), "{bad} {refused:?}");
    }
    let large = vec![("a".to_owned(), Vec::new()), ("b".to_owned(), vec![0; crate::session::DATA_LIMIT + 1])];
    assert!(embedded.restore("/x", large).unwrap_err().is(Cause::TooLarge));
    assert!(embedded.session().children("/x").await.unwrap().is_empty());
}

#[tokio::test]
async fn restores_page_by_page_and_leaves_what_is_there_as_it_is() {
    let embedded = Embedded::new();
    assert_eq!(embedded.restore("/x", children(&[("e-0000000005", "1"), ("e-0000000005", "2"), ("b", "3")])), Ok(1));
    assert_eq!(embedded.restore("/x", children(&[("e-0000000002", "4"), ("b", "5")])), Ok(1));
    let session = embedded.session();
    assert_eq!(session.children("/x").await.unwrap(), ["b", "e-0000000002", "e-0000000005"]);
    for (path, data) in [("/x/b", "3"), ("/x/e-0000000005", "1"), ("/x/e-0000000002", "4")] {
        assert_eq!(read(&session, path).await, data.as_bytes(), "{path}");
    }
    let create = Operation::create("/x/e-", "", Mode::PersistentSequential);
    assert_eq!(session.commit(vec![create]).await.unwrap(), ["/x/e-0000000006"], "above that of the first page");
}

#[tokio::test]
async fn what_is_restored_is_told_to_those_who_watch() {
    let embedded = Embedded::new();
    let session = embedded.session();
    let (mut above, mut beside) = (session.watch("/job").await.unwrap(), session.watch("/other").await.unwrap());
    for watch in [&mut above, &mut beside] {
        assert_eq!(watch.recv().await, Some(Change::Reset));
    }
    embedded.restore("/job/entries", children(&[("a", "")])).unwrap();
    let told: Vec<Change> = std::iter::from_fn(|| above.try_recv().ok()).collect();
    let made = ["/job", "/job/entries"].map(|path| Change::Created(path.to_owned()));
    assert_eq!(told, [made.as_slice(), &[Change::Reset]].concat());
    assert!(beside.try_recv().is_err());
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
