//! [`Conversation`]: what a host may say when, and what that means for it and its job. Pure; the table "What goes wrong" of
//! `docs/action-host-protocol.md`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use slipstream_action::protocol::{End, EndState, FromHost, Hello, LONGEST_LINE, Reported, VERSION};
use slipstream_action::{Failure, JobHandle, Success};

use super::Outcome;
use crate::programs::lines::{self, NoMessage};
use crate::programs::process::Exit;

/// So many of the last lines of its log are in the message of a job whose program ended.
const LINES_IN_MESSAGE: usize = 5;
/// Longest of these lines, in characters.
const LONGEST_SHOWN: usize = 1000;

/// What has been said between an executor and one process of a host.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    phase: Phase,
    /// The last job that was given to the process; 0 before the first.
    number: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Idle,
    Working,
}

/// What a line means.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// The host is ready, and this is what it can do.
    Hello(Hello),
    /// Of the job under way.
    Reported(Reported),
    /// The job under way has ended.
    Ended(End),
    /// Of a job that has ended already, or of none: worth a line in the log.
    Late(&'static str),
}

impl Said {
    /// Whether it counts among the messages of which so many are read in a second. The end of a job does not: a host would be
    /// held to so many jobs.
    pub(super) fn is_beside_the_end(&self) -> bool {
        !matches!(self, Self::Ended(_))
    }
}

/// What a host may not do. Its process is killed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("a line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    #[error(transparent)]
    NoMessage(#[from] NoMessage),
    #[error("it speaks version {0} of the protocol, not {VERSION}")]
    Version(u32),
    #[error("it says something else before `hello`")]
    NoHello,
    #[error("it says `hello` twice")]
    SecondHello,
    #[error("it says `end` and has no job")]
    EndWithoutJob,
    #[error("it names job number {0}, which was not given to it")]
    UnknownNumber(u64),
}

/// Why a process does no more jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It ended by itself, or was killed by somebody else.
    Ended(Exit),
    /// It closed file descriptor 3 and was killed.
    Closed,
    /// It broke the protocol and was killed.
    Broke(Breach),
    /// It did not say hello in this time and was killed.
    Silent(Duration),
    /// It did not end its job in this time after SIGTERM and was killed.
    Unstoppable(Duration),
    /// It used more than it may, as said here, and was killed.
    Limit(String),
    /// It closed its standard input and was killed.
    Deaf,
    /// Nobody waits for its job, or for it, any more, and it was killed.
    Unwanted,
}

impl Conversation {
    /// The number of the next job.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// The next job is given to the process.
    pub(super) fn begin(&mut self) {
        self.number += 1;
        self.phase = Phase::Working;
    }

    /// The process says a line. `has_read` is asked about a message without a number: whether the process has begun to read
    /// the job under way. One that has not speaks of an earlier one.
    pub(super) fn said(&mut self, line: &[u8], has_read: impl FnOnce() -> bool) -> Result<Said, Breach> {
        let message: FromHost = lines::message(line)?;
        match (self.phase, message) {
            (Phase::Starting, FromHost::Hello(hello)) if hello.protocol == VERSION => {
                self.phase = Phase::Idle;
                Ok(Said::Hello(hello))
            }
            (Phase::Starting, FromHost::Hello(hello)) => Err(Breach::Version(hello.protocol)),
            (Phase::Starting, _) => Err(Breach::NoHello),
            (_, FromHost::Hello(_)) => Err(Breach::SecondHello),
            (_, FromHost::Report(report)) => Ok(if self.is_under_way(report.number, has_read)? {
                Said::Reported(report)
            } else {
                Said::Late("it reports of a job that has ended")
            }),
            (_, FromHost::End(end)) => {
                if self.is_under_way(end.number, has_read)? {
                    self.phase = Phase::Idle;
                    Ok(Said::Ended(end))
                } else if end.number.is_some() {
                    Ok(Said::Late("it ends a job that has ended"))
                } else {
                    Err(Breach::EndWithoutJob)
                }
            }
        }
    }

    /// Whether a message with this number is about the job under way; if not, about one that has ended.
    fn is_under_way(&self, number: Option<u64>, has_read: impl FnOnce() -> bool) -> Result<bool, Breach> {
        let is_working = self.phase == Phase::Working;
        match number {
            Some(number) if number > self.number => Err(Breach::UnknownNumber(number)),
            Some(number) => Ok(is_working && number == self.number),
            None => Ok(is_working && has_read()),
        }
    }
}

impl Gone {
    /// Why its job is FAILED; `log` has the last lines that it printed.
    pub(super) fn failure(&self, log: &[String]) -> Failure {
        let lines = match self {
            Self::Ended(_) | Self::Closed | Self::Limit(_) => log.len().min(LINES_IN_MESSAGE),
            Self::Broke(_) | Self::Silent(_) | Self::Unstoppable(_) | Self::Deaf | Self::Unwanted => 0,
        };
        Failure::new(with_log(self.to_string(), &log[log.len() - lines..]))
    }

    /// Why a process of this program is gone that has no job, with the last words of its log.
    pub(super) fn without_job(&self, program: &str, last_words: Option<&str>) -> String {
        let last: String = last_words.unwrap_or_default().chars().take(LONGEST_SHOWN).collect();
        let separator = if last.is_empty() { "" } else { ": " };
        format!("{program}: {self}{separator}{last}")
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(exit) => write!(formatter, "the program ended: {}", exit.in_words()),
            Self::Closed => formatter.write_str("the program closed file descriptor 3"),
            Self::Broke(breach) => write!(formatter, "broke the protocol: {breach}"),
            Self::Silent(limit) => write!(formatter, "the program did not say hello within {limit:?}"),
            Self::Unstoppable(grace) => write!(formatter, "the program was told to stop, and killed {grace:?} later"),
            Self::Limit(figure) => formatter.write_str(figure),
            Self::Deaf => formatter.write_str("the program does not read its jobs"),
            Self::Unwanted => formatter.write_str("nobody waits for it any more"),
        }
    }
}

fn with_log(mut text: String, log: &[String]) -> String {
    for line in log {
        text.push('\n');
        text.extend(line.chars().take(LONGEST_SHOWN));
    }
    text
}

/// What becomes of a job by what its host says in the end.
pub(super) fn outcome(end: End) -> Outcome {
    let End { state, return_code, message, .. } = end;
    match state {
        EndState::Success => Outcome::Ended(Ok(Success { return_code, message })),
        EndState::Failed => {
            let message = message.unwrap_or_else(|| "the action failed and does not say why".to_owned());
            Outcome::Ended(Err(Failure { message, return_code }))
        }
        EndState::Released => Outcome::Released(message.unwrap_or_else(|| "its action gave it back".to_owned())),
        EndState::Left => Outcome::Left,
    }
}

/// Merges a report into those of the job.
pub(super) fn report(job: &JobHandle, report: Reported) {
    if let Some(percent) = report.progress {
        job.set_progress(percent);
    }
    if let Some(message) = report.message {
        job.set_status_message(message);
    }
    for id in report.affected {
        job.add_affected_resource(id);
    }
}
