//! What filters mean (specification 4.4).

use super::*;

fn document() -> Value {
    json!({
        "state": "RUNNING", "text": "50", "empty": [], "nothing": null, "hollow": [null], "object": {"deep": {"er": 1}},
        "progress": 50, "returnCode": -3, "fraction": 0.5, "large": 18_446_744_073_709_551_615_u64,
        "yes": true, "no": false, "list": ["x", "y"], "umlaut": "ü",
        "created": "2026-01-01T12:00:00.000Z", "name": "2026-01-01T12:00:00.000Z",
        "targetResource": {"href": "vm/1"},
        "affectedResources": [{"href": "vm/1", "kind": "p"}, {"href": "vm/2", "kind": ["q", "r"]}, "vm/3"],
    })
}

#[test]
fn missing_values_and_lists_match_as_the_specification_says() {
    check(
        &document(),
        &[
            // missing, null, empty
            ("missing='x'", false),
            ("missing!='x'", true),
            ("missing<'x'", false),
            ("missing=null", true),
            ("missing!=null", false),
            ("nothing=null", true),
            ("nothing!=1", true),
            ("empty=null", true),
            ("empty!=null", false),
            ("empty!='x'", true),
            ("hollow=null", true),
            ("state=null", false),
            ("state!=null", true),
            ("list!=null", true),
            ("state/x=null", true),
            ("state/x!='y'", true),
            ("object!=null", true),
            ("object='x'", false),
            ("object!='x'", true),
            ("object/deep/er=1", true),
            // lists
            ("list='x'", true),
            ("list='y'", true),
            ("list='z'", false),
            ("list!='x'", false),
            ("list!='z'", true),
            ("list>'x'", true),
            ("list>'y'", false),
            ("affectedResources/href='vm/2'", true),
            ("affectedResources/href='vm/3'", false),
            ("affectedResources/kind='r'", true),
            ("affectedResources='vm/3'", true),
            ("affectedResources/href='vm/1' and affectedResources/kind='q'", true),
            ("affectedResources/href!='vm/2'", false),
            ("affectedResources/href!='vm/9'", true),
        ],
    );
}

#[test]
fn values_of_each_type_match_as_the_specification_says() {
    check(
        &document(),
        &[
            ("state='RUNNING'", true),
            ("state='running'", false),
            ("state=' RUNNING'", false),
            ("state<'S'", true),
            ("state<'RUNNING'", false),
            ("state<='RUNNING'", true),
            ("state>'RUNNING'", false),
            ("umlaut>'z'", true),
            ("targetResource/href='vm/1'", true),
            // numbers
            ("progress=50", true),
            ("progress!=50", false),
            ("progress>=50", true),
            ("progress>50", false),
            ("9<progress", true),
            ("progress<9", false),
            ("progress='50'", true),
            ("progress>'9'", true),
            ("progress='fifty'", false),
            ("progress!='fifty'", true),
            ("progress<'fifty'", false),
            ("progress<'NaN'", false),
            ("progress='50.0'", true),
            ("progress<'50.5'", true),
            ("returnCode='-3'", true),
            ("returnCode<0", true),
            ("fraction>0", true),
            ("fraction<1", true),
            ("fraction='0.5'", true),
            ("large=18446744073709551615", true),
            ("large=18446744073709551614", false),
            ("progress=true", false),
            ("progress!=true", true),
            // a number against a text compares as text
            ("text=50", true),
            ("text=050", true),
            ("text<6", true),
            ("text>6", false),
            ("state!=1", true),
            // booleans
            ("yes=true", true),
            ("yes='true'", true),
            ("yes='false'", false),
            ("no!=true", true),
            ("no<'true'", true),
            ("yes='yes'", false),
            ("yes!='yes'", true),
            ("yes=1", false),
            ("yes!=1", true),
            ("state=true", false),
            // a date is a text elsewhere
            ("name='2026-01-01T12:00:00Z'", false),
            ("name<'2026-01-01T12:30:00+01:00'", true),
            ("name^='2026-01-01'", true),
        ],
    );
}

