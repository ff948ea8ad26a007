use proptest::prelude::*;
use serde_json::json;

use super::*;

fn packed(value: &Value) -> Vec<u8> {
    let packed = pack(value);
    assert_eq!(unpack(&packed).unwrap().0, *value);
    packed
}

/// What lies in files: a change of any of these bytes makes them unreadable.
#[test]
fn values_are_packed_as_they_always_were() {
    for (value, bytes) in [
        (json!(null), "0100"),
        (json!([false, true]), "0107020102"),
        (json!([0, -1, 1, 999]), "010704030003010302 03ce0f"),
        (json!(i64::MIN), "0103ffffffffffffffffff01"),
        (json!(u64::MAX), "0104ffffffffffffffffff01"),
        (json!(0.5), "0105000000000000e03f"),
        (json!("é"), "010602c3a9"),
        (json!(""), "0159"),
        (json!({"id": "job/01a22896-57ff-7010-b0be-14f3f033efd6"}), "01080120 1001a2289657ff7010b0be14f3f033efd6"),
        (json!("2026-11-29T18:34:31.296Z"), "0111202611291834312960"),
        (json!("2026-11-29T18:34:42.347574109Z"), "0112202611291834423475741090"),
        (json!("/job/entries/entry-999-0000019982"), "011399900000199820"),
        (json!("01a22896-57ff-7010-b0be-14f3f033efd6"), "011401a2289657ff7010b0be14f3f033efd6"),
        (json!({"state": "SUCCESS", "other": 999}), "010802 2754 06056f74686572 03ce0f"),
    ] {
        assert_eq!(packed(&value), of_hex(bytes), "{value}");
    }
    assert_eq!((WORDS[0], WORDS[WORDS.len() - 1]), ("id", "super"));
}

fn of_hex(text: &str) -> Vec<u8> {
    let digits = text.replace(' ', "");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn each_word_is_a_byte_and_stands_once() {
    assert!(WORDS.len() <= usize::from(u8::MAX - WORD));
    assert!(FORMS.len() <= usize::from(WORD - FORM));
    for word in WORDS {
        assert_eq!(packed(&json!(word)).len(), 2, "{word}");
        assert_eq!(WORDS.iter().filter(|other| *other == word).count(), 1, "{word}");
    }
}

#[test]
fn what_almost_has_a_form_is_a_text() {
    for text in [
        "2026-11-29T18:34:31.29aZ",
        "2026-11-29 18:34:31.296Z",
        "job/01a22896-57ff-7010-b0be-14f3f033efdG",
        "job/01a22896-57ff-7010-b0be_14f3f033efd6",
        "/job/entries/entry-99-00000199820",
    ] {
        assert_eq!(packed(&json!(text))[1], TEXT, "{text}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,8}",
        prop::sample::select(WORDS).prop_map(str::to_owned),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.([0-9]{3}|[0-9]{9})Z",
        "job/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// With names that are often the same.
fn object() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![prop::sample::select(WORDS).prop_map(str::to_owned), "[a-c]", "\\PC{0,3}"];
    prop::collection::vec((name, value()), 0..12).prop_map(|members| members.into_iter().collect())
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn what_is_unpacked_is_what_was_packed(value in value()) {
        let packed = pack(&value);
        let (unpacked, about) = unpack(&packed).unwrap();
        let text = value.to_string();
        prop_assert_eq!(unpacked.to_string(), &*text);
        // what has to be escaped here is quotation marks and backslashes
        prop_assert!(text.len() <= about + text.matches('\\').count(), "{}: {}", about, text);
        prop_assert!(about <= text.len() + values(&value) * (LONGEST_NUMBER + 1), "{}: {}", about, text);
        for end in 0..packed.len() {
            prop_assert_eq!(unpack(&packed[..end]), Err(NotPacked));
        }
        prop_assert_eq!(check_object(&packed), if value.is_object() { Ok(about) } else { Err(NotPacked) });
    }

    #[test]
    fn changes_of_what_is_packed_are_those_of_the_object(
        object in object(),
        set in object(),
        remove in prop::collection::vec(prop::sample::select(WORDS), 0..4),
    ) {
        let remove: Vec<String> = remove.into_iter().map(str::to_owned).collect();
        let packed = pack_object(&object);
        for member in members(&packed) {
            let value = &object[&*member.name()];
            prop_assert_eq!(&*member.value(), value);
            let text = member.text();
            prop_assert_eq!(text.as_deref(), value.as_str());
        }
        let changed = with_members(&packed, &remove, &set);
        let mut expected = object;
        expected.retain(|name, _| !remove.contains(name));
        expected.extend(set);
        prop_assert_eq!(changed, pack_object(&expected));
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let packed = [&[PACKED, OBJECT], bytes.as_slice()].concat();
        let unpacked = unpack(&packed);
        prop_assert_eq!(check_object(&packed), unpacked.clone().map(|(_, about)| about));
        if let Ok((value, _)) = unpacked {
            prop_assert_eq!(unpack(&pack(&value)).unwrap().0, value);
        }
    }
}
