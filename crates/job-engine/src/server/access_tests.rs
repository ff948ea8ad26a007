use super::*;

#[test]
fn the_administrator_rule_is_there_once() {
    let once = default_acl();
    assert_eq!(once["rules"].as_array().map(Vec::len), Some(1));
    assert_eq!(with_administrator_rule(once.clone()), once);
}

#[test]
fn broken_access_control_is_named() {
    let owner = json!({"type": "ROLE", "principal": "ADMIN"});
    let good = json!({"owner": owner, "rules": [{"type": "USER", "principal": "jane", "right": "VIEW"}]});
    assert_eq!(acl_violations(&good), Vec::<String>::new());
    for (bad, place) in [
        (json!("x"), "acl:"),
        (json!({}), "acl/owner:"),
        (json!({"owner": {"type": "GROUP", "principal": "x"}}), "acl/owner/type:"),
        (json!({"owner": {"type": "ROLE", "principal": " "}}), "acl/owner/principal:"),
        (json!({"owner": owner, "rules": []}), "acl/rules:"),
        (
            json!({"owner": owner, "rules": [{"type": "USER", "principal": "j", "right": "READ"}]}),
            "acl/rules/0/right:",
        ),
        (json!({"owner": owner, "rule": []}), "acl/rule:"),
    ] {
        let violations = acl_violations(&bad);
        assert!(violations.iter().any(|violation| violation.starts_with(place)), "{bad}: {violations:?}");
    }
}
