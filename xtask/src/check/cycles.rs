//! No module uses a sibling that uses it: neither directly nor through others, at any level of any crate.
//!
//! A module stands for all that lies below it. That a child uses what its parent itself holds is no cycle. Only paths that
//! begin with `crate`, `self` or `super` can lead to a sibling. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Finding};

/// The names from the root of the crate.
type Module = Vec<String>;

/// One file's uses of other modules, and the modules of which it says that they are tests.
#[derive(Default)]
struct Uses {
    paths: Vec<Use>,
    tests: Vec<Module>,
}

struct Use {
    line: usize,
    from: Module,
    to: Module,
}

/// Where a module uses its sibling: place and line of the first time.
type Siblings<'a> = BTreeMap<(&'a str, &'a str), (&'a str, usize)>;

/// Every use of a sibling that is part of a cycle.
pub fn cycles(files: &[File]) -> Vec<Finding> {
    let mut crates: BTreeMap<&str, Vec<(&File, Module)>> = BTreeMap::new();
    for file in files {
        let Some((owner, inner)) = file.path.strip_suffix(".rs").and_then(|path| path.split_once("/src/")) else {
            continue;
        };
        let module = inner.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect();
        crates.entry(owner).or_default().push((file, module));
    }
    crates.iter().flat_map(|(owner, files)| in_crate(owner, files)).collect()
}

fn in_crate(owner: &str, files: &[(&File, Module)]) -> Vec<Finding> {
    let uses: Vec<(&File, Uses)> = files.iter().map(|(file, module)| (*file, uses(&file.text, module))).collect();
    let tests: Vec<&Module> = uses.iter().flat_map(|(_, uses)| &uses.tests).collect();
    let is_test = |module: &[String]| tests.iter().any(|tests| module.starts_with(tests));
    let known: BTreeSet<&[String]> = files.iter().map(|(_, module)| module.as_slice()).collect();
    let mut levels: BTreeMap<&[String], Siblings<'_>> = BTreeMap::new();
    for (file, uses) in &uses {
        for Use { line, from, to } in &uses.paths {
            let end = (0..=to.len()).rev().find(|end| known.contains(&to[..*end])).unwrap_or(0);
            let to = &to[..end];
            let same = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            if same < from.len() && same < to.len() && !is_test(from) && !is_test(to) {
                let level = levels.entry(&from[..same]).or_default();
                level.entry((&from[same], &to[same])).or_insert((&file.path, *line));
            }
        }
    }
    let owner = owner.rsplit('/').next().unwrap_or(owner);
    let name = |level: &[String]| [&[owner.to_owned()], level].concat().join("::");
    levels.iter().flat_map(|(level, siblings)| in_level(&name(level), siblings)).collect()
}

fn in_level(level: &str, siblings: &Siblings<'_>) -> Vec<Finding> {
    let reaches = |from: &str, to: &str| {
        let (mut met, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            if met.insert(module) {
                next.extend(siblings.keys().filter(|(from, _)| *from == module).map(|(_, to)| *to));
            }
        }
        met.contains(to)
    };
    let in_cycle = siblings.iter().filter(|((from, to), _)| reaches(to, from));
    in_cycle
        .map(|((from, to), (path, line))| {
            let what = format!(
                "{from} uses {to}, which leads back to {from} (in {level}): move what both need into a third module"
            );
            Finding::new(path, *line, what)
        })
        .collect()
}

/// What a file that is this module uses.
fn uses(text: &str, file: &[String]) -> Uses {
    let (tokens, mut uses) = (tokens(text), Uses::default());
    // modules that are written inside the file, and how deep in braces they begin
    let (mut module, mut inner, mut depth) = (file.to_vec(), Vec::new(), 0);
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| *word);
    let mut at = 0;
    while at < tokens.len() {
        if (0..7).map(|next| word(at + next)).eq(["#", "[", "cfg", "(", "test", ")", "]"]) {
            let end = item_end(at + 7, &word);
            uses.tests.extend((at..end).find(|at| word(*at) == "mod").map(|at| below(&module, word(at + 1))));
            at = end;
            continue;
        }
        match word(at) {
            "mod" if word(at + 2) == "{" => {
                inner.push(depth);
                module.push(word(at + 1).to_owned());
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inner.pop_if(|begin| *begin == depth).is_some() {
                    module.pop();
                }
            }
            root @ ("crate" | "self" | "super") if word(at + 1) == "::" && (at == 0 || word(at - 1) != "::") => {
                let start = if root == "crate" { Vec::new() } else { module.clone() };
                let mut paths = Vec::new();
                at = tree(at, start, &word, &mut paths);
                let line = |at: usize| tokens[at].0;
                uses.paths.extend(paths.into_iter().map(|(at, to)| Use { line: line(at), from: module.clone(), to }));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    uses
}

/// Reads a path, or a tree of paths, and answers what comes after it.
fn tree<'a>(
    mut at: usize,
    mut path: Module,
    word: &impl Fn(usize) -> &'a str,
    found: &mut Vec<(usize, Module)>,
) -> usize {
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while !matches!(word(at), "}" | "") {
                    at = tree(at, path.clone(), word, found);
                    while !matches!(word(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(word(at) == ",");
                }
                return at + 1;
            }
            "crate" | "self" => {}
            "super" => drop(path.pop()),
            name => path = below(&path, name),
        }
        if word(at + 1) != "::" || !(word(at + 2) == "{" || is_name(word(at + 2))) {
            found.push((at, path));
            return at + 1;
        }
        at += 2;
    }
}

