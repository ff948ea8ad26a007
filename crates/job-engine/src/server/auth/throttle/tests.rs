use super::*;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn from(user: &str, address: &str) -> Attempt {
    Attempt::new(Some(user.to_owned()), Some(address.parse().unwrap()))
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn pauses_begin_after_some_failures_double_and_have_a_longest() {
    let one_name: fn(usize) -> Attempt = |_| from("jane", "192.0.2.1");
    let one_address: fn(usize) -> Attempt = |number| from(&format!("user-{number}"), "192.0.2.1");
    let many_addresses: fn(usize) -> Attempt = |number| from("jane", &format!("192.0.2.{number}"));
    for (attempt, forgiven) in [(one_name, 4), (one_address, 19), (many_addresses, 19)] {
        let mut throttle = Throttle::default();
        let mut now = START;
        for number in 0..forgiven {
            throttle.failed(&attempt(number), now);
            assert_eq!(throttle.pause(&attempt(number + 1), now), None, "{forgiven}");
        }
        for (number, pause) in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().enumerate() {
            throttle.failed(&attempt(forgiven + number), now);
            let next = attempt(forgiven + number + 1);
            assert_eq!(throttle.pause(&next, now), Some(seconds(pause)), "{forgiven}");
            let just_before = now + seconds(pause) - SignedDuration::from_millis(1);
            assert_eq!(throttle.pause(&next, just_before), Some(SignedDuration::from_millis(1)));
            now += seconds(pause);
            assert_eq!(throttle.pause(&next, now), None, "the pause is over");
        }
    }
}

#[test]
fn whoever_guesses_from_one_address_keeps_nobody_out_elsewhere() {
    let mut throttle = Throttle::default();
    let (attacker, victim) = (from("super", "192.0.2.1"), from("super", "198.51.100.7"));
    let (mut tried, mut refused) = (0, 0);
    for fifth in 0..3_600 * 5 {
        let now = START + SignedDuration::from_millis(200) * fifth;
        if throttle.pause(&attacker, now).is_some() {
            refused += 1;
        } else {
            throttle.failed(&attacker, now);
            tried += 1;
        }
        assert_eq!(throttle.pause(&victim, now), None, "{fifth}");
        if fifth % 50 == 0 && fifth > 900 {
            throttle.succeeded(&victim);
        }
    }
    assert!((60..100).contains(&tried) && refused > 17_000, "{tried} {refused}");
}

#[test]
fn whoever_guesses_from_many_addresses_keeps_a_user_out_only_where_it_never_was() {
    let mut throttle = Throttle::default();
    let (home, elsewhere) = (from("super", "198.51.100.7"), from("super", "198.51.100.8"));
    throttle.succeeded(&home);
    let mut tried = 0;
    for second in 0..3_600_i32 {
        let (now, attacker) = (START + seconds(second.into()), from("super", &format!("10.0.{}.1", second % 250)));
        if throttle.pause(&attacker, now).is_none() {
            throttle.failed(&attacker, now);
            tried += 1;
            assert_eq!(throttle.pause(&elsewhere, now).is_some(), tried > 19, "{tried}");
        }
        assert_eq!(throttle.pause(&home, now), None);
    }
    assert!((60..120).contains(&tried), "all of them together guess once a minute: {tried}");
}

#[test]
fn a_success_clears_the_name_at_its_address_and_nothing_else() {
    let jane = from("jane", "192.0.2.1");
    let mut throttle = Throttle::default();
    for _ in 0..10 {
        throttle.failed(&jane, START);
    }
    throttle.succeeded(&jane);
    assert_eq!(throttle.pause(&jane, START), None);
    for _ in 0..10 {
        throttle.failed(&jane, START);
    }
    throttle.succeeded(&jane);
    let pause = throttle.pause(&from("joe", "192.0.2.1"), START);
    assert_eq!(pause, Some(seconds(1)), "whoever has one account may not try out the others");
    assert_eq!(throttle.pause(&from("joe", "192.0.2.2"), START), None);
}

#[test]
fn failures_are_forgotten_after_a_quarter_of_an_hour() {
    let jane = from("jane", "192.0.2.1");
    let mut throttle = Throttle::default();
    for _ in 0..6 {
        throttle.failed(&jane, START);
    }
    throttle.failed(&jane, START + FORGOTTEN - seconds(1));
    assert!(throttle.pause(&jane, START + FORGOTTEN - seconds(1)).is_some(), "they are remembered until then");
    let later = START + FORGOTTEN * 3;
    throttle.failed(&jane, later);
    assert_eq!(throttle.pause(&jane, later), None);
}

#[test]
fn a_clock_that_was_set_back_pauses_nobody_for_longer() {
    let jane = from("jane", "192.0.2.1");
    let mut throttle = Throttle::default();
    for _ in 0..5 {
        throttle.failed(&jane, START + seconds(86_400));
    }
    assert_eq!(throttle.pause(&jane, START), Some(seconds(1)));
    assert_eq!(throttle.pause(&jane, START + seconds(1)), None);
}

#[test]
fn memory_is_bounded_and_many_failures_are_not_pushed_out_by_few() {
    let jane = from("jane", "192.0.2.1");
    let mut throttle = Throttle::default();
    for _ in 0..10 {
        throttle.failed(&jane, START);
    }
    for number in 0..2 * REMEMBERED {
        let address = format!("10.{}.{}.1", number / 250, number % 250);
        throttle.failed(&from(&format!("user-{number}"), &address), START + seconds(1));
        throttle.succeeded(&from("jane", &address));
        throttle.succeeded(&from(&format!("user-{number}"), "192.0.2.9"));
        assert!(throttle.subjects.len() <= REMEMBERED);
        assert!(throttle.known.len() <= KNOWN_USERS);
        assert!(throttle.known.values().all(|addresses| addresses.len() <= KNOWN_ADDRESSES));
    }
    assert_eq!(throttle.subjects.len(), REMEMBERED);
    assert!(throttle.pause(&jane, START + seconds(1)).is_some(), "who failed most is still known");
    throttle.failed(&jane, START + FORGOTTEN * 2);
    throttle.failed(&from("joe", "192.0.2.3"), START + FORGOTTEN * 2);
    assert!(throttle.subjects.len() <= 6 + REMEMBERED / 2, "what is over goes first: {}", throttle.subjects.len());
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one() {
    let address = |text: &str| from("jane", text).address;
    assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
    assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
    assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
}
