//! What a program finds in its environment: nothing of the executor's own but what any program needs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::programs::program::Program;

/// What every program gets, if the executor has it.
const PASSED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];
/// Where programs are looked for if the executor has no `PATH`.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a program: what every one gets, what its manifest passes on and sets, and what `ours` says to it, which
/// nothing else can replace.
pub(crate) fn environment(
    program: &Program,
    executors: impl IntoIterator<Item = (OsString, OsString)>,
    ours: impl IntoIterator<Item = (&'static str, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut all = BTreeMap::from([(OsString::from("PATH"), OsString::from(DEFAULT_PATH))]);
    all.extend(executors.into_iter().filter(|(name, value)| !value.is_empty() && is_passed(name, &program.pass_env)));
    all.extend(program.env.iter().map(|(name, value)| (name.into(), value.into())));
    all.retain(|name, _| !is_ours(name));
    all.extend(ours.into_iter().map(|(name, value)| (name.into(), value)));
    all.into_iter().collect()
}

fn is_passed(name: &OsStr, wanted: &[String]) -> bool {
    let Some(name) = name.to_str() else { return false };
    PASSED.contains(&name) || name.starts_with("LC_") || wanted.iter().any(|wanted| wanted == name)
}

/// The executor's own settings are nobody else's, also if a manifest asks for them: passwords are among them.
pub(crate) fn is_ours(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name.starts_with("SLIPSTREAM_")
        || ["DAEMON_ARGS", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pass: &[&str], set: &[(&str, &str)], executors: &[&str]) -> Vec<String> {
        let program = Program {
            command: vec!["a".into()],
            file: "a".into(),
            env: set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            pass_env: pass.iter().map(|&name| name.to_owned()).collect(),
            limits: crate::programs::program::Limits::default(),
        };
        let executors = executors.iter().map(|&name| (OsString::from(name), OsString::from("theirs")));
        let all = environment(&program, executors, [("SLIPSTREAM_JOB", "job/1".into())]);
        all.into_iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
    }

    #[test]
    fn a_program_gets_what_any_needs_what_its_manifest_says_and_nothing_else() {
        let executors = ["HOME", "LC_ALL", "LD_PRELOAD", "AWS_SECRET", "WANTED", "SLIPSTREAM_JOB"];
        let expected = [
            "HOME=theirs",
            "LC_ALL=theirs",
            &format!("PATH={DEFAULT_PATH}"),
            "SET=1",
            "SLIPSTREAM_JOB=job/1",
            "WANTED=theirs",
        ];
        assert_eq!(names(&["WANTED", "MISSING"], &[("SET", "1")], &executors), expected);
        assert_eq!(
            names(&[], &[("PATH", "/opt/bin"), ("HOME", "/")], &["PATH", "HOME"]),
            ["HOME=/", "PATH=/opt/bin", "SLIPSTREAM_JOB=job/1"]
        );
    }

    #[test]
    fn the_executors_own_settings_are_passed_to_nobody() {
        let own = [
            "SLIPSTREAM_PASS",
            "SLIPSTREAM_PASS_FILE",
            "SLIPSTREAM_USER",
            "SLIPSTREAM_ZK_PASS",
            "SLIPSTREAM_SUPER_PASSWORD",
            "DAEMON_ARGS",
            "CREDENTIALS_DIRECTORY",
            "NOTIFY_SOCKET",
        ];
        let set: Vec<(&str, &str)> = own.iter().map(|&name| (name, "x")).collect();
        assert_eq!(names(&own, &set, &own), [format!("PATH={DEFAULT_PATH}"), "SLIPSTREAM_JOB=job/1".to_owned()]);
    }
}
