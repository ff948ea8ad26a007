//! What systemd hands to a service beside its options: folders of its own, and a password. It counts less than flags and
//! environment; the folders count less than files, too, as they are where the unit keeps things unless somebody says otherwise.

use std::path::PathBuf;

use super::{Chosen, Written, keys};
use crate::process::password_file::{CREDENTIALS, credential_in};

/// Folders of documents and of logs (`systemd.exec(5)`, `StateDirectory=` and `LogsDirectory=`).
const STATE: &str = "STATE_DIRECTORY";
const LOGS: &str = "LOGS_DIRECTORY";

/// What a service is handed, each with who says so.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    state: Option<(PathBuf, String)>,
    logs: Option<(PathBuf, String)>,
    /// The file with the password of `super`.
    pub credential: Option<(PathBuf, String)>,
}

impl Handed {
    /// What variables say, each with its place.
    pub fn by(variable: &dyn Fn(&str) -> Option<(String, String)>) -> Self {
        let folder = |name| {
            let (value, place) = variable(name)?;
            // systemd separates several by colons
            let first = std::env::split_paths(&value).find(|path| path.is_absolute())?;
            Some((first, place))
        };
        let credential = variable(CREDENTIALS).and_then(|(value, place)| Some((credential_in(value.as_ref())?, place)));
        Self { state: folder(STATE), logs: folder(LOGS), credential }
    }

    /// What this process is handed.
    pub fn of_process() -> Self {
        Self::by(&|name| Some((std::env::var(name).ok()?, name.to_owned())))
    }

    /// Adds it to what the files say for a service; `instance` is the distributor that it runs.
    pub fn add_to(
        &self,
        command: &[&str],
        instance: Option<&str>,
        said: &dyn Fn(&str) -> Option<String>,
        chosen: &mut Chosen,
    ) {
        let written = |path: &str, place: &str| Written { words: vec![path.to_owned()], place: place.to_owned() };
        let Some((service, _)) = keys::SERVICES.iter().find(|(service, _)| command == [*service]) else { return };
        if let (Some((folder, place)), "server") = (&self.state, *service) {
            let store = format!("sqlite:{}", folder.join("jobs.db").display());
            chosen.entry("store".to_owned()).or_insert_with(|| written(&store, place));
        }
        if let Some((folder, place)) = &self.logs {
            let name = [&[*service], instance.as_slice()].concat().join("_").replace('/', "_");
            let file = folder.join(format!("{name}.log")).display().to_string();
            chosen.entry("log-file".to_owned()).or_insert_with(|| written(&file, place));
        }
        let is_said = |id| said(id).is_some_and(|text: String| !text.is_empty());
        if let (Some((file, place)), false) = (&self.credential, *service == "server") {
            chosen.remove("ss-pass");
            chosen.remove("ss-pass-file");
            if !is_said("ss-pass") && !is_said("ss-pass-file") {
                chosen.insert("ss-pass-file".to_owned(), written(&file.display().to_string(), place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What counts for a service of its options, of what a unit hands over and of what files say.
    fn counting(command: &str, said: &[&str], files: &[(&str, &str)]) -> String {
        let variables = [(STATE, "/var/lib/a:/b"), (LOGS, "/var/log/a")];
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let handed = Handed::by(&|name| find(name).map(|(name, value)| ((*value).to_owned(), (*name).to_owned())));
        let handed = Handed { credential: Some((PathBuf::from("/run/c/super"), "unit".to_owned())), ..handed };
        let file = |(id, value): &(&str, &str)| {
            ((*id).to_owned(), Written { words: vec![(*value).to_owned()], place: "file".to_owned() })
        };
        let mut chosen: Chosen = files.iter().map(file).collect();
        let (command, instance) = command.split_once(' ').map_or((command, None), |(one, two)| (one, Some(two)));
        handed.add_to(&[command], instance, &|id| said.contains(&id).then(|| "x".to_owned()), &mut chosen);
        chosen.iter().map(|(id, written)| format!("{id}={}", written.words[0])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn folders_of_a_unit_count_less_than_files_and_its_credential_more() {
        for (command, said, files, expected) in [
            ("server", &[][..], &[][..], "log-file=/var/log/a/server.log store=sqlite:/var/lib/a/jobs.db"),
            ("server", &[], &[("store", "s"), ("log-file", "l")], "log-file=l store=s"),
            ("executor", &[], &[], "log-file=/var/log/a/executor.log ss-pass-file=/run/c/super"),
            ("executor", &[], &[("ss-pass-file", "p"), ("log-file", "")], "log-file= ss-pass-file=/run/c/super"),
            ("executor", &["ss-pass"], &[("ss-pass-file", "p"), ("log-file", "")], "log-file="),
            ("distributor a/b", &["ss-pass-file"], &[], "log-file=/var/log/a/distributor_a_b.log"),
            ("queue", &[], &[("ss-pass-file", "p")], "ss-pass-file=p"),
            ("up", &[], &[], ""),
        ] {
            assert_eq!(counting(command, said, files), expected, "{command} {said:?} {files:?}");
        }
    }
}
