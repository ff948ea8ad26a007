use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn create(path: &str) -> Operation {
    Operation::create(path, "", Mode::Persistent)
}

fn sequential(path: &str) -> Operation {
    Operation::create(path, "", Mode::PersistentSequential)
}

#[test]
fn a_refused_transaction_leaves_no_trace() {
    let mut tree = Tree::default();
    let session = tree.open();
    tree.apply(session, vec![create("/a"), Operation::create("/a/e", "x", Mode::Ephemeral), sequential("/a/s")])
        .unwrap();
    let operations = vec![
        Operation::delete("/a/e"),
        sequential("/a/s"),
        Operation::Set { path: "/a".into(), data: b"new".into(), version: Some(0) },
        Operation::create("/a/f", "", Mode::Ephemeral),
        Operation::delete("/a/none"),
    ];
    let error = tree.apply(session, operations).unwrap_err();
    assert_eq!(error, Error::Refused { path: "/a/none".into(), index: 4, cause: Cause::NoNode });
    assert_eq!(tree.zxid(), 1);
    assert_eq!(tree.children("/a").unwrap(), ["e", "s0000000001"]);
    assert_eq!(
        tree.data("/a/e").unwrap(),
        Node { data: b"x".into(), version: 0, created: 1, is_ephemeral: true, modified: None }
    );
    assert_eq!(
        tree.data("/a").unwrap(),
        Node { data: b"".into(), version: 0, created: 1, is_ephemeral: false, modified: None }
    );
    // neither the counter nor the owners moved
    let created = |path: &str| Change::Created(path.to_owned());
    assert_eq!(tree.apply(session, vec![sequential("/a/s")]).unwrap(), [created("/a/s0000000002")]);
    assert_eq!(tree.expire(session), [Change::Deleted("/a/e".into())]);
}

#[test]
fn sequences_go_on_at_the_negative_end() {
    let mut tree = Tree::default();
    let session = tree.open();
    tree.apply(session, vec![create("/a")]).unwrap();
    tree.lift_sequence("/a", i32::MAX).unwrap();
    let created = |path: &str| Change::Created(path.to_owned());
    let changes = tree.apply(session, vec![sequential("/a/"), sequential("/a/")]).unwrap();
    assert_eq!(changes, [created("/a/2147483647"), created("/a/-2147483648")]);
    tree.lift_sequence("/a", i32::MIN).unwrap();
    assert_eq!(tree.apply(session, vec![sequential("/a/")]).unwrap(), [created("/a/-2147483647")]);
}

#[test]
fn refusals_row_by_row() {
    let long = format!("/{}", "x".repeat(1024));
    let rows = [
        (create("/a"), Cause::NodeExists),
        (create("/"), Cause::NodeExists),
        (create("/none/b"), Cause::NoNode),
        (create("/e/b"), Cause::ParentIsEphemeral),
        (create("a"), Cause::BadPath),
        (create("/a/"), Cause::BadPath),
        (create("//a"), Cause::BadPath),
        (create("/a/./b"), Cause::BadPath),
        (create("/a/../b"), Cause::BadPath),
        (create("/a/\u{7}"), Cause::BadPath),
        (create("/a/\u{f8ff}"), Cause::BadPath),
        (create(""), Cause::BadPath),
        (create(&long), Cause::BadPath),
        (sequential("a"), Cause::BadPath),
        (Operation::create("/b", vec![0; DATA_LIMIT + 1], Mode::Persistent), Cause::TooLarge),
        (Operation::Set { path: "/a".into(), data: vec![0; DATA_LIMIT + 1], version: None }, Cause::TooLarge),
        (Operation::Set { path: "/none".into(), data: vec![], version: None }, Cause::NoNode),
        (Operation::Set { path: "/a".into(), data: vec![], version: Some(7) }, Cause::BadVersion),
        (Operation::Delete { path: "/a".into(), version: Some(7) }, Cause::BadVersion),
        (Operation::delete("/a"), Cause::NotEmpty),
        (Operation::delete("/none"), Cause::NoNode),
        (Operation::delete("x"), Cause::BadPath),
        (Operation::delete("e"), Cause::BadPath),
        (Operation::delete("a/child"), Cause::BadPath),
        (Operation::delete("/a//child"), Cause::BadPath),
        (Operation::delete("//e"), Cause::BadPath),
        (Operation::delete(""), Cause::BadPath),
        (Operation::Set { path: String::new(), data: vec![], version: None }, Cause::BadPath),
        (Operation::Set { path: "a".into(), data: vec![], version: None }, Cause::BadPath),
        (Operation::delete("/a/child/"), Cause::BadPath),
        (Operation::delete("/"), Cause::BadPath),
    ];
    for (operation, cause) in rows {
        let mut tree = Tree::default();
        let session = tree.open();
        let nodes = vec![create("/a"), create("/a/child"), Operation::create("/e", "", Mode::Ephemeral)];
        tree.apply(session, nodes).unwrap();
        let shown = format!("{operation:?}").chars().take(80).collect::<String>();
        assert!(tree.apply(session, vec![operation]).unwrap_err().is(cause), "{shown} should fail: {cause}");
        assert_eq!(tree.zxid(), 1);
    }
}

#[test]
fn data_at_the_limit_is_kept() {
    let mut tree = Tree::default();
    let session = tree.open();
    tree.apply(session, vec![Operation::create("/b", vec![0; DATA_LIMIT], Mode::Persistent)]).unwrap();
    assert_eq!(tree.data("/b").unwrap().data.len(), DATA_LIMIT);
}

