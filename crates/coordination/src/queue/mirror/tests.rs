use std::time::Duration;

use super::*;

const ALONE: Share = Share { position: 0, of: 1 };

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

/// The name of an entry of this priority and sequence.
fn nth(priority: u16, sequence: usize) -> EntryName {
    EntryName::parse(&format!("entry-{priority:03}-{sequence:010}")).unwrap()
}

fn names(priorities: &[u16]) -> Vec<EntryName> {
    priorities.iter().copied().map(name).collect()
}

fn take_first(mirror: &mut Mirror) -> Option<EntryName> {
    let Chosen { again, new } = mirror.take_in_hand(1, 1, ALONE);
    again.into_iter().chain(new).next()
}

fn all(mirror: &mut Mirror) -> Vec<EntryName> {
    let Chosen { again, new } = mirror.take_in_hand(1_000, 1_000, ALONE);
    again.into_iter().chain(new).collect()
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
    take_first(&mut mirror).unwrap();
    mirror.put_down_as_taken(name(1));
    assert!(all(&mut mirror).is_empty());
    mirror.claim_deleted(name(1));
    assert_eq!(all(&mut mirror), names(&[1]));
}

#[test]
fn an_end_that_was_heard_of_before_the_refusal_is_not_forgotten() {
    let mut mirror = mirror(&[1], &[]);
    take_first(&mut mirror).unwrap();
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
    take_first(&mut mirror).unwrap();
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

#[test]
fn two_queues_reach_for_different_entries() {
    let entries: Vec<_> = (0..12).map(|sequence| nth(1, sequence)).collect();
    let chosen = |position| {
        let mut mirror = Mirror::default();
        mirror.relist(entries.clone(), Vec::new());
        let mut choose = |wanted| mirror.take_in_hand(wanted, 4, Share { position, of: 2 });
        let first = choose(2);
        assert!(first.again.is_empty());
        // two more may overtake the one that was passed over, and then it comes first
        let second = choose(2);
        assert!(second.again.is_empty());
        let third = choose(2);
        (first.new, second.new, third.again)
    };
    let nths = |sequences: &[usize]| sequences.iter().map(|sequence| nth(1, *sequence)).collect::<Vec<_>>();
    assert_eq!(chosen(0), (nths(&[0, 2]), nths(&[4, 6]), nths(&[1])));
    assert_eq!(chosen(1), (nths(&[1, 3]), nths(&[5, 7]), nths(&[0, 2])));
}

#[test]
fn what_is_overdue_in_one_priority_ends_no_turns_in_another() {
    let mut mirror = Mirror::default();
    mirror.relist((0..6).map(|sequence| nth(9, sequence)).collect(), Vec::new());
    let choose = |mirror: &mut Mirror, wanted| mirror.take_in_hand(wanted, 2, Share { position: 0, of: 2 });
    choose(&mut mirror, 2);
    assert_eq!(choose(&mut mirror, 1).again, [nth(9, 1)]);
    (6..10).for_each(|sequence| mirror.entry_created(nth(1, sequence)));
    let urgent = choose(&mut mirror, 2);
    assert_eq!((urgent.again, urgent.new), (vec![], vec![nth(1, 6), nth(1, 8)]));
}

#[test]
fn nothing_waits_for_a_turn_while_a_slot_is_free() {
    let mut mirror = Mirror::default();
    mirror.relist(vec![nth(1, 0), nth(2, 1), nth(2, 2)], Vec::new());
    let Chosen { new, .. } = mirror.take_in_hand(3, 3, Share { position: 2, of: 3 });
    assert_eq!(new, [nth(1, 0), nth(2, 2), nth(2, 1)]);
}

/// Queues with slots of their own choose in an order that is drawn; what one has chosen the others hear of late. No job
/// is begun after more of its own priority that came later than the fleet has slots, nor after one of a lower priority.
#[test]
fn overtaking_has_a_bound() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let slots: Vec<usize> = (0..random.random_range(1..5)).map(|_| random.random_range(1..9)).collect();
        let jobs: Vec<EntryName> = (0..300).map(|sequence| nth(random.random_range(1..4), sequence)).collect();
        let mut mirrors: Vec<Mirror> = slots.iter().map(|_| Mirror::default()).collect();
        for mirror in &mut mirrors {
            mirror.relist(jobs.clone(), Vec::new());
        }
        let mut begun: Vec<EntryName> = Vec::new();
        let mut unheard: Vec<Vec<EntryName>> = vec![Vec::new(); slots.len()];
        while begun.len() < jobs.len() {
            let position = random.random_range(0..slots.len());
            let wanted = random.random_range(1..=slots[position]);
            let chosen = mirrors[position].take_in_hand(wanted, slots[position], Share { position, of: slots.len() });
            for name in chosen.again.into_iter().chain(chosen.new) {
                if begun.contains(&name) {
                    mirrors[position].put_down_as_taken(name);
                    continue;
                }
                begun.push(name);
                unheard
                    .iter_mut()
                    .enumerate()
                    .filter(|(other, _)| *other != position)
                    .for_each(|(_, list)| list.push(name));
            }
            // everything is heard of before the next choice: late news make more vain attempts, not more overtaking
            let heard = random.random_bool(0.5);
            for (list, mirror) in unheard.iter_mut().zip(&mut mirrors).filter(|_| heard) {
                list.drain(..).for_each(|name| mirror.claim_created(name));
            }
        }
        let fleet: usize = slots.iter().sum();
        for (place, name) in begun.iter().enumerate() {
            let later = begun[..place].iter().copied().filter(|other| other > name);
            let (equal, lower): (Vec<_>, Vec<_>) = later.partition(|other| other.priority() == name.priority());
            assert!(equal.len() <= fleet, "seed {seed}: {name} was overtaken by {} of {fleet}", equal.len());
            assert!(lower.is_empty(), "seed {seed}: {name} was overtaken by {lower:?}");
        }
    }
}