#[test]
fn prefixes_match_as_the_specification_says() {
    check(
        &document(),
        &[
            ("state^='RUN'", true),
            ("'RUN'^=state", true),
            ("state^='RUNNING'", true),
            ("state^='RUNNINGS'", false),
            ("state^='run'", false),
            ("state^='UN'", false),
            ("state^=''", true),
            ("umlaut^='ü'", true),
            ("umlaut^='u'", false),
            ("missing^=''", false),
            ("nothing^=''", false),
            ("empty^=''", false),
            ("object^=''", false),
            ("list^='y'", true),
            ("affectedResources/href^='vm/'", true),
            ("affectedResources/href^='vm/3'", false),
            // numbers, booleans and dates have no beginning
            ("progress^='5'", false),
            ("yes^='t'", false),
            ("created^='2026'", false),
        ],
    );
}

#[test]
fn lists_match_as_the_specification_says() {
    check(
        &document(),
        &[
            ("state=['QUEUED','RUNNING']", true),
            ("['RUNNING']=state", true),
            ("state=['QUEUED']", false),
            ("state!=['QUEUED','RUNNING']", false),
            ("state!=['QUEUED']", true),
            ("['QUEUED']!=state", true),
            ("state=[]", false),
            ("state!=[]", true),
            ("missing=['x']", false),
            ("missing!=['x']", true),
            ("missing=[]", false),
            ("missing!=[]", true),
            ("list=['z','y']", true),
            ("list!=['z','y']", false),
            ("list!=['z']", true),
            ("progress=[1,50]", true),
            ("progress=['1','50.0']", true),
            ("progress=['many']", false),
            ("progress!=['many']", true),
            ("yes=[true]", true),
            ("yes=[false]", false),
            ("text=[50]", true),
            ("created=[2025-01-01,2026-01-01]", true),
            ("created!=['2025-01-01']", true),
            ("affectedResources/href=['vm/2']", true),
        ],
    );
}

#[test]
fn operands_may_be_the_other_way_round() {
    check(
        &document(),
        &[
            ("49<progress", true),
            ("50<progress", false),
            ("50<=progress", true),
            ("51>progress", true),
            ("50>progress", false),
            ("50>=progress", true),
            ("'RUNNING'=state", true),
            ("'RUNNING'!=state", false),
            ("null=state", false),
            ("null!=state", true),
            ("'running'==state", true),
            ("'2026-01-01'<created", false),
            ("'2026-01-01'<=created", true),
        ],
    );
}

#[test]
fn properties_are_found_by_their_keys() {
    let document = json!({"properties": {"x": "y", "x y": "z", "deep": {"er": 1}}});
    check(
        &document,
        &[
            ("property['x']='y'", true),
            ("property['x']!=null", true),
            ("property['x']='z'", false),
            ("property['missing']=null", true),
            ("property['x y']='z'", true),
            ("property['deep/er']=1", true),
            ("properties/x='y'", true),
        ],
    );
}

#[test]
fn and_binds_tighter_than_or() {
    check(
        &document(),
        &[
            ("state='RUNNING' and progress=1", false),
            ("state='RUNNING' or progress=1", true),
            ("progress=1 or progress=2", false),
            ("progress=50 or progress=1 and progress=2", true),
            ("(progress=50 or progress=1) and progress=2", false),
        ],
    );
}

#[test]
fn values_are_found_along_paths() {
    let Value::Object(document) = document() else { panic!("an object") };
    let found = |path: &str| {
        let values = values_at(&document, &Attribute(path.to_owned()));
        values.into_iter().cloned().collect::<Vec<Value>>()
    };
    assert_eq!(found("affectedResources/kind"), ["p", "q", "r"]);
    assert_eq!(found("list"), ["x", "y"]);
    assert_eq!(found("progress"), [50]);
    for path in ["missing", "nothing", "empty", "hollow", "state/x", ""] {
        assert_eq!(found(path), Vec::<Value>::new(), "{path}");
    }
}
