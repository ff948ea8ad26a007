//! What kills explain: attempts that were lost or given back, and jobs that failed.

use jiff::Timestamp;
use slipstream_cimi::overview::ledger::{Attempt, Outcome};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    Executor,
    Keeper(Offerer),
    Program(Offerer),
}

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offerer {
    Command,
    RustHost,
    ClassFile,
}

/// That something was killed.
#[derive(Clone, Debug)]
pub struct Kill {
    pub victim: Victim,
    /// Whose it was, or which it was.
    pub executor: String,
    /// When it was certainly alive, and when it was certainly dead.
    pub from: Timestamp,
    pub until: Timestamp,
    /// The program that ended with it, if it had begun.
    pub program: Option<i32>,
    /// The job of a command.
    pub job: Option<String>,
}

/// What is known of a job in the end.
#[derive(Debug)]
pub struct Story {
    pub id: String,
    /// None for an action that is in the executor.
    pub offerer: Option<Offerer>,
    pub state: String,
    pub message: String,
    pub attempts: Vec<Attempt>,
    /// Processes in which its action began.
    pub began_in: Vec<i32>,
}

impl Story {
    /// What of it no kill explains.
    pub fn unexplained(&self, kills: &[Kill], most_lost: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some((last, earlier)) = self.attempts.split_last() else { return vec!["no attempt".to_owned()] };
        wrong.extend(earlier.iter().filter_map(|attempt| self.unexplained_attempt(attempt, kills)));
        let count_lost = self.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::Lost)).count();
        let is_explained = match &*self.state {
            "SUCCESS" => !self.began_in.is_empty() || self.offerer.is_none(),
            "FAILED" => count_lost >= most_lost || kills.iter().any(|kill| self.is_ended_by(kill, last)),
            _ => false,
        };
        if !is_explained {
            wrong.push(format!("{}: {}", self.state, self.message));
        }
        if last.outcome != Some(Outcome::Finished) && count_lost < most_lost {
            wrong.push(format!("the last attempt is {:?}", last.outcome));
        }
        if self.began_in.len() > self.attempts.len() {
            wrong.push(format!("begun {} times in {} attempts", self.began_in.len(), self.attempts.len()));
        }
        wrong
    }

    fn unexplained_attempt(&self, attempt: &Attempt, kills: &[Kill]) -> Option<String> {
        let mut kills = kills.iter().filter(|kill| kill.executor == attempt.executor);
        let is_explained = match attempt.outcome {
            // the claim went with the executor that had begun it
            Some(Outcome::Lost) => kills.any(|kill| kill.victim == Victim::Executor && attempt.begun <= kill.until),
            // what has just been killed may not have begun to work, or hold up the next start
            Some(Outcome::Released) => kills.any(|kill| {
                let (Victim::Keeper(whose) | Victim::Program(whose)) = kill.victim else { return false };
                Some(whose) == self.offerer && attempt.ended.is_some_and(|ended| kill.from <= ended)
            }),
            _ => false,
        };
        (!is_explained).then(|| format!("{attempt:?}"))
    }

    /// Whether its program was killed, or what kept that: a host perhaps just after it was given the job, which then has not
    /// begun to work.
    fn is_ended_by(&self, kill: &Kill, last: &Attempt) -> bool {
        let (Victim::Keeper(whose) | Victim::Program(whose)) = kill.victim else { return false };
        let is_its_own = kill.program.is_some_and(|program| self.began_in.contains(&program));
        let is_during = last.begun <= kill.until && last.ended.is_some_and(|ended| kill.from <= ended);
        let is_of_its_host = Some(whose) == self.offerer && kill.executor == last.executor && is_during;
        let is_this = is_its_own || is_of_its_host || kill.job.as_ref() == Some(&self.id);
        is_this && self.message.contains("killed by SIGKILL")
    }
}
