use std::time::Duration;

use super::*;

fn mirror(entries: &[u16], claims: &[u16]) -> Mirror {
    let mut mirror = Mirror::default();
    relist(&mut mirror, entries, claims);
    mirror
}

fn relist(mirror: &mut Mirror, entries: &[u16], claims: &[u16]) {
    mirror.relist(names(entries), names(claims));
}

/// The name of an entry of this priority.
fn name(priority: u16) -> EntryName {
    EntryName::parse(&format!("entry-{priority:03}-0000000001")).unwrap()
}

fn names(priorities: &[u16]) -> Vec<EntryName> {
    priorities.iter().copied().map(name).collect()
}

fn all(mirror: &mut Mirror) -> Vec<EntryName> {
    std::iter::from_fn(|| mirror.take_in_hand()).collect()
}

#[test]
fn offers_free_entries_in_the_order_of_text() {
    let mut mirror = mirror(&[3, 1, 2], &[2, 9]);
    assert_eq!(mirror.len(), 3);
    assert_eq!(all(&mut mirror), names(&[1, 3]));
}

#[test]
fn follows_events() {
    let mut mirror = mirror(&[1], &[]);
    mirror.entry_created(name(2));
    mirror.claim_created(name(1));
    mirror.claim_created(name(8));
    mirror.claim_deleted(name(8));
    mirror.entry_created(name(3));
    mirror.entry_deleted(name(3));
    assert_eq!((mirror.len(), all(&mut mirror)), (2, names(&[2])));
    mirror.claim_deleted(name(1));
    assert_eq!(all(&mut mirror), names(&[1]));
}

#[test]
fn an_entry_that_somebody_was_faster_on_waits_for_the_end_of_that_claim() {
    let mut mirror = mirror(&[1], &[]);
    mirror.take_in_hand().unwrap();
    mirror.put_down_as_taken(name(1));
    assert!(all(&mut mirror).is_empty());
    mirror.claim_deleted(name(1));
    assert_eq!(all(&mut mirror), names(&[1]));
}

#[test]
fn an_end_that_was_heard_of_before_the_refusal_is_not_forgotten() {
    let mut mirror = mirror(&[1], &[]);
    mirror.take_in_hand().unwrap();
    mirror.claim_created(name(1));
    mirror.claim_deleted(name(1));
    mirror.put_down_as_taken(name(1));
    assert_eq!(all(&mut mirror), names(&[1]));
    mirror.claim_deleted(name(1));
    mirror.claim_created(name(1));
    mirror.put_down_as_taken(name(1));
    assert!(all(&mut mirror).is_empty());
}

#[test]
fn a_listing_keeps_what_is_in_hand_and_what_is_avoided() {
    let now = Instant::now();
    let mut mirror = mirror(&[1, 2, 3, 4], &[]);
    mirror.take_in_hand().unwrap();
    mirror.avoid(name(2), now + Duration::from_secs(1));
    relist(&mut mirror, &[1, 2, 3, 5], &[3]);
    assert_eq!((mirror.len(), all(&mut mirror)), (4, names(&[5])));
    assert!(mirror.has_entry(name(1)) && !mirror.has_entry(name(4)));
    mirror.put_down(name(1));
    mirror.return_avoided(now + Duration::from_secs(1));
    assert_eq!(all(&mut mirror), names(&[1, 2]));
}

#[test]
fn avoids_until_the_last_time_asked_for() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut mirror = mirror(&[1], &[]);
    mirror.avoid(name(1), now + second);
    mirror.avoid(name(1), now + second * 3);
    mirror.avoid(name(8), now + second * 2);
    mirror.return_avoided(now + second * 2);
    assert!(all(&mut mirror).is_empty());
    assert_eq!(mirror.next_return(), Some(now + second * 3));
    mirror.return_avoided(now + second * 3);
    assert_eq!(all(&mut mirror), names(&[1]));
    assert_eq!(mirror.next_return(), None);
}
