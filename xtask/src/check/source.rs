//! Rules over one Rust file.
//!
//! They rely on rustfmt, which is checked before them: an item ends at the first `}` that stands where it began.

use super::{File, Finding};

const FILE_LINES: usize = 500;
const TRAIT_METHODS: usize = 8;

/// Where the parts of the program live, and what each must not see: they meet at CIMI and at the queue.
const PARTS: [&str; 3] = ["server", "executor", "distributor"];
const PROGRAM: &str = "crates/job-engine/src/";

/// At most 500 lines of code, its tests aside; blank lines and comments are no code.
pub fn file_length(file: &File) -> Vec<Finding> {
    if is_test(&file.path) {
        return Vec::new();
    }
    let code = file.text.lines().take(code_end(&file.text)).filter(|line| is_code(line)).count();
    if code <= FILE_LINES {
        return Vec::new();
    }
    vec![Finding::new(&file.path, 0, format!("{code} lines of code, at most {FILE_LINES}: split it by topic"))]
}

/// At most eight methods in a trait.
pub fn trait_size(file: &File) -> Vec<Finding> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_item(line, "trait")) {
        let inner = indentation(line) + 4;
        let body = &lines[index..index + item_length(&lines[index..])];
        let methods = body.iter().filter(|line| indentation(line) == inner && is_function(line)).count();
        if methods > TRAIT_METHODS {
            let name = name(line, "trait");
            let what = format!("trait {name} has {methods} methods, at most {TRAIT_METHODS}: write the rest above it");
            findings.push(Finding::new(&file.path, index + 1, what));
        }
    }
    findings
}

/// One form of modules: `x.rs` with its children in `x/`, and its tests in `x/tests.rs`.
pub fn module_form(file: &File) -> Vec<Finding> {
    // the fuzz targets share a file with the tests of another package
    if !file.path.contains("/src/") || file.path.starts_with("fuzz/") {
        return Vec::new();
    }
    let of_file = [("/mod.rs", "call it like its folder, beside that"), ("_tests.rs", "call it x/tests.rs")];
    let of_file = of_file.into_iter().filter(|(end, _)| file.path.ends_with(end)).map(|(_, what)| (0, what));
    let moved = file.text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("#[path"));
    let moved = moved.map(|(index, _)| (index + 1, "a module in another place: put it where its name leads"));
    of_file.chain(moved).map(|(line, what)| Finding::new(&file.path, line, what)).collect()
}

/// Server, executor and distributor do not import each other.
pub fn module_layers(file: &File) -> Vec<Finding> {
    let Some(inner) = file.path.strip_prefix(PROGRAM) else { return Vec::new() };
    let Some(own) = PARTS.into_iter().find(|part| inner.starts_with(&format!("{part}/"))) else { return Vec::new() };
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_code(line)) {
        // A long group of imports goes on over several lines.
        let end = if line.ends_with("crate::{") { item_length(&lines[index..]) } else { 1 };
        let text = lines[index..index + end].concat();
        for other in PARTS.into_iter().filter(|part| *part != own && imports(&text, part)) {
            let what = format!("{own} sees {other}: let them meet at CIMI or at the queue, or move it to their parent");
            findings.push(Finding::new(&file.path, index + 1, what));
        }
    }
    findings
}

/// Whether this text names a module of the program, alone or in a group of imports.
fn imports(text: &str, module: &str) -> bool {
    let Some((_, after)) = text.split_once("crate::") else { return false };
    let begins = |text: &str| {
        text.trim_start()
            .strip_prefix(module)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    };
    match after.strip_prefix('{') {
        Some(group) => group.split(',').any(begins),
        None => text.split("crate::").skip(1).any(begins),
    }
}

/// Whether a whole file is tests.
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("/tests/") || path.starts_with("tests/") || name == "tests.rs"
}

/// The number of lines before the tests inside a file. A test module in a file of its own is only named here.
pub fn code_end(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |index: &usize| {
        lines[*index].starts_with("#[cfg(test)]") && lines.get(index + 1).is_some_and(|next| next.ends_with('{'))
    };
    (0..lines.len()).find(begins).unwrap_or(lines.len())
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_function(line: &str) -> bool {
    is_item(line, "fn")
}

/// Whether an item of this kind begins here: nothing but qualifiers stands before its keyword.
fn is_item(line: &str, keyword: &str) -> bool {
    let qualifier = |word: &&str| {
        matches!(*word, "async" | "const" | "default" | "extern" | "unsafe")
            || word.starts_with("pub")
            || word.starts_with('"')
    };
    line.split_whitespace().find(|word| !qualifier(word)) == Some(keyword)
}

/// The number of lines of the item that begins with the first one.
fn item_length(lines: &[&str]) -> usize {
    let margin = indentation(lines[0]);
    let mut opened = false;
    for (index, line) in lines.iter().enumerate() {
        let at_margin = indentation(line) == margin;
        let closes = at_margin && line.trim_start().starts_with('}');
        let on_one_line = index == 0 && line.ends_with('}');
        let without_body = !opened && line.ends_with(';');
        if closes || on_one_line || without_body {
            return index + 1;
        }
        opened |= line.ends_with('{');
    }
    lines.len()
}

/// The word after a keyword, for people.
fn name<'a>(line: &'a str, keyword: &str) -> &'a str {
    let rest = line.split_once(&format!("{keyword} ")).map_or(line, |(_, rest)| rest);
    rest.split(|next: char| !(next.is_alphanumeric() || next == '_')).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests;
