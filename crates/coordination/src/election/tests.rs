use super::*;

#[test]
fn finds_the_place_row_by_row() {
    let own = "own__lock__0000000007";
    let rows: [(&[&str], Place); 8] = [
        (&[], Place::Absent),
        (&["z__lock__0000000001"], Place::Absent),
        (&[own], Place::First),
        (&["a__lock__0000000008", own, "z__lock__0000000011"], Place::First),
        (&["z__lock__0000000003", own, "a__lock__0000000002"], Place::Behind("z__lock__0000000003")),
        // sequences are text: after the overflow they come before all others
        (&["z__lock__-2147483648", own], Place::Behind("z__lock__-2147483648")),
        (&["z__rlock__0000000001", "0000000001", "z__lock__1", "z__lock__000000000x", own], Place::First),
        (&["z__lock__0000000001x", "a__lock__b__lock__0000000001", own], Place::Behind("a__lock__b__lock__0000000001")),
    ];
    for (children, expected) in rows {
        let children: Vec<_> = children.iter().map(ToString::to_string).collect();
        assert_eq!(place(&children, own), expected, "{children:?}");
    }
}
