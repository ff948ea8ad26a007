//! For each rule a good text and a bad one.

use super::super::{file, lines};
use super::*;

#[test]
fn files_have_at_most_500_lines_of_code() {
    let code = "let a = 1;\n".repeat(500);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"    let a = 1;\n".repeat(500) + "}\n";
    let good = "// a comment\n\n".to_owned() + &code + &tests;
    assert_eq!(file_length(&file("a.rs", &good)), []);
    // The two lines that name tests in another file are code, and so is what follows them.
    let bad = "#[cfg(test)]\nmod tests;\n".to_owned() + &"let a = 1;\n".repeat(499);
    assert_eq!(file_length(&file("a.rs", &bad)).len(), 1);
    for exempt in ["crates/a/tests/it/main.rs", "crates/a/src/b/tests.rs"] {
        assert_eq!(file_length(&file(exempt, &bad)), []);
    }
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
fn modules_have_one_form() {
    for good in ["crates/a/src/b.rs", "crates/a/src/b/tests.rs", "crates/a/src/b_tests/c.rs"] {
        assert_eq!(module_form(&file(good, "mod a;\n// #[path]\n")), [], "{good}");
    }
    for bad in ["crates/a/src/b/mod.rs", "crates/a/src/b_tests.rs"] {
        assert_eq!(lines(&module_form(&file(bad, ""))), [0], "{bad}");
    }
    let moved = concat!("mod a;\n#[", "path = \"c.rs\"]\nmod b;\n");
    assert_eq!(lines(&module_form(&file("crates/a/src/b.rs", moved))), [2]);
    assert_eq!(module_form(&file("crates/a/tests/b/mod.rs", moved)), []);
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
