use super::*;

const LONG: Duration = Duration::from_mins(1);

/// Executors `a`, `b`, … of which these are in the list, in this order.
fn known(executors: usize, list: &str) -> Known {
    let mut known = Known::default();
    let names = ["a", "b", "c", "d", "e"].map(claimant);
    known.executors = names[..executors].to_vec();
    for (sequence, name) in list.chars().enumerate() {
        known.add(&format!("{}-{sequence:010}", claimant(&name.to_string())));
    }
    known
}

/// Of 32 hexadecimal digits, as all of them.
fn claimant(name: &str) -> String {
    name.repeat(32)
}

#[test]
fn the_first_few_are_active_and_the_others_stand_by() {
    let known = known(5, "abcde");
    for (own, stands_by) in [("a", false), ("c", false), ("d", true), ("e", true)] {
        assert_eq!(decide(&known, &claimant(own), Load::Idle, LONG).stand_by, stands_by, "{own}");
        assert!(!decide(&known, &claimant(own), Load::Idle, Duration::ZERO).stand_by, "{own}");
        assert!(!decide(&known, &claimant(own), Load::Calm, LONG).stand_by, "{own}");
    }
}

#[test]
fn a_saturated_executor_leaves_the_list_and_comes_back() {
    let listed = known(5, "abcde");
    assert!(decide(&listed, &claimant("b"), Load::Saturated, Duration::ZERO).list);
    assert!(!decide(&listed, &claimant("b"), Load::Saturated, SATURATED).list);
    let left = known(5, "acde");
    assert!(!decide(&left, &claimant("b"), Load::Calm, Duration::ZERO).list);
    assert!(decide(&left, &claimant("b"), Load::Calm, CALM).list);
    // the fourth is among the first few now
    assert!(!decide(&left, &claimant("d"), Load::Idle, LONG).stand_by);
    assert!(decide(&left, &claimant("e"), Load::Idle, LONG).stand_by);
}

/// The fault: nodes in the list that a backup tool has restored, before everybody else, for good.
#[test]
fn places_of_nobody_do_not_count() {
    let mut restored = known(5, "abcde");
    restored.executors.drain(..3);
    for own in ["d", "e"] {
        assert!(!decide(&restored, &claimant(own), Load::Idle, LONG).stand_by, "{own} would wait for nobody");
    }
    assert_eq!(decide(&restored, &claimant("e"), Load::Calm, LONG).share, (1, 2));
}

#[test]
fn active_executors_share() {
    // `b` has left the list and is active; `e` stands by
    let known = known(5, "acde");
    let share = |own| decide(&known, &claimant(own), Load::Calm, LONG).share;
    assert_eq!(["a", "b", "c", "d"].map(share), [(0, 4), (1, 4), (2, 4), (3, 4)]);
    assert_eq!(decide(&Known::default(), &claimant("a"), Load::Idle, LONG).share, (0, 1));
}

#[test]
fn a_node_that_was_made_twice_is_left_twice() {
    let mut known = known(1, "aa");
    let own = claimant("a");
    assert_eq!(known.remove(&own), [format!("{own}-0000000000"), format!("{own}-0000000001")]);
    assert!(known.list.is_empty());
}

#[test]
fn foreign_nodes_have_no_place() {
    let mut known = known(5, "abcd");
    let own = claimant("a");
    for foreign in ["lock-0000000000", "a-0000000001", &format!("{own}-1"), &format!("{own}--000000001"), &own] {
        known.add(foreign);
    }
    assert_eq!(known.list.len(), 4);
    assert!(decide(&known, &claimant("d"), Load::Idle, LONG).stand_by);
}
