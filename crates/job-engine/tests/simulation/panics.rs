//! Panics of the engine, in whatever task: a runtime swallows those of tasks that nobody waits for.

use std::cell::RefCell;
use std::sync::Once;

use crate::broken::Broken;

struct Watched {
    expected: bool,
    first: Option<String>,
}

thread_local! {
    // a seed is simulated on one thread
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

/// Forgets earlier panics on this thread and watches for the next. An engine that panics on purpose does so silently.
pub fn watch(broken: Broken) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let expected = WATCHED.with_borrow_mut(|watched| {
                let watched = watched.as_mut()?;
                watched.first.get_or_insert_with(|| panic.to_string().replace('\n', ": "));
                Some(watched.expected)
            });
            if expected != Some(true) {
                report(panic);
            }
        }));
    });
    let expected = broken == Broken::PanicsOnReset;
    WATCHED.set(Some(Watched { expected, first: None }));
}

/// The first panic since, with its place; watches no longer.
pub fn first() -> Option<String> {
    WATCHED.take()?.first
}