/// The same rules, written without any thought of speed: a transaction works on a copy.
#[derive(Clone, Default)]
struct Model {
    nodes: BTreeMap<String, (Node, Option<SessionId>)>,
    counters: BTreeMap<String, i32>,
    zxid: i64,
}

impl Model {
    fn new() -> Self {
        let root = Node { data: vec![], version: 0, created: 0, is_ephemeral: false, modified: None };
        Self { nodes: [("/".to_owned(), (root, None))].into(), ..Self::default() }
    }

    fn parent(path: &str) -> String {
        let end = path.rfind('/').unwrap();
        if end == 0 { "/".to_owned() } else { path[..end].to_owned() }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let children = self.nodes.keys().filter(|child| child.len() > 1 && Self::parent(child) == path);
        children.map(|child| child.rsplit('/').next().unwrap().to_owned()).collect()
    }

    fn versioned(&mut self, path: &str, version: Option<i32>) -> Result<&mut Node, Cause> {
        let (node, _) = self.nodes.get_mut(path).ok_or(Cause::NoNode)?;
        if version.is_some_and(|version| version != node.version) { Err(Cause::BadVersion) } else { Ok(node) }
    }

    fn apply(&mut self, session: SessionId, operations: &[Operation]) -> Result<Vec<String>, (usize, Cause)> {
        let mut copy = self.clone();
        copy.zxid += 1;
        let paths = operations
            .iter()
            .enumerate()
            .map(|(index, operation)| copy.carry_out(session, operation).map_err(|cause| (index, cause)))
            .collect::<Result<_, _>>()?;
        *self = copy;
        Ok(paths)
    }

    fn carry_out(&mut self, session: SessionId, operation: &Operation) -> Result<String, Cause> {
        match operation.clone() {
            Operation::Create { path, data, mode } => {
                let parent = Self::parent(&path);
                let Some((_, owner)) = self.nodes.get(&parent) else { return Err(Cause::NoNode) };
                if owner.is_some() {
                    return Err(Cause::ParentIsEphemeral);
                }
                let counter = self.counters.entry(parent).or_default();
                let sequential = matches!(mode, Mode::PersistentSequential | Mode::EphemeralSequential);
                let path = if sequential { format!("{path}{counter:010}") } else { path };
                if self.nodes.contains_key(&path) {
                    return Err(Cause::NodeExists);
                }
                *counter += 1;
                let owner = matches!(mode, Mode::Ephemeral | Mode::EphemeralSequential).then_some(session);
                self.nodes.insert(
                    path.clone(),
                    (
                        Node { data, version: 0, created: self.zxid, is_ephemeral: owner.is_some(), modified: None },
                        owner,
                    ),
                );
                Ok(path)
            }
            Operation::Delete { path, version } => {
                self.versioned(&path, version)?;
                if !self.children(&path).is_empty() {
                    return Err(Cause::NotEmpty);
                }
                self.nodes.remove(&path);
                self.counters.remove(&path);
                Ok(path)
            }
            Operation::Set { path, data, version } => {
                let node = self.versioned(&path, version)?;
                node.data = data;
                node.version += 1;
                Ok(path)
            }
        }
    }

    fn expire(&mut self, session: SessionId) {
        self.nodes.retain(|_, (_, owner)| *owner != Some(session));
        self.zxid += 1;
    }
}

#[derive(Clone, Debug)]
enum Act {
    Apply(usize, Vec<Operation>),
    Expire(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let path = || prop::sample::select(vec!["/a", "/b", "/a/a", "/a/b", "/a/a/a", "/b/s"]).prop_map(str::to_owned);
    let mode = prop::sample::select(vec![
        Mode::Persistent,
        Mode::Persistent,
        Mode::PersistentSequential,
        Mode::Ephemeral,
        Mode::EphemeralSequential,
    ]);
    let version = || prop_oneof![3 => Just(None), 1 => (0..2i32).prop_map(Some)];
    let data = || vec(any::<u8>(), 0..3);
    let operation = prop_oneof![
        4 => (path(), data(), mode).prop_map(|(path, data, mode)| Operation::Create { path, data, mode }),
        2 => (path(), version()).prop_map(|(path, version)| Operation::Delete { path, version }),
        1 => (path(), data(), version()).prop_map(|(path, data, version)| Operation::Set { path, data, version }),
    ];
    prop_oneof![
        15 => (0..3usize, vec(operation, 1..5)).prop_map(|(session, operations)| Act::Apply(session, operations)),
        1 => (0..3usize).prop_map(Act::Expire),
    ]
}

proptest! {
    #[test]
    fn behaves_as_the_model(acts in vec(act(), 1..60)) {
        let (mut tree, mut model) = (Tree::default(), Model::new());
        let mut sessions = [(); 3].map(|()| tree.open());
        for act in acts {
            match act {
                Act::Apply(session, operations) => {
                    let expected = model.apply(sessions[session], &operations);
                    match tree.apply(sessions[session], operations) {
                        Ok(changes) => {
                            let paths = changes.into_iter().filter_map(Change::into_path).collect();
                            prop_assert_eq!(Ok(paths), expected);
                        }
                        Err(Error::Refused { index, cause, .. }) => prop_assert_eq!(Err((index, cause)), expected),
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                Act::Expire(session) => {
                    model.expire(sessions[session]);
                    tree.expire(sessions[session]);
                    prop_assert_eq!(tree.apply(sessions[session], vec![]), Err(Error::Expired));
                    sessions[session] = tree.open();
                }
            }
            prop_assert_eq!(tree.zxid(), model.zxid);
            for (path, (node, _)) in &model.nodes {
                prop_assert_eq!(&tree.data(path).unwrap(), node);
                prop_assert_eq!(tree.children(path).unwrap(), model.children(path));
            }
        }
    }
}
