//! A process while it has a job.

use std::pin::pin;
use std::time::Duration;

use rustix::process::Signal;
use slipstream_action::protocol::End;
use tokio::time::Instant;

use super::{KILL_AGAIN, Member, gone_by};
use crate::executor::host::at;
use crate::executor::host::conversation::{self, Gone, Said};
use crate::executor::host::pool::Order;
use crate::programs::limits;
use crate::programs::process::{Event, Exit, Process};

/// How long a process may live on after it has closed descriptor 3.
const SILENT: Duration = Duration::from_secs(1);

/// How a process is done with a job.
pub(super) enum Followed {
    /// It says so; without `is_usable` it is to get no other.
    Ended { end: End, is_usable: bool },
    /// Nothing of it is left, for this reason.
    Gone(Gone),
    /// Nothing of it is left, and it has not read the job.
    NotTaken(Gone),
}

/// What happens to a process that has a job.
#[derive(Default)]
struct Fate {
    /// Why it was killed.
    killed: Option<Gone>,
    /// When it is to be killed, perhaps once more.
    kill_at: Option<Instant>,
    /// It was told to stop.
    is_stopped: bool,
}

impl Fate {
    fn kill(&mut self, process: &Process, why: Gone) {
        self.killed.get_or_insert(why);
        self.kill_at = Some(Instant::now() + KILL_AGAIN);
        process.signal(Signal::KILL);
    }

    /// What follows from how it went, and from whether it has begun to read its job. One that has not cannot have done any of it;
    /// what a job was stopped for, or is not waited for, is for whoever did that to say.
    fn followed(self, exit: Exit, has_read: bool) -> Followed {
        match self.killed.unwrap_or(Gone::Ended(exit)) {
            gone @ (Gone::Unstoppable(_) | Gone::Unwanted) => Followed::Gone(gone),
            gone if has_read => Followed::Gone(gone),
            gone => Followed::NotTaken(gone),
        }
    }
}

impl Member {
    /// Brings the job in, takes reports out and passes a stop on, until the process says `end` or is gone.
    pub(super) async fn follow(&mut self, order: &mut Order, line: &[u8]) -> Followed {
        self.conversation.begin();
        let keeper = self.process.keeper();
        let limits = self.pool.provider.program.limits.clone();
        let before = limits.cpu_time.map(|_| limits::usage(keeper).cpu_time).unwrap_or_default();
        let mut exceeded = pin!(limits::exceeded(keeper, &limits, before));
        let input = self.input.take().expect("one whose input has ended gets no job");
        let (mut fate, mut is_written) = (Fate::default(), false);
        let followed = {
            let (mut write, mut closed) = (pin!(input.write(line)), pin!(input.closed()));
            let (mut is_closed, mut silent_until) = (false, None);
            loop {
                let pause = self.throttle.pause();
                tokio::select! {
                    biased;
                    event = self.process.event(pause.is_none()) => match event {
                        Event::Line(said) => {
                            let has_read = || is_written && !input.holds(line);
                            if let Some(end) = self.heard(&said, has_read, order, &mut fate) {
                                break Ok(end);
                            }
                        }
                        Event::Breach(error) => fate.kill(&self.process, gone_by(&error)),
                        Event::Silent => silent_until = Some(Instant::now() + SILENT),
                        Event::Ended(exit) => break Err(exit),
                    },
                    written = &mut write, if !is_written && fate.killed.is_none() => match written {
                        Ok(()) => is_written = true,
                        Err(_) => fate.kill(&self.process, Gone::Deaf),
                    },
                    () = &mut closed, if is_written && !is_closed => {
                        is_closed = true;
                        // one that has read it may do without another
                        if input.holds(line) {
                            fate.kill(&self.process, Gone::Deaf);
                        }
                    }
                    () = at(pause) => {}
                    () = order.run.job.cancelled(), if !fate.is_stopped => {
                        fate.is_stopped = true;
                        fate.kill_at.get_or_insert(Instant::now() + order.run.stop_grace);
                        self.process.ask_to_stop();
                    }
                    () = order.reply.closed(), if fate.killed.is_none() => fate.kill(&self.process, Gone::Unwanted),
                    why = &mut exceeded, if fate.killed.is_none() => fate.kill(&self.process, Gone::Limit(why)),
                    () = at(silent_until) => {
                        silent_until = None;
                        fate.kill(&self.process, Gone::Closed);
                    }
                    () = at(fate.kill_at) => fate.kill(&self.process, Gone::Unstoppable(order.run.stop_grace)),
                }
            }
        };
        match followed {
            Ok(end) => {
                self.input = Some(input);
                Followed::Ended { end, is_usable: !fate.is_stopped && is_written }
            }
            Err(exit) => fate.followed(exit, is_written && !input.holds(line)),
        }
    }

    /// It says a line; answers the end of its job. `has_read` says whether it has begun to read that.
    fn heard(&mut self, line: &[u8], has_read: impl FnOnce() -> bool, order: &Order, fate: &mut Fate) -> Option<End> {
        if fate.killed.is_some() {
            return None;
        }
        let said = self.conversation.said(line, has_read);
        if said.as_ref().is_ok_and(Said::is_beside_the_end) {
            self.throttle.count();
        }
        match said {
            Ok(Said::Ended(end)) => return Some(end),
            Ok(Said::Reported(report)) => conversation::report(&order.run.job, report),
            Ok(Said::Late(what)) => self.tell_late(what),
            Ok(Said::Hello(_)) => unreachable!("it has a job"),
            Err(breach) => fate.kill(&self.process, Gone::Broke(breach)),
        }
        None
    }
}