/// Where the item ends that begins here: behind its `;` or its last `}`.
fn item_end<'a>(start: usize, word: &impl Fn(usize) -> &'a str) -> usize {
    let (mut at, mut depth) = (start, 0);
    loop {
        match word(at) {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        at += 1;
        if word(at - 1).is_empty() || (depth <= 0 && matches!(word(at - 1), ";" | "}")) {
            return at;
        }
    }
}

fn below(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs, each with its line. Comments and literals are left out.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let end = literal(rest).unwrap_or_else(|| {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
            let length = rest.find(|sign| !is_word(sign)).unwrap_or(rest.len()).max(length);
            if !first.is_whitespace() {
                tokens.push((line, &rest[..length]));
            }
            length
        });
        line += rest[..end].matches('\n').count();
        rest = &rest[end..];
    }
    tokens
}

/// The length of the comment, the string or the character that begins here.
fn literal(text: &str) -> Option<usize> {
    let until = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    let string = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - string.len();
    if let Some(raw) = string.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        return raw[hashes..]
            .starts_with('"')
            .then(|| until(prefix + 2 + hashes, &format!("\"{}", "#".repeat(hashes))));
    }
    let quote = string.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let mut signs = string.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            sign if sign == quote => return Some(prefix + at + 1),
            // a lifetime, and no character
            _ if quote == '\'' && !string[at + sign.len_utf8()..].starts_with('\'') && at == 1 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{file, lines};
    use super::*;

    fn project(files: &[(&str, &str)]) -> Vec<Finding> {
        cycles(&files.iter().map(|(path, text)| file(&format!("crates/x/src/{path}.rs"), text)).collect::<Vec<_>>())
    }

    /// Whether it matters in which way `a` uses `b`, if `b` uses `a`.
    fn is_cycle(text: &str) -> bool {
        !project(&[("lib", ""), ("a", text), ("a/inner", ""), ("b", "use crate::a::A;"), ("b/inner", "")]).is_empty()
    }

    #[test]
    fn every_way_to_use_a_sibling_is_seen() {
        let ways = [
            "use crate::b::B;",
            "use super::b;",
            "use super::b::*;",
            "use crate::{\n    c::C,\n    b::{self, B as D},\n};",
            "use crate::{c::{C, E}, b as d};",
            "use self::super::b;",
            "use {std::fmt, super::b::B};",
            "fn f() { crate::b::g(); }",
            "fn f() -> Vec<super::b::B> { Vec::<super::b::B>::new() }",
            "mod deep { fn f() { super::super::b::g::<u8>() } }",
            "mod deep {} fn f() { super::b::g() }",
            "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' || super::b::g() }",
            "const A: &str = r#\"\"\"#; use super::b::inner::B;",
        ];
        for way in ways {
            assert!(is_cycle(way), "{way}");
        }
    }

    #[test]
    fn what_is_no_use_of_a_sibling_is_none() {
        let others = [
            "",
            "use crate::B;",
            "use b::B;",
            "use self::inner::b;",
            "mod deep { use super::b; }",
            "// crate::b\n/* crate::b */ const A: (&str, &str) = (\"\\\"crate::b\", r\"\\\"); pub(crate) fn b() {}",
            "#[cfg(test)]\nuse super::b::B;",
            "#[cfg(test)]\nmod tests { use crate::b; }",
            "#[cfg(test)]\nfn f(a: [u8; 2]) { crate::b::g() }",
        ];
        for other in others {
            assert!(!is_cycle(other), "{other}");
        }
    }

    #[test]
    fn a_cycle_over_others_is_told_at_each_of_its_uses() {
        let findings = project(&[
            ("main", "mod a;"),
            ("a", "use crate::b::B;"),
            ("b", "mod deep;"),
            ("b/deep/deeper", "\nuse crate::c::C;"),
            ("c", "\n\nuse super::a;"),
            ("d", "use crate::{a, b, c};"),
        ]);
        assert_eq!(lines(&findings), [1, 2, 3]);
        assert!(findings[1].what.starts_with("b uses c, which leads back to b (in x)"), "{}", findings[1].what);
    }

    #[test]
    fn parents_and_children_are_no_siblings_and_siblings_lie_at_every_level() {
        let (parent, child) =
            ("mod c; mod d; pub use c::C; pub struct A;", "use super::{A, super::B}; use crate::a::A;");
        assert_eq!(project(&[("lib", "mod a; pub struct B;"), ("a", parent), ("a/c", child)]), []);
        let findings = project(&[("a", parent), ("a/c", "use super::d;"), ("a/d", "use crate::a::c::C;")]);
        assert!(findings.len() == 2 && findings[0].what.contains("(in x::a)"), "{findings:?}");
    }

    #[test]
    fn crates_are_apart_and_modules_of_tests_do_not_count() {
        let other = file("crates/y/src/b.rs", "use crate::a;");
        assert_eq!(cycles(&[file("crates/x/src/a.rs", "use crate::b;"), other]), []);
        let (tested, test) = ("#[cfg(test)]\nmod tests;", "use crate::b::B; use super::super::b;");
        assert_eq!(project(&[("a", tested), ("a/tests", test), ("b", "use crate::a;")]), []);
    }
}
