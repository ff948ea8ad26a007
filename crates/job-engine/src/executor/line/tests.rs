use super::*;

const LONG: Duration = Duration::from_mins(1);

/// Executors `a`, `b`, … of which these stand in the line, in this order.
fn known(executors: usize, line: &str) -> Known {
    let mut known = Known::default();
    let names = ["a", "b", "c", "d", "e"].map(claimant);
    known.executors = names[..executors].to_vec();
    for (sequence, name) in line.chars().enumerate() {
        known.add_to_line(&format!("{}-{sequence:010}", claimant(&name.to_string())));
    }
    known
}

/// Of 32 hexadecimal digits, as all of them.
fn claimant(name: &str) -> String {
    name.repeat(32)
}

#[test]
fn the_first_few_look_and_the_others_rest() {
    let known = known(5, "abcde");
    for (own, rest) in [("a", false), ("c", false), ("d", true), ("e", true)] {
        assert_eq!(decide(&known, &claimant(own), Load::Idle, LONG).rest, rest, "{own}");
        assert!(!decide(&known, &claimant(own), Load::Idle, Duration::ZERO).rest, "{own}");
        assert!(!decide(&known, &claimant(own), Load::Calm, LONG).rest, "{own}");
    }
}

#[test]
fn who_is_pressed_makes_room_and_comes_back() {
    let standing = known(5, "abcde");
    assert!(decide(&standing, &claimant("b"), Load::Pressed, Duration::ZERO).stand);
    assert!(!decide(&standing, &claimant("b"), Load::Pressed, PRESSED).stand);
    let left = known(5, "acde");
    assert!(!decide(&left, &claimant("b"), Load::Calm, Duration::ZERO).stand);
    assert!(decide(&left, &claimant("b"), Load::Calm, CALM).stand);
    // the fourth is among the first few now
    assert!(!decide(&left, &claimant("d"), Load::Idle, LONG).rest);
    assert!(decide(&left, &claimant("e"), Load::Idle, LONG).rest);
}

/// The fault: nodes in the line that a backup tool has restored, before everybody else, for good.
#[test]
fn places_of_nobody_do_not_count() {
    let mut restored = known(5, "abcde");
    restored.executors.drain(..3);
    for own in ["d", "e"] {
        assert!(!decide(&restored, &claimant(own), Load::Idle, LONG).rest, "{own} would wait for nobody");
    }
    assert_eq!(decide(&restored, &claimant("e"), Load::Calm, LONG).share, (1, 2));
}

#[test]
fn those_who_look_share() {
    // `b` has left the line and looks; `e` rests
    let known = known(5, "acde");
    let share = |own| decide(&known, &claimant(own), Load::Calm, LONG).share;
    assert_eq!(["a", "b", "c", "d"].map(share), [(0, 4), (1, 4), (2, 4), (3, 4)]);
    assert_eq!(decide(&Known::default(), &claimant("a"), Load::Idle, LONG).share, (0, 1));
}

#[test]
fn a_node_that_was_made_twice_is_left_twice() {
    let mut known = known(1, "aa");
    let own = claimant("a");
    assert_eq!(known.leave_line(&own), [format!("{own}-0000000000"), format!("{own}-0000000001")]);
    assert!(known.line.is_empty());
}

#[test]
fn foreign_nodes_have_no_place() {
    let mut known = known(5, "abcd");
    let own = claimant("a");
    for foreign in ["lock-0000000000", "a-0000000001", &format!("{own}-1"), &format!("{own}--000000001"), &own] {
        known.add_to_line(foreign);
    }
    assert_eq!(known.line.len(), 4);
    assert!(decide(&known, &claimant("d"), Load::Idle, LONG).rest);
}
