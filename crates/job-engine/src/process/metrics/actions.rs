//! [`ByAction`]: what is counted by action, of which there may be any number.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

/// So many actions are counted by name, those that come first; the others together.
const MOST: usize = 200;
/// What those are called.
const OTHER: &str = "other";

/// Something for each action, made when it is first needed.
pub(super) struct ByAction<T> {
    known: RwLock<HashMap<String, T>>,
    other: OnceLock<T>,
    make: Box<dyn Fn(&str) -> T + Send + Sync>,
}

impl<T> ByAction<T> {
    /// `make` is called with the value of the label.
    pub(super) fn new(make: impl Fn(&str) -> T + Send + Sync + 'static) -> Self {
        Self { known: RwLock::default(), other: OnceLock::new(), make: Box::new(make) }
    }

    /// Counts for this action.
    pub(super) fn count(&self, action: &str, count: impl FnOnce(&T)) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(action) {
            return count(known);
        }
        if known.len() >= MOST {
            return count(self.other.get_or_init(|| (self.make)(OTHER)));
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST {
            known.entry(action.to_owned()).or_insert_with(|| (self.make)(action));
        }
        drop(known);
        self.count(action, count);
    }
}
