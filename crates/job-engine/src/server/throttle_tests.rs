use super::*;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn jane() -> [Subject; 1] {
    [Subject::User("jane".to_owned())]
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn pauses_begin_after_some_failures_double_and_have_a_longest() {
    for (subject, forgiven) in [(jane()[0].clone(), 4), (Subject::address("192.0.2.1".parse().unwrap()), 19)] {
        let subject = [subject];
        let mut throttle = Throttle::default();
        let mut now = START;
        for _ in 0..forgiven {
            throttle.failed(&subject, now);
            assert_eq!(throttle.pause(&subject, now), None, "{subject:?}");
        }
        for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            throttle.failed(&subject, now);
            assert_eq!(throttle.pause(&subject, now), Some(seconds(pause)), "{subject:?}");
            let just_before = now + seconds(pause) - SignedDuration::from_millis(1);
            assert_eq!(throttle.pause(&subject, just_before), Some(SignedDuration::from_millis(1)));
            now += seconds(pause);
            assert_eq!(throttle.pause(&subject, now), None, "the pause is over");
        }
    }
}

#[test]
fn a_success_clears_the_name_and_nothing_else() {
    let both = [jane()[0].clone(), Subject::address("192.0.2.1".parse().unwrap())];
    let mut throttle = Throttle::default();
    for _ in 0..30 {
        throttle.failed(&both, START);
    }
    throttle.succeeded(&both[0]);
    assert_eq!(throttle.pause(&both[..1], START), None);
    assert_eq!(throttle.pause(&both, START), Some(LONGEST), "whoever has one account may not try out the others");
    assert_eq!(throttle.pause(&[Subject::User("joe".to_owned())], START), None);
}

#[test]
fn failures_are_forgotten_after_a_quarter_of_an_hour() {
    let mut throttle = Throttle::default();
    for _ in 0..6 {
        throttle.failed(&jane(), START);
    }
    throttle.failed(&jane(), START + FORGOTTEN - seconds(1));
    assert!(throttle.pause(&jane(), START + FORGOTTEN - seconds(1)).is_some(), "they are remembered until then");
    let later = START + FORGOTTEN * 3;
    throttle.failed(&jane(), later);
    assert_eq!(throttle.pause(&jane(), later), None);
}

#[test]
fn a_clock_that_was_set_back_pauses_nobody_for_longer() {
    let mut throttle = Throttle::default();
    for _ in 0..5 {
        throttle.failed(&jane(), START + seconds(86_400));
    }
    assert_eq!(throttle.pause(&jane(), START), Some(seconds(1)));
    assert_eq!(throttle.pause(&jane(), START + seconds(1)), None);
}

#[test]
fn memory_is_bounded_and_many_failures_are_not_pushed_out_by_few() {
    let mut throttle = Throttle::default();
    for _ in 0..10 {
        throttle.failed(&jane(), START);
    }
    for number in 0..2 * REMEMBERED {
        throttle.failed(&[Subject::User(format!("user-{number}"))], START + seconds(1));
        assert!(throttle.subjects.len() <= REMEMBERED);
    }
    assert_eq!(throttle.subjects.len(), REMEMBERED);
    assert!(throttle.pause(&jane(), START + seconds(1)).is_some(), "who failed most is still known");
    throttle.failed(&jane(), START + FORGOTTEN * 2);
    throttle.failed(&[Subject::User("joe".to_owned())], START + FORGOTTEN * 2);
    assert!(throttle.subjects.len() <= 2 + REMEMBERED / 2, "what is over goes first: {}", throttle.subjects.len());
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one() {
    let subject = |text: &str| Subject::address(text.parse().unwrap());
    assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"));
    assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    assert_ne!(subject("192.0.2.1"), subject("192.0.2.2"));
    assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
}
