use serde_json::json;

use super::*;
use crate::config::{Config, DEFAULT_COLLECTIONS, Files};

const ONE: &str = "[[collection]]\nname = \"cloud\"\nindexed = [\"region\"]\n";

/// Reads these files in one folder, the first of which is the main one.
fn read(files: &[(&str, &str)]) -> (Collections, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("engine.d")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (config, faults) = Config::read(&Files::named(&folder.path().join("engine.toml")));
    let start = format!("{}/", folder.path().display());
    (config.collections, faults.iter().map(|fault| fault.to_string().replace(&start, "")).collect())
}

fn good(text: &str) -> Collections {
    let (collections, faults) = read(&[("engine.toml", text)]);
    assert_eq!(faults, [""; 0]);
    collections
}

#[test]
fn the_built_in_collections_are_those_of_the_original() {
    let names: Vec<&str> = good("").iter().map(|collection| collection.kind.name).collect();
    let expected = [
        "configuration",
        "connector",
        "credential",
        "deployment",
        "deployment-parameter",
        "event",
        "nuvlabox-record",
        "nuvlabox-state",
        "nuvlabox-state-snapshot",
        "quota",
        "service-offer",
        "storage-bucket",
        "virtual-machine",
    ];
    assert_eq!(names, expected);
    let collections = good("");
    assert!(collections.iter().all(|collection| collection.schema.is_none() && !collection.is_closed));
    assert_eq!(collections, crate::config::default_collections());
    assert_eq!(collections.get("credential").unwrap().indexed, ["type", "key", "connector/href"]);
}

/// What is commented out is right, too.
#[test]
fn the_examples_in_the_comments_can_be_used() {
    let keys = ["plural", "closed"];
    let example = |line: &str| {
        let example = line.strip_prefix("# ").filter(|rest| {
            rest.starts_with("schema = {") || keys.iter().any(|key| rest.starts_with(&format!("{key} =")))
        });
        example.unwrap_or(line).to_owned()
    };
    let text: Vec<String> = DEFAULT_COLLECTIONS.lines().map(example).collect();
    let collections = good(&text.join("\n"));
    let credential = collections.get("credential").unwrap();
    assert!(credential.schema.as_ref().unwrap().has_properties() && !credential.is_closed);
}

#[test]
fn a_written_collection_comes_beside_the_built_in_ones_and_may_replace_one() {
    let text = "[[collection]]\nname = \"user-param\"\nplural = \"userParam\"\nclosed = true\nusers-may-add = true\n\
                [collection.schema]\nproperties.paramsType = { type = \"string\" }\n";
    let collections = good(&format!("{text}{}", ONE.replace("cloud", "credential")));
    assert_eq!(collections.iter().count(), 14);
    let schema = Schema::new(json!({"properties": {"paramsType": {"type": "string"}}})).unwrap();
    let expected = Collection {
        kind: Kind::declared("user-param", Some("userParam")),
        indexed: Vec::new(),
        schema: Some(schema),
        is_closed: true,
        users_may_add: true,
    };
    assert_eq!(collections.get("user-param"), Some(&expected));
    let replaced = collections.get("credential").unwrap();
    assert_eq!((&*replaced.indexed, replaced.users_may_add), (&["region".to_owned()][..], false));
}

