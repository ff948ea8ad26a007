use proptest::prelude::*;

use super::hosts::canonical;
use super::*;

#[test]
fn hosts_are_understood_row_by_row() {
    let rows = [
        ("a", "a:2181"),
        ("a:1", "a:1"),
        ("a:", "a:2181"),
        ("a.example.:1", "a.example.:1"),
        ("zoo_1", "zoo_1:2181"),
        ("a/", "a:2181"),
        ("a:2181,b:2182", "a:2181,b:2182"),
        ("a:2181,b:2181/chroot/deep", "a:2181,b:2181/chroot/deep"),
        ("127.0.0.1:1,[::1]:2", "127.0.0.1:1,[::1]:2"),
        // an address of IPv6 has a port if it is in brackets
        ("[::1]", "[::1]:2181"),
        ("::1", "[::1]:2181"),
        ("2001:db8::1", "[2001:db8::1]:2181"),
        ("2001:db8::1,[2001:db8::2]:2182/x", "[2001:db8::1]:2181,[2001:db8::2]:2182/x"),
        ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        // kazoo's forms
        ("a:1, b:2", "a:1,b:2"),
        (" a:1 , b:2/x ", "a:1,b:2/x"),
        ("a:1,b:2,/x", "a:1,b:2/x"),
        ("a:1, b:2, /x", "a:1,b:2/x"),
    ];
    for (given, understood) in rows {
        assert_eq!(canonical(given).unwrap(), understood, "{given}");
        assert!(ZooKeeper::new(Settings::new(given)).is_ok(), "{given}");
    }
}

#[test]
fn what_cannot_be_a_host_is_named() {
    let rows = [
        ("", "``"),
        (",", "``"),
        ("a,", "``"),
        ("a:0", "`a:0`"),
        ("a:70000", "`a:70000`"),
        ("a:b", "`a:b`"),
        ("a;b", "`a;b`"),
        ("a:1;b:2", "`a:1;b:2`"),
        ("a b", "`a b`"),
        ("good,tcp://a:1", "`tcp:`"),
        ("user@a", "`user@a`"),
        ("ä", "`ä`"),
        ("a..b", "`a..b`"),
        ("256.0.0.1", "`256.0.0.1`"),
        ("2181", "`2181`"),
        ("[::1", "`[::1`"),
        ("[::1]x", "`[::1]x`"),
        ("[a]:1", "`[a]:1`"),
        ("::g", "`::g`"),
        ("a:1:2", "`a:1:2`"),
        ("a/x,b", "`/x,b`"),
        ("a//", "`//`"),
        ("/x", "``"),
        (":1", "`:1`"),
    ];
    for (given, named) in rows {
        // the folder of a URL is looked at first
        let Err(error) = ZooKeeper::new(Settings::new(given)).map(drop) else { panic!("{given} is taken") };
        let message = error.to_string();
        assert!(message.starts_with(named) || given.contains("://"), "{given}: {message}");
    }
}

#[test]
fn another_time_out_than_was_asked_for_is_news_once() {
    let [one, four] = [1, 4].map(Duration::from_secs);
    assert!(!is_timeout_news(four, four, None), "as asked");
    assert!(is_timeout_news(one, four, None), "raised");
    assert!(is_timeout_news(four, one, Some(four)), "another server has lowered it");
    assert!(!is_timeout_news(one, four, Some(four)), "in each later session");
}

/// Names and addresses in most of the ways in which people write them.
const LIKE_HOSTS: &str =
    "( ?([a-z]{1,3}|[0-9]?::[0-9a-f]{0,4}|\\[::[0-9a-f]{1,4}\\]):?[0-9]{0,5},?){1,3}(/[a-z]{0,2})?";

proptest! {
    #[test]
    fn what_is_understood_is_understood_again_as_the_same(
        text in prop_oneof!["[a-z0-9:., \\[\\]/%;-]{0,24}", LIKE_HOSTS],
    ) {
        if let Ok(understood) = canonical(&text) {
            prop_assert_eq!(canonical(&understood).ok(), Some(understood.clone()));
            prop_assert!(ZooKeeper::new(Settings::new(&text)).is_ok());
        }
    }
}

#[test]
fn a_session_lasts_from_a_tenth_of_a_second_to_an_hour() {
    let is_taken = |session_timeout| ZooKeeper::new(Settings { session_timeout, ..Settings::new("a:1") }).is_ok();
    let milliseconds = [0, 99, 100, 3_600_000, 3_600_001, u64::MAX];
    let taken = milliseconds.map(|milliseconds| is_taken(Duration::from_millis(milliseconds)));
    assert_eq!(taken, [false, false, true, true, false, false]);
}
