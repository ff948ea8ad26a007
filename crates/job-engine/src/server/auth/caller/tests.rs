use serde_json::json;
use slipstream_cimi::acl::RIGHTS;

use super::*;

fn somebody(name: &str, roles: &[&str]) -> Caller {
    let session = Some("session/0a".to_owned());
    Caller::User { name: name.to_owned(), roles: roles.iter().map(|role| (*role).to_owned()).collect(), session }
}

fn names(principals: &BTreeSet<Principal>) -> Vec<String> {
    principals.iter().map(ToString::to_string).collect()
}

#[test]
fn everybody_is_anybody_and_a_session_is_a_role() {
    assert_eq!(names(&Caller::Anonymous.principals()), ["ROLE ANON"]);
    let jane = somebody("jane", &["USER", "ANON", "USER"]);
    assert_eq!(names(&jane.principals()), ["USER jane", "ROLE ANON", "ROLE USER", "ROLE session/0a"]);
    assert_eq!(names(&somebody("ADMIN", &[]).principals()), ["USER ADMIN", "ROLE ANON", "ROLE session/0a"]);
    assert!(!somebody("ADMIN", &["USER"]).is_administrator(), "a user's name is no role");
}

#[test]
fn the_eleven_rights_answer_two_questions() {
    let stored = |right: &str| {
        let rule = json!({"type": "ROLE", "principal": "developers", "right": right});
        json!({"acl": {"owner": {"type": "USER", "principal": "jane"}, "rules": [rule]}})
            .as_object()
            .cloned()
            .expect("an object")
            .into()
    };
    for right in RIGHTS {
        let document = stored(right);
        let (views, modifies) = match right {
            "VIEW" => (true, false),
            "MODIFY" | "ALL" => (true, true),
            _ => (false, false),
        };
        let developer = somebody("john", &["developers"]);
        assert_eq!((developer.may_view(&document), developer.may_modify(&document)), (views, modifies), "{right}");
        let owner = somebody("jane", &[]);
        assert!(owner.may_view(&document) && owner.may_modify(&document), "the owner has ALL");
        let stranger = somebody("developers", &["jane"]);
        assert!(!stranger.may_view(&document) && !stranger.may_modify(&document), "names and roles never mix");
        assert!(!Caller::Anonymous.may_view(&document));
        assert!(somebody("root", &["ADMIN"]).may_modify(&document));
    }
    assert!(!somebody("jane", &[]).may_view(&StoredDocument::default()), "without access control administrators alone");
    assert!(somebody("root", &["ADMIN"]).may_view(&StoredDocument::default()));
}

#[test]
fn only_administrators_search_without_being_asked_who_they_are() {
    assert_eq!(somebody("root", &["ADMIN"]).searches_as(), None);
    let jane = somebody("jane", &[]);
    assert_eq!(jane.searches_as(), Some(jane.principals().into_iter().collect()));
    for (caller, may) in [
        (Caller::Anonymous, false),
        (somebody("USER", &["ANON"]), false),
        (somebody("jane", &["USER"]), true),
        (somebody("root", &["ADMIN"]), true),
    ] {
        assert_eq!(caller.require_user().is_ok(), may, "{caller:?}");
    }
}