#[test]
fn a_later_file_counts_more_and_a_schema_lies_beside_the_file_that_names_it() {
    let schema = "schema = \"schemas.json\"\n";
    let (main, part) = (format!("{ONE}{schema}"), ONE.replace("region", "zone"));
    let (collections, faults) = read(&[("engine.toml", &main), ("engine.d/10.toml", &part)]);
    assert_eq!(faults, ["engine.toml:4: cannot read the schema schemas.json: No such file or directory (os error 2)"]);
    assert_eq!(collections.get("cloud").unwrap().indexed, ["zone"]);
    let part = format!("{ONE}{schema}");
    let files =
        [("engine.toml", ""), ("engine.d/10.toml", &*part), ("engine.d/schemas.json", r#"{"required": ["a"]}"#)];
    let (collections, faults) = read(&files);
    assert_eq!(faults, [""; 0]);
    let document = [("region".to_owned(), json!("a"))].into_iter().collect();
    assert_eq!(collections.get("cloud").unwrap().violations(&document).len(), 1);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let rows = [
        // what to put in place of what, line, part of the message
        ("name = \"cloud\"", "name = \"Cloud\"", 2, "`Cloud` is not the name of a collection"),
        ("name = \"cloud\"", "name = \"job\"", 2, "`job` is a name of the server itself, choose another"),
        ("name = \"cloud\"", "name = \"queue\"", 2, "`queue` is a name of the server itself"),
        ("name = \"cloud\"\n", "", 1, "missing field `name`"),
        ("name = \"cloud\"", "name = \"cloud\"\nplural = \"jobs\"", 3, "the server itself calls something `jobs`"),
        ("name = \"cloud\"", "name = \"cloud\"\nplural = \"a-b\"", 3, "`a-b` is not a plural"),
        (
            "name = \"cloud\"",
            "name = \"cloud\"\nplural = \"quotas\"",
            1,
            "`cloud` and `quota` would both be called `quotas`",
        ),
        ("name = \"cloud\"", "name = \"baseURI\"", 2, "is not the name of a collection"),
        ("\"region\"", "\"state\"", 3, "`state` has an index in every collection"),
        ("\"region\"", "\"expiry\"", 3, "or is a time, which none can have"),
        ("\"region\"", "\"a//b\"", 3, "`a//b` is not the path of an attribute"),
        ("[\"region\"]", "3", 3, "invalid type"),
        ("[\"region\"]", "[\"region\"]\nclosed = true", 4, "`closed` goes with a `schema`"),
        ("[\"region\"]", "[\"region\"]\nclosed = true\nschema = {}", 5, "names no attributes in `properties`"),
        (
            "[\"region\"]",
            "[\"region\"]\nschema = {type = \"text\"}",
            4,
            "the schema is no JSON Schema, mend it: at /type: ",
        ),
        ("[\"region\"]", "[\"region\"]\nschema = 3", 4, "a schema is the path of a file, or a table"),
        ("[\"region\"]", "[\"region\"]\nschema = \".\"", 4, "it is no regular file"),
        ("[\"region\"]", "[\"region\"]\nschema = \"engine.toml\"", 4, "it is no JSON"),
        (
            "[\"region\"]",
            "[\"region\"]\ncolour = 1",
            4,
            "unknown field `colour`, expected one of `name`, `plural`, `schema`",
        ),
        ("[[collection]]", "[collection]", 1, "write [[collection]]"),
        (ONE, &format!("{ONE}{ONE}"), 4, "there are two collections `cloud`, rename one"),
    ];
    for (what, instead, line, message) in rows {
        let (_, faults) = read(&[("engine.toml", &ONE.replace(what, instead))]);
        assert_eq!(faults.len(), 1, "{instead}: {faults:?}");
        assert!(faults[0].starts_with(&format!("engine.toml:{line}: ")), "{instead}: {faults:?}");
        assert!(faults[0].contains(message), "{instead}: {faults:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "[[collection]]\nname = \"job\"\nindexed = 1\ncolour = 1\n[[collection]]\nname = \"a\"\nschema = { type = 3 }\n";
    let (_, faults) = read(&[("engine.toml", text)]);
    let lines: Vec<&str> = faults.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["engine.toml:2", "engine.toml:3", "engine.toml:4", "engine.toml:7"]);
}

#[test]
fn what_costs_every_write_is_bounded() {
    let many: Vec<String> = (0..17).map(|number| format!("\"a{number}\"")).collect();
    let (_, faults) = read(&[("engine.toml", &ONE.replace("\"region\"", &many.join(", ")))]);
    assert_eq!(faults, ["engine.toml:1: 17 indexed attributes are too many, name 16 at most"]);
    good(&ONE.replace("\"region\"", &many[1..].join(", ")));
}
