use super::*;
use crate::session::Node;

fn node(created: i64, is_ephemeral: bool) -> Node {
    Node { data: Vec::new(), version: 0, created, is_ephemeral, modified: None }
}

#[test]
fn finds_those_before_row_by_row() {
    let own = "own__lock__0000000007";
    let rows: [(&[&str], Option<&[&str]>); 9] = [
        (&[], None),
        (&["z__lock__0000000001"], None),
        (&[own], Some(&[])),
        (&["a__lock__0000000008", own, "z__lock__0000000011"], Some(&[])),
        (&["z__lock__0000000003", own, "a__lock__0000000002"], Some(&["a__lock__0000000002", "z__lock__0000000003"])),
        // sequences are text: after the overflow they come before all others, and say nothing
        (&[own, "z__lock__-2147483648"], Some(&["z__lock__-2147483648", own])),
        (&["z__lock__2147483647", own], Some(&[own, "z__lock__2147483647"])),
        (&["z__rlock__0000000001", "0000000001", "z__lock__1", "z__lock__000000000x", own], Some(&[])),
        (&["z__lock__0000000001x", "a__lock__b__lock__0000000001", own], Some(&["a__lock__b__lock__0000000001"])),
    ];
    for (children, expected) in rows {
        let children: Vec<_> = children.iter().map(ToString::to_string).collect();
        assert_eq!(in_question(&children, own).as_deref(), expected, "{children:?}");
    }
    for (first, count) in [(0, 200), (2_147_480_000, MOST_LOOKED_AT)] {
        let many: Vec<_> = (first..first + 1000).map(|number| format!("x{INFIX}{number:010}")).collect();
        assert_eq!(in_question(&many, &many[500]).unwrap().len(), count, "a bounded number");
    }
}

/// Also at the end of the counter, which gives a number twice, and then numbers that come before all others.
#[test]
fn of_any_candidates_exactly_one_leads() {
    let numbers = ["2147483646", "2147483647", "2147483647", "2147483647", "-2147483648", "-2147483647"];
    let names = ["c", "b", "a", "d", "f", "e"];
    let came: Vec<_> = names.iter().zip(numbers).map(|(name, number)| format!("{name}{INFIX}{number}")).collect();
    let leading = |first: usize, last: usize| {
        let created = |name: &str| came.iter().position(|came| came == name).unwrap();
        let leads = |own: &&String| {
            let names = in_question(&came[first..last], own).unwrap();
            let found = names.iter().map(|name| Ok(Some(node(i64::try_from(created(name)).unwrap(), true))));
            let found = found.collect();
            let came = as_they_came(names.into_iter().map(str::to_owned).collect(), found);
            came.first().is_none_or(|(first, _)| first == *own)
        };
        came[first..last].iter().filter(leads).cloned().collect::<Vec<_>>()
    };
    for first in 0..came.len() {
        for last in first + 1..=came.len() {
            assert_eq!(leading(first, last), [came[first].clone()], "{:?}", &came[first..last]);
        }
    }
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
    let (session, stray, hidden, gone) =
        (Ok(Some(node(1, true))), Ok(Some(node(1, false))), Err(Cause::NotAllowed), Ok(None));
    let rows = [
        (vec![], None, None, 0, false),
        (vec![&session, &session], Some(1), Some(1), 0, false),
        (vec![&session, &stray], Some(1), Some(0), 1, true),
        (vec![&stray, &session], Some(1), Some(1), 1, true),
        (vec![&stray, &stray], Some(1), None, 2, true),
        (vec![&session, &hidden], Some(1), Some(1), 0, true),
        (vec![&session, &gone], Some(1), Some(1), 0, false),
    ];
    for (found, shared, own, strays, is_unwatched) in rows {
        let nodes: Vec<_> = (0..found.len()).map(|at| at.to_string()).collect();
        let found: Vec<Found> = found.into_iter().cloned().collect();
        for (passes_over, behind) in [(false, shared), (true, own)] {
            let place = place(&nodes, &found, passes_over);
            assert_eq!(place.behind, behind.map(|at: usize| at.to_string()), "{found:?}");
            assert_eq!((place.strays.len(), place.is_unwatched), (strays, is_unwatched), "{found:?}");
        }
    }
}
