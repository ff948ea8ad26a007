//! [`Spinner`]: what whoever waits is shown of what takes longer than a second.

use std::pin::pin;
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep_until};

use super::terminal;

/// What is over within this shows nothing.
const QUIET: Duration = Duration::from_secs(1);
/// How often what is shown moves.
const TICK: Duration = Duration::from_millis(100);

/// A spinner or a bar on standard error from its second second on; nothing where that is no terminal.
pub struct Spinner {
    bar: ProgressBar,
    due: Instant,
}

/// Waits for the answer to a request.
pub async fn asking<T>(request: impl Future<Output = T>) -> T {
    Spinner::on("asking the server").during(request).await
}

impl Spinner {
    /// For one thing, e.g. `looking for jobs`.
    #[must_use]
    pub fn on(what: &'static str) -> Self {
        Self::new(ProgressBar::no_length(), "{spinner:.cyan} {msg} {elapsed:.dim}", what)
    }

    /// For `steps` things of a kind, e.g. `stopping`.
    #[must_use]
    pub fn bar(what: &'static str, steps: usize) -> Self {
        Self::new(ProgressBar::new(steps as u64), "{msg} {bar:24.cyan/dim} {pos} of {len} {elapsed:.dim}", what)
    }

    fn new(bar: ProgressBar, template: &str, what: &'static str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template).expect("the template is sound");
        bar.set_style(style.progress_chars("━━─"));
        bar.set_message(what);
        Self { bar, due: Instant::now() + QUIET }
    }

    /// Does the work, one step of it.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let done = tokio::select! {
            biased;
            done = &mut work => done,
            () = sleep_until(self.due) => {
                if self.bar.is_hidden() && terminal::can_redraw(&Term::stderr()) {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                    self.bar.enable_steady_tick(TICK);
                }
                work.await
            }
        };
        self.bar.inc(1);
        done
    }

    /// Prints something without getting into the way of what is shown.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_done_and_counted_however_long_it_takes() {
        let spinner = Spinner::bar("stopping", 3);
        for seconds in [0, 5, 0] {
            let work = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                seconds
            };
            assert_eq!(spinner.during(work).await, seconds);
        }
        assert_eq!(spinner.bar.position(), 3);
    }
}
