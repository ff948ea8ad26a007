//! `job-engine.toml(5)`: the manual page of the configuration file.

use roff::{Inline, Roff, bold, roman};
use slipstream_job_engine::internals::reference::{Entry, Table, tables};

/// In the language of `man`.
pub fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["JOB-ENGINE.TOML", "5", "", "", "SlipStream"]);
    page.control("SH", ["NAME"]);
    page.text([roman("job-engine.toml - options of the services and commands of slipstream-job")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in [
        "/etc/slipstream/job-engine.toml, and then the files *.toml in /etc/slipstream/job-engine.d in the order of their \
         names, hold options in TOML: the last value of a key counts. Flags count more, then environment variables, then \
         these files, then the defaults. An unknown key or an impossible value ends a service at its start with exit code 2; \
         all of them are told.",
        "A key is a flag of slipstream-job server, executor or distributor without its dashes. A value is a text, a number, \
         true or false; an option that may be repeated takes a list. A service may have options of [peers], [log] and [admin] \
         in its own table, where they count more.",
    ] {
        page.control("PP", []);
        page.text([roman(paragraph)]);
    }
    for Table { name, about, entries } in tables() {
        page.control("SH", [&*format!("[{name}]")]);
        page.text([roman(about)]);
        for entry in entries {
            page.control("TP", []);
            page.text([bold(&*entry.key)]);
            page.text(meaning(&entry));
        }
    }
    page.control("SH", ["[[distributor]]"]);
    page.text([roman("Each is a distributor; the comments in the file of the package explain its keys.")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("slipstream-job-config"), roman("(1), "), bold("slipstream-job-executor"), roman("(1)")]);
    page.render()
}

fn meaning(entry: &Entry) -> Vec<Inline> {
    let mut text = vec![roman(format!("{}.", entry.meaning.trim_end_matches('.')))];
    if !entry.default.is_empty() {
        text.push(roman(format!(" Default: {}.", entry.default)));
    }
    if let Some(variable) = &entry.variable {
        text.extend([roman(" Variable: "), bold(&**variable), roman(".")]);
    }
    text
}
