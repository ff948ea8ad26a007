//! [`Clocks`]: the time of day on each machine, of which some may be wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use slipstream_job_engine::internals::process::Clock;

/// The clocks of all machines.
#[derive(Clone)]
pub struct Clocks {
    steady: Clock,
    shifts: Arc<Mutex<BTreeMap<String, SignedDuration>>>,
}

/// What all clocks are shifted by.
const ALL: &str = "";

impl Clocks {
    /// All show this time now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { steady: Clock::starting_at(start), shifts: Arc::default() }
    }

    /// Sets all clocks forward or back.
    pub fn jump(&self, by: SignedDuration) {
        let mut shifts = self.shifts.lock().expect("nothing panics while it shifts");
        *shifts.entry(ALL.to_owned()).or_default() += by;
    }

    /// The clock of this process is ahead of the others by so much from now on.
    pub fn set_ahead(&self, process: &str, by: SignedDuration) {
        self.shifts.lock().expect("nothing panics while it shifts").insert(process.to_owned(), by);
    }

    /// The clock of a machine that is right.
    pub fn right(&self) -> Clock {
        self.of(ALL)
    }

    /// The clock of the machine of a process.
    pub fn of(&self, process: &str) -> Clock {
        let (clocks, process) = (self.clone(), process.to_owned());
        Clock::showing(move || {
            let shifts = clocks.shifts.lock().expect("nothing panics while it shifts");
            let shift = |name: &str| shifts.get(name).copied().unwrap_or_default();
            let own = if process == ALL { SignedDuration::ZERO } else { shift(&process) };
            clocks.steady.now() + shift(ALL) + own
        })
    }
}
