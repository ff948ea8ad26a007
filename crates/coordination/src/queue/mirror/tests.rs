use std::time::Duration;

use super::*;

fn mirror(entries: &[&str], claims: &[&str]) -> Mirror {
    let mut mirror = Mirror::default();
    relist(&mut mirror, entries, claims);
    mirror
}

fn relist(mirror: &mut Mirror, entries: &[&str], claims: &[&str]) {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    mirror.relist(owned(entries), owned(claims));
}

fn all(mirror: &mut Mirror) -> Vec<String> {
    std::iter::from_fn(|| mirror.take_in_hand()).map(String::from).collect()
}

#[test]
fn offers_free_entries_in_the_order_of_text() {
    let mut mirror = mirror(&["c", "a", "b"], &["b", "x"]);
    assert_eq!(mirror.len(), 3);
    assert_eq!(all(&mut mirror), ["a", "c"]);
}

#[test]
fn follows_events() {
    let mut mirror = mirror(&["a"], &[]);
    mirror.entry_created("b");
    mirror.claim_created("a");
    mirror.claim_created("gone");
    mirror.claim_deleted("gone");
    mirror.entry_created("c");
    mirror.entry_deleted("c");
    assert_eq!((mirror.len(), all(&mut mirror)), (2, vec!["b".to_owned()]));
    mirror.claim_deleted("a");
    assert_eq!(all(&mut mirror), ["a"]);
}

#[test]
fn an_entry_that_somebody_was_faster_on_waits_for_the_end_of_that_claim() {
    let mut mirror = mirror(&["a"], &[]);
    mirror.take_in_hand().unwrap();
    mirror.put_down_as_taken("a");
    assert!(all(&mut mirror).is_empty());
    mirror.claim_deleted("a");
    assert_eq!(all(&mut mirror), ["a"]);
}

#[test]
fn an_end_that_was_heard_of_before_the_refusal_is_not_forgotten() {
    let mut mirror = mirror(&["a"], &[]);
    mirror.take_in_hand().unwrap();
    mirror.claim_created("a");
    mirror.claim_deleted("a");
    mirror.put_down_as_taken("a");
    assert_eq!(all(&mut mirror), ["a"]);
    mirror.claim_deleted("a");
    mirror.claim_created("a");
    mirror.put_down_as_taken("a");
    assert!(all(&mut mirror).is_empty());
}

#[test]
fn a_listing_keeps_what_is_in_hand_and_what_is_avoided() {
    let now = Instant::now();
    let mut mirror = mirror(&["a", "b", "c", "d"], &[]);
    mirror.take_in_hand().unwrap();
    mirror.avoid("b", now + Duration::from_secs(1));
    relist(&mut mirror, &["a", "b", "c", "e"], &["c"]);
    assert_eq!((mirror.len(), all(&mut mirror)), (4, vec!["e".to_owned()]));
    assert!(mirror.has_entry("a") && !mirror.has_entry("d"));
    mirror.put_down("a");
    mirror.return_avoided(now + Duration::from_secs(1));
    assert_eq!(all(&mut mirror), ["a", "b"]);
}

#[test]
fn avoids_until_the_last_time_asked_for() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut mirror = mirror(&["a"], &[]);
    mirror.avoid("a", now + second);
    mirror.avoid("a", now + second * 3);
    mirror.avoid("unknown", now + second * 2);
    mirror.return_avoided(now + second * 2);
    assert!(all(&mut mirror).is_empty());
    assert_eq!(mirror.next_return(), Some(now + second * 3));
    mirror.return_avoided(now + second * 3);
    assert_eq!(all(&mut mirror), ["a"]);
    assert_eq!(mirror.next_return(), None);
}

#[test]
fn knows_the_names_of_entries() {
    for (name, expected) in [
        ("entry-999-0000000042", true),
        ("entry-000--2147483648", true),
        ("entry-1000-0000000042", false),
        ("entry--01-0000000042", false),
        ("entry-99-0000000042", false),
        ("entry-999-000000042", false),
        ("entry-999-00000000042", false),
        ("entry-999-000000004x", false),
        ("entry-999---2147483648", false),
        ("xentry-999-0000000042", false),
        ("entry-999-", false),
        ("entry-", false),
    ] {
        assert_eq!(is_entry_name(name), expected, "{name}");
    }
}
