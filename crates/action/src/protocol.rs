//! The protocol between an executor and a host, a program that does one job after the other, in version 1:
//! `docs/action-host-protocol.md`. Both sides have their messages from here.
//!
//! Messages are lines of JSON, each an object with one member, which names the kind of message. Those to the host arrive at
//! its stdin, those from it leave by its file descriptor 3.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use slipstream_cimi::Document;

/// The version of the protocol that this is.
pub const VERSION: u32 = 1;

/// The longest line, in bytes, without its newline.
pub const LONGEST_LINE: usize = 1024 * 1024;

/// What an executor says to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToHost<J = Document> {
    /// The first line.
    Setup(Setup),
    /// A job to do. The next one comes after the `end` of this one.
    Run(Run<J>),
}

/// What a host says to its executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromHost {
    /// The first line.
    Hello(Hello),
    /// How far the job is.
    Report(Reported),
    /// The job has ended.
    End(End),
}

/// Whom the host works for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setup {
    /// The versions of the protocol that the executor speaks; the host chooses one.
    pub protocols: Vec<u32>,
    /// Name and version of the executor's program.
    #[serde(default)]
    pub engine: String,
    /// Name of the executor.
    #[serde(default)]
    pub executor: String,
    /// The server, as people write it. Requests go through the socket instead.
    #[serde(default)]
    pub url: String,
    /// Whether the server's certificate is not checked.
    #[serde(default)]
    pub insecure: bool,
    /// The dialect of the server's API: `slipstream` or `nuvla`.
    #[serde(default)]
    pub dialect: String,
    /// How many jobs the executor does at once, in all its processes together.
    #[serde(default)]
    pub threads: usize,
    /// Elasticsearch servers, as the executor was told: for actions that ask them directly.
    #[serde(default)]
    pub es_hosts: Vec<String>,
    /// Path of the Unix socket that takes requests to the API; none if the executor has no such socket.
    #[serde(default)]
    pub socket: Option<String>,
}

/// A job to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run<J = Document> {
    /// 1 for a process's first job, then 2, and so on.
    pub number: u64,
    /// The job's document as it was before this attempt, so that its state is QUEUED, or RUNNING if an attempt was lost.
    pub job: J,
    /// Whether an earlier attempt was lost.
    #[serde(default)]
    pub rerun: bool,
    /// When the job's time limit is over.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// Base of the API's URLs for this job, `http://<token>/api`. The token is the name of a host that only the socket knows.
    #[serde(default)]
    pub api: String,
    /// An empty folder for the job: the process's current directory as it starts, and its `TMPDIR`.
    #[serde(default)]
    pub directory: String,
}

/// Who the host is, and what it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hello {
    /// The version that the host chose.
    pub protocol: u32,
    /// Name and version of the program, for people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub program: String,
    /// The actions that it has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub actions: Vec<Offered>,
    /// What it could not load.
    #[serde(default, deserialize_with = "null_as_default")]
    pub failed: Vec<NotLoaded>,
    /// Whether it writes where its threads are to file descriptor 4 when it gets SIGUSR1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub stacks: bool,
}

/// An action that a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// The file that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The dialect that it is written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
}

/// A file that a host could not load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotLoaded {
    /// The file.
    pub file: String,
    /// Why, for people.
    pub reason: String,
}

/// How far a job is. What is missing stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reported {
    /// The job that is meant; without it the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Percent, 0 to 100. A fraction is cut off, and what is outside counts as 0 or 100.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "percent")]
    pub progress: Option<u8>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ids of documents that the job touched, beside those named before.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub affected: Vec<String>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct End {
    /// The job that is meant; without it the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// What becomes of the job.
    pub state: EndState,
    /// The job's return code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_code: Option<i64>,
    /// The job's last message, or why it is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether the process wants no further job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub retire: bool,
}

/// What becomes of a job that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EndState {
    /// It is SUCCESS.
    Success,
    /// It is FAILED.
    Failed,
    /// It is given back, and will be run again.
    Released,
    /// It stays as it is, and this attempt writes nothing: somebody else ends it.
    Left,
}

/// A message as a line, with its newline. Answers [`TooLong`] instead of a line that the other side would refuse.
pub fn line(message: &impl Serialize) -> Result<Vec<u8>, TooLong> {
    let mut line = serde_json::to_vec(message).expect("the keys of a message are texts");
    if line.len() > LONGEST_LINE {
        return Err(TooLong);
    }
    line.push(b'\n');
    Ok(line)
}

/// A line is longer than [`LONGEST_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {LONGEST_LINE} bytes")]
pub struct TooLong;

/// Makes lines of the bytes that arrive, and keeps little more than the longest line.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    begin: usize,
    /// Up to where there is no newline.
    searched: usize,
}

impl Lines {
    /// Takes over what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.begin > 0 && self.begin == self.bytes.len() {
            self.bytes.clear();
            (self.begin, self.searched) = (0, 0);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its newline, once it has arrived. After [`TooLong`] nothing is known of where lines begin.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let newline = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        let end = newline.unwrap_or(self.bytes.len());
        if end - self.begin > LONGEST_LINE {
            return Err(TooLong);
        }
        let Some(end) = newline else {
            self.bytes.drain(..self.begin);
            (self.begin, self.searched) = (0, self.bytes.len());
            return Ok(None);
        };
        let line = self.bytes[self.begin..end].to_vec();
        (self.begin, self.searched) = (end + 1, end + 1);
        Ok(Some(line))
    }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let number: Option<f64> = Option::deserialize(from)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 100")]
    Ok(number.map(|number| number.clamp(0.0, 100.0) as u8))
}
