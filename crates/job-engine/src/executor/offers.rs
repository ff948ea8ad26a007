//! [`Offers`]: the actions that an executor has, and what it could not load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use slipstream_action::Catalogue;
pub use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Kind};
use slipstream_cimi::overview::executors::loaded::{Loaded, Source};
use tokio::sync::watch;

use super::host::{Command, Runner};
use super::load::provider::{CommandProvider, Terms};
use crate::programs::context::Context;

/// What an executor has. It changes while hosts say what they have.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// By name.
    pub actions: BTreeMap<String, Offer>,
    /// The names of those that are in this program, also of those whose place another has taken.
    pub built_in: BTreeSet<String>,
    /// What failed to load.
    pub failed: Vec<FailedToLoad>,
    /// How many hosts have said nothing yet, and have not failed: until then it is not known which actions there are.
    pub waiting: usize,
}

/// An action, and who does its jobs.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who does them.
    pub runner: Runner,
    /// How long a run may take.
    pub terms: Terms,
    /// Of which kind the code is.
    pub kind: Kind,
    /// Where it is from, unless it is in this very program.
    pub file: Option<PathBuf>,
}

/// The latest offers, as an executor looks at them. Clones see the same.
#[derive(Clone, Debug)]
pub struct Offered(watch::Receiver<Arc<Offers>>);

impl Offered {
    /// Those that are sent here.
    #[must_use]
    pub fn new(offers: watch::Receiver<Arc<Offers>>) -> Self {
        Self(offers)
    }

    /// The action of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Offer> {
        self.0.borrow().actions.get(name).cloned()
    }

    /// All of them, now.
    pub(crate) fn now(&self) -> Arc<Offers> {
        self.0.borrow().clone()
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().actions.keys().cloned().collect()
    }

    /// What there is once each host has said what it has, or has failed to, or once these are enough.
    pub(crate) async fn settled(&self, are_enough: impl Fn(&Offers) -> bool) -> Arc<Offers> {
        // who sends no more has said all
        drop(self.0.clone().wait_for(|offers| offers.waiting == 0 || are_enough(offers)).await);
        self.now()
    }

    /// Ends when there are others than those last looked at by this clone.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // nothing will be sent any more
            std::future::pending::<()>().await;
        }
    }
}

impl Offers {
    /// Actions that are in this program.
    #[must_use]
    pub fn native(catalogue: &Catalogue) -> Self {
        let offer = |name: &str| {
            let registered = catalogue.find(name)?;
            let terms = Terms { time_limit: registered.time_limit, ..Terms::default() };
            let runner = Runner::Native(registered.action.clone());
            Some((name.to_owned(), Offer { runner, terms, kind: Kind::Native, file: None }))
        };
        let built_in = catalogue.names().map(str::to_owned).collect();
        Self { actions: catalogue.names().filter_map(offer).collect(), built_in, failed: Vec::new(), waiting: 0 }
    }

    /// What the registry says of them.
    pub(crate) fn registered(&self) -> Loaded {
        let source = |(name, offer): (&String, &Offer)| {
            Some((name.clone(), Source { kind: offer.kind, file: offer.file.clone()? }))
        };
        Loaded::new(self.actions.iter().filter_map(source), &self.failed)
    }

    /// Adds a command, in the place of what is there under its name.
    pub fn add_command(&mut self, command: CommandProvider, context: &Arc<Context>) {
        let (name, terms) = (command.name.clone(), command.terms.clone());
        let (kind, file) = (Kind::Command, Some(command.program.file.clone()));
        let runner = Runner::Command(Arc::new(Command::new(command, context.clone())));
        self.actions.insert(name, Offer { runner, terms, kind, file });
    }
}

impl From<Catalogue> for Offered {
    fn from(catalogue: Catalogue) -> Self {
        Self(watch::channel(Arc::new(Offers::native(&catalogue))).1)
    }
}
