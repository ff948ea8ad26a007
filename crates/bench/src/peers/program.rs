//! [`Program`]: a program that does what it is told with one product, and the protocol by which it is told.
//!
//! Every product has one, ours too (`ours.rs`), so that all are measured alike; those of the peers are in
//! `crates/bench/peers`. It is started with one argument, where its product keeps jobs: the URL of a database server, or
//! the path of our store. It reads one command a line and answers each with one line of JSON; what else it has to say
//! goes to standard error. It ends when it is told to, or when its input ends.
//!
//! | Command | What it does | Answer |
//! |---|---|---|
//! | `prepare` | removes all jobs that are there; tables are there afterwards | `{}` |
//! | `open N` | does what is done once before work begins, such as connecting; N submitters will add | `{"about": "versions and what they keep on disk"}` |
//! | `fill N` | queues N no-op jobs in the fastest way, untimed; they are on the disk afterwards | `{}` |
//! | `drain N` | starts workers; timed until the N jobs that wait are done and that is stored | `{"ns": …}` |
//! | `submit S N` | adds N jobs, one at a time by each of S submitters; timed from the first to the last answer | `{"ns": …}` |
//! | `bulk S N M` | adds N jobs in arrays of M, one array at a time by each of S submitters; timed likewise | `{"ns": …}`, or `{"missing": "why it cannot"}` |
//! | `pickup N` | starts workers; adds N jobs, each after the one before is done; times each from before the add to the start of its run | `{"each": [ns, …]}` |
//! | `count` | counts what is stored | `{"waiting": …, "done": …}`; no `done` if finished jobs are not kept |
//! | `end` | closes everything and ends | none |
//!
//! Times are nanoseconds of a monotonic clock. What fails is answered with `{"error": "what went wrong"}`. Every add is
//! answered once the job is as safe as the product's settings make it.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest wait for an answer: something is broken then.
const LIMIT: Duration = Duration::from_mins(20);
/// Longest wait for the end of a program that was told to end.
const END: Duration = Duration::from_mins(1);

/// An answer of a program.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
}

/// Answers each line of standard input until it ends, or says so.
pub async fn obey(mut answer: impl AsyncFnMut(&str) -> anyhow::Result<Answer>) -> anyhow::Result<()> {
    // blocks this thread alone: the engine's tasks have others
    for line in std::io::stdin().lines() {
        let line = line?;
        if line == "end" {
            break;
        }
        let answer = answer(&line).await;
        let answer = answer.unwrap_or_else(|error| Answer { error: Some(format!("{error:#}")), ..Answer::default() });
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

/// A program that runs. Killed when dropped.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it with what `command` holds.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", command.as_std().get_program().display()))?;
        let input = child.stdin.take().context("standard input is a pipe")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// None once it has ended.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Tells it one command and waits for the answer.
    pub async fn ask(&mut self, command: &str) -> anyhow::Result<Answer> {
        self.tell(command).await?;
        let line = tokio::time::timeout(LIMIT, self.output.next_line()).await;
        let line = line.with_context(|| format!("{command} was not answered"))??;
        let line = line.with_context(|| format!("the program ended at {command}"))?;
        let answer: Answer = serde_json::from_str(&line).with_context(|| format!("{command} was answered {line}"))?;
        if let Some(error) = answer.error {
            bail!("{command}: {error}");
        }
        Ok(answer)
    }

    async fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{command}\n").as_bytes()).await?)
    }

    /// Lets it end.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.tell("end").await?;
        let status = tokio::time::timeout(END, self.child.wait()).await.context("the program does not end")??;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }
}
