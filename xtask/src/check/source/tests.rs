//! For each rule a good text and a bad one.

use super::super::{file, lines};
use super::*;

fn function(length: usize) -> String {
    format!("fn long(\n    a: u8,\n) -> u8 {{\n{}}}\n", "    let b = { a };\n".repeat(length - 4))
}

#[test]
fn files_have_at_most_500_lines_of_code() {
    let code = "let a = 1;\n".repeat(500);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"    let a = 1;\n".repeat(500) + "}\n";
    let good = "// a comment\n\n".to_owned() + &code + &tests;
    assert_eq!(file_length(&file("a.rs", &good)), []);
    // The two lines that name tests in another file are code, and so is what follows them.
    let bad = "#[cfg(test)]\nmod tests;\n".to_owned() + &"let a = 1;\n".repeat(499);
    assert_eq!(file_length(&file("a.rs", &bad)).len(), 1);
    for exempt in ["crates/a/tests/it/main.rs", "crates/a/src/b/tests.rs", "crates/a/src/b_tests.rs"] {
        assert_eq!(file_length(&file(exempt, &bad)), []);
    }
}

#[test]
fn functions_have_at_most_70_lines() {
    assert_eq!(function_length(&file("a.rs", &(function(70) + &"word\n".repeat(80)))), []);
    let bad = "struct A;\n".to_owned() + &function(71);
    let findings = function_length(&file("a.rs", &bad));
    assert_eq!(lines(&findings), [2]);
    assert!(findings[0].what.starts_with("long has 71 lines"), "{}", findings[0].what);
}

#[test]
fn functions_end_where_they_end() {
    let many = "word\n".repeat(80);
    let good = "fn short() {}\n".to_owned() + &many + "fn declared(\n    a: u8,\n);\n" + &many;
    assert_eq!(function_length(&file("a.rs", &good)), []);
    let bad = "impl A {\n    pub(crate) async fn long() {\n".to_owned() + &"        b();\n".repeat(70) + "    }\n}\n";
    assert_eq!(lines(&function_length(&file("a.rs", &bad))), [2]);
}

#[test]
fn traits_have_at_most_eight_methods() {
    let of = |methods| {
        "pub trait Seam: Send {\n".to_owned() + &"    async fn call(&self);\n".repeat(methods) + "}\nfn free() {}\n"
    };
    assert_eq!(trait_size(&file("a.rs", &of(8))), []);
    assert_eq!(lines(&trait_size(&file("a.rs", &of(9)))), [1]);
}

#[test]
fn exceptions_have_reasons() {
    let good = "#[expect(dead_code, reason = \"as yet\")]\n#[expect(\n    dead_code,\n    reason = \"as yet\"\n)]\nfn a() {}\n";
    assert_eq!(reasons(&file("a.rs", good)), []);
    let bad = concat!("#![allow", "(dead_code)]\nfn a() {}\n    #[expect", "(\n    dead_code\n)]\n");
    assert_eq!(lines(&reasons(&file("a.rs", bad))), [1, 3]);
}

#[test]
fn parts_do_not_see_each_other() {
    let path = "crates/job-engine/src/executor/mod.rs";
    let good =
        "//! As crate::server does.\nuse crate::stop::Stop;\nuse crate::executor::verdict;\nuse crate::server_name;\n";
    assert_eq!(module_layers(&file(path, good)), []);
    let bad = "use crate::server::Jobs;\nuse crate::{clock, distributor::Marks};\nlet a = crate::server::b();\n\
        use crate::{\n    clock,\n    server::Jobs,\n};\n";
    assert_eq!(lines(&module_layers(&file(path, bad))), [1, 2, 3, 4]);
    assert_eq!(module_layers(&file("crates/job-engine/src/cli/up.rs", bad)), []);
}
