use super::*;

const LONG: Duration = Duration::from_mins(1);

/// Executors `a`, `b`, … of which these stand in the line, in this order.
fn known(executors: usize, line: &str) -> Known {
    let mut known = Known::default();
    let name = |index: usize| char::from(b'a' + u8::try_from(index).unwrap()).to_string();
    known.executors = (0..executors).map(name).collect();
    for (sequence, claimant) in line.chars().enumerate() {
        known.add_to_line(&format!("{claimant}-{sequence:010}"));
    }
    known
}

#[test]
fn the_first_few_look_and_the_others_rest() {
    let known = known(5, "abcde");
    for (own, rest) in [("a", false), ("c", false), ("d", true), ("e", true)] {
        assert_eq!(decide(&known, own, Load::Idle, LONG).rest, rest, "{own}");
        assert!(!decide(&known, own, Load::Idle, Duration::ZERO).rest, "{own}");
        assert!(!decide(&known, own, Load::Calm, LONG).rest, "{own}");
    }
}

#[test]
fn who_is_pressed_makes_room_and_comes_back() {
    let standing = known(5, "abcde");
    assert!(decide(&standing, "b", Load::Pressed, Duration::ZERO).stand);
    assert!(!decide(&standing, "b", Load::Pressed, PRESSED).stand);
    let left = known(5, "acde");
    assert!(!decide(&left, "b", Load::Calm, Duration::ZERO).stand);
    assert!(decide(&left, "b", Load::Calm, CALM).stand);
    // the fourth is among the first few now
    assert!(!decide(&left, "d", Load::Idle, LONG).rest);
    assert!(decide(&left, "e", Load::Idle, LONG).rest);
}

#[test]
fn those_who_look_share() {
    // `b` has left the line and looks; `e` rests
    let known = known(5, "acde");
    let share = |own| decide(&known, own, Load::Calm, LONG).share;
    assert_eq!(["a", "b", "c", "d"].map(share), [(0, 4), (1, 4), (2, 4), (3, 4)]);
    assert_eq!(decide(&Known::default(), "a", Load::Idle, LONG).share, (0, 1));
}

#[test]
fn a_node_that_was_made_twice_is_left_twice() {
    let mut known = known(1, "aa");
    assert_eq!(known.leave_line("a"), ["a-0000000000", "a-0000000001"]);
    assert!(known.line.is_empty());
}
