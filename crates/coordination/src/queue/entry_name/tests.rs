use proptest::prelude::*;

use super::*;

#[test]
fn knows_the_names_of_entries() {
    for (name, expected) in [
        ("entry-999-0000000042", true),
        ("entry-000--2147483648", true),
        ("entry-000-9999999999", true),
        ("entry-1000-0000000042", false),
        ("entry--01-0000000042", false),
        ("entry-99-0000000042", false),
        ("entry-+99-0000000042", false),
        ("entry-999-000000042", false),
        ("entry-999-00000000042", false),
        ("entry-999-000000004x", false),
        ("entry-999-+000000042", false),
        ("entry-999---2147483648", false),
        ("xentry-999-0000000042", false),
        ("entry-999-", false),
        ("entry-", false),
    ] {
        assert_eq!(EntryName::parse(name).is_some(), expected, "{name}");
    }
}

#[test]
fn priorities_are_read_from_names() {
    for (name, priority) in [("entry-007--0000000001", 7), ("entry-999-9999999999", 999), ("entry-000-0000000000", 0)] {
        assert_eq!(EntryName::parse(name).unwrap().priority(), priority, "{name}");
    }
}

/// Names that are often alike up to their sign or their last digits.
fn names() -> impl Strategy<Value = String> {
    let priority = prop_oneof![0..3_u16, 0..1_000_u16];
    let digits = prop_oneof![0..3_u64, 0..10_000_000_000_u64];
    (priority, any::<bool>(), digits).prop_map(|(priority, is_negative, digits)| {
        format!("entry-{priority:03}-{}{digits:010}", if is_negative { "-" } else { "" })
    })
}

proptest! {
    #[test]
    fn a_name_is_its_text(text in names()) {
        prop_assert_eq!(EntryName::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn names_are_ordered_as_their_texts(one in names(), other in names()) {
        let parsed = |text| EntryName::parse(text).unwrap();
        prop_assert_eq!(parsed(&one).cmp(&parsed(&other)), one.cmp(&other));
    }

    #[test]
    fn what_is_parsed_is_written_the_same(text in "entry-[0-9]{2,4}-[-+]?[0-9]{9,11}") {
        prop_assert!(EntryName::parse(&text).is_none_or(|name| name.to_string() == text));
    }
}
