//! What `==` finds (specification 4.4).

use super::*;

#[test]
fn words_match_like_a_simple_query_string() {
    let document = json!({
        "name": "Nightly clean-up of old VMs", "description": ["made in Zürich", "by night_shift"],
        "statusMessage": "3 of 4 removed", "state": "FAILED", "progress": 50,
    });
    check(
        &document,
        &[
            ("name=='nightly'", true),
            ("name=='NIGHTLY'", true),
            ("name=='night'", false),
            ("name=='night*'", true),
            ("name=='vm* missing'", true),
            ("state=='failed'", true),
            ("name=='failed'", false),
            ("missing=='x'", false),
            ("progress=='50'", false),
            // one of, unless told otherwise; from left to right
            ("name=='missing nightly'", true),
            ("name=='missing | nightly'", true),
            ("name=='missing + nightly'", false),
            ("name=='old+nightly'", true),
            ("name=='old + vms + missing'", false),
            ("name=='missing + old nightly'", true),
            ("name=='nightly missing + gone'", false),
            ("name=='nightly | (missing + gone)'", true),
            ("name=='(nightly gone) + (missing old)'", true),
            ("name=='(nightly gone) + (missing)'", false),
            ("name=='-missing'", true),
            ("name=='-nightly'", false),
            ("name=='old + -nightly'", false),
            ("name=='old + -missing'", true),
            ("name=='old + -(missing gone)'", true),
            ("name=='--nightly'", true),
            // words in a row
            ("name=='\"of old vms\"'", true),
            ("name=='\"old of vms\"'", false),
            ("name=='\"of old vm\"'", false),
            ("name=='clean-up'", true),
            ("name=='up-clean'", false),
            ("name=='clean-u*'", true),
            ("description=='\"zürich by\"'", false),
            ("description=='ZÜRICH'", true),
            ("description=='shift'", false),
            // the attribute that stands for several
            ("fulltext=='nightly'", true),
            ("fulltext=='zürich'", true),
            ("fulltext=='removed'", true),
            ("fulltext=='nightly + removed'", true),
            ("fulltext=='failed'", false),
            ("fulltext='nightly'", false),
            // nothing to look for, and what does not close or open
            ("name==''", false),
            ("name==' - '", false),
            ("name=='()'", false),
            ("name=='nightly + ()'", true),
            ("name=='? nightly'", true),
            ("name=='((nightly'", true),
            ("name=='nightly))'", true),
            ("name==') missing'", false),
            ("name=='\"of old'", true),
        ],
    );
}

#[test]
fn a_thousand_parentheses_take_no_stack() {
    let query = format!("{}x", "(".repeat(MAXIMUM_WORDS - 1));
    check(&json!({"a": "x"}), &[(&format!("a=='{query}'"), true)]);
}
