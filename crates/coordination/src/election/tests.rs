use super::*;
use crate::session::Node;

#[test]
fn finds_those_before_row_by_row() {
    let own = "own__lock__0000000007";
    let rows: [(&[&str], Option<&[&str]>); 10] = [
        (&[], None),
        (&["z__lock__0000000001"], None),
        (&[own], Some(&[])),
        (&["a__lock__0000000008", own, "z__lock__0000000011"], Some(&[])),
        (&["z__lock__0000000003", own, "a__lock__0000000002"], Some(&["a__lock__0000000002", "z__lock__0000000003"])),
        // sequences are text: after the overflow they come before all others
        (&["z__lock__-2147483648", own], Some(&["z__lock__-2147483648"])),
        // a counter at its end gives a number twice: then the name decides, for each of them alike
        (&["z__lock__0000000007", own], Some(&[])),
        (&["a__lock__0000000007", own], Some(&["a__lock__0000000007"])),
        (&["z__rlock__0000000001", "0000000001", "z__lock__1", "z__lock__000000000x", own], Some(&[])),
        (&["z__lock__0000000001x", "a__lock__b__lock__0000000001", own], Some(&["a__lock__b__lock__0000000001"])),
    ];
    for (children, expected) in rows {
        let children: Vec<_> = children.iter().map(ToString::to_string).collect();
        assert_eq!(before(&children, own).as_deref(), expected, "{children:?}");
    }
}

#[test]
fn of_any_candidates_exactly_one_leads() {
    let numbers = ["2147483646", "2147483647", "2147483647", "-2147483648", "-2147483647"];
    let children: Vec<_> =
        ["c", "b", "a", "d", "e"].iter().zip(numbers).map(|(it, n)| format!("{it}{INFIX}{n}")).collect();
    let leading = children.iter().filter(|own| before(&children, own).is_some_and(|before| before.is_empty()));
    // kazoo compares as text, too
    assert_eq!(leading.collect::<Vec<_>>(), ["e__lock__-2147483647"]);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_alone_begins_the_counter_again() {
    let coordinator = crate::Embedded::new();
    let near_the_end = vec![("old-2000000000".to_owned(), Vec::new())];
    coordinator.restore("/election/x", near_the_end).unwrap();
    let session: Arc<dyn Session> = Arc::new(coordinator.session());
    let election = Election::new(session.clone(), "/election/x", "a");
    let names = async || {
        let contenders = election.contenders().await.unwrap();
        contenders
            .into_iter()
            .map(|contender| contender.node.rsplit_once('_').unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    // somebody else's node is in the folder
    let leadership = election.lead().await.unwrap();
    assert_eq!(names().await, ["2000000001"]);
    leadership.resign().await.unwrap();
    session.commit(vec![Operation::delete("/election/x/old-2000000000")]).await.unwrap();
    let leadership = election.lead().await.unwrap();
    assert_eq!(names().await, ["0000000000"]);
    assert!(leadership.holds());
}

#[test]
fn a_node_without_a_session_is_waited_for_or_passed_over() {
    let node = |is_ephemeral| Ok(Some(Node { data: Vec::new(), version: 0, created: 1, is_ephemeral }));
    let (session, stray, hidden, gone) = (node(true), node(false), Err(Cause::NotAllowed), Ok(None));
    let rows = [
        (vec![], None, None, 0, false),
        (vec![&session, &session], Some(1), Some(1), 0, false),
        (vec![&session, &stray], Some(1), Some(0), 1, true),
        (vec![&stray, &session], Some(1), Some(1), 1, true),
        (vec![&stray, &stray], Some(1), None, 2, true),
        (vec![&session, &hidden], Some(1), Some(1), 0, true),
        (vec![&session, &gone], Some(1), Some(1), 0, false),
    ];
    for (found, shared, own, strays, is_untold) in rows {
        let before: Vec<_> = (0..found.len()).map(|at| at.to_string()).collect();
        let found: Vec<Found> = found.into_iter().cloned().collect();
        for (passes_over, behind) in [(false, shared), (true, own)] {
            let place = place(&before, &found, passes_over);
            assert_eq!(place.behind, behind.map(|at: usize| at.to_string()), "{found:?}");
            assert_eq!((place.strays.len(), place.is_untold), (strays, is_untold), "{found:?}");
        }
    }
}
