//! [`Providers`]: starts what folders offer, and keeps up to date what the executor has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use futures_util::future::{join_all, select_all};
use slipstream_action::Catalogue;
use slipstream_action::protocol::{Hello, Setup};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::host::pool::Known;
use super::host::{Pool, Runner};
use super::load::conflicts::{Claim, doubles};
use super::load::folders::{Found, read_folders};
use super::load::provider::{HostProvider, Own, Provider, Terms};
use super::load::settings::{Loading, Settings};
use super::offers::{FailedToLoad, Offer, Offered, Offers};
use crate::programs::context::Context;

/// All programs that do jobs of one executor. Dropped, their idle processes end.
pub struct Providers {
    pools: Vec<Arc<Pool>>,
    offered: Offered,
    _update: AbortOnDropHandle<()>,
}

impl Providers {
    /// Reads the folders and starts a process of each host; `package` is the folder in which the Python package lies. What is wrong with a file is said in the log, and in the offers.
    pub fn start(
        loading: &Loading,
        package: PathBuf,
        native: &Catalogue,
        context: &Arc<Context>,
        setup: &Setup,
    ) -> Self {
        let Found { providers, failed } = read_folders(&Settings::of(loading, package));
        let mut base = Base { offers: Offers::native(native), commands: Vec::new() };
        let mut hosts = Vec::new();
        for provider in providers {
            match provider {
                Provider::Command(command) => {
                    base.commands.push((command.name.clone(), command.program.file.clone()));
                    base.offers.add_command(command, context);
                }
                Provider::Host(provider) => {
                    let pool = Arc::new(Pool::start(provider.clone(), context.clone(), setup.clone()));
                    hosts.push(Host { provider, pool });
                }
            }
        }
        base.offers.failed = failed;
        let pools: Vec<Arc<Pool>> = hosts.iter().map(|host| host.pool.clone()).collect();
        let known: Vec<_> = pools.iter().map(|pool| pool.known()).collect();
        let (sender, receiver) = watch::channel(Arc::new(base.offers(&hosts, &known)));
        let update = tokio::spawn(keep_up_to_date(base, hosts, known, sender));
        Self { pools, offered: Offered::new(receiver), _update: AbortOnDropHandle::new(update) }
    }

    /// What there is, now and later.
    #[must_use]
    pub fn offered(&self) -> Offered {
        self.offered.clone()
    }

    /// Those of hosts, to be counted.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        Hosts(self.pools.iter().map(Arc::downgrade).collect())
    }

    /// Ends once each host has said what it has, or could not be started.
    pub async fn settled(&self) {
        self.offered.settled(|_| false).await;
    }

    /// Ends all processes.
    pub async fn stop(&self) {
        join_all(self.pools.iter().map(|pool| pool.stop())).await;
    }
}

/// The hosts of an executor, for as long as that has them.
#[derive(Clone, Debug)]
pub struct Hosts(Vec<Weak<Pool>>);

impl Hosts {
    /// How many processes they have now.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.0.iter().filter_map(Weak::upgrade).map(|pool| pool.processes()).sum()
    }
}

/// What does not change.
struct Base {
    /// What is in this program, the commands, and what failed to load of the folders.
    offers: Offers,
    /// The names of the commands, with the files that they are from.
    commands: Vec<(String, PathBuf)>,
}

struct Host {
    provider: HostProvider,
    pool: Arc<Pool>,
}

async fn keep_up_to_date(
    base: Base,
    hosts: Vec<Host>,
    mut known: Vec<watch::Receiver<Known>>,
    offers: watch::Sender<Arc<Offers>>,
) {
    let (mut failed, mut names): (Vec<FailedToLoad>, BTreeSet<String>) = Default::default();
    loop {
        let now = base.offers(&hosts, &known);
        now.failed.iter().filter(|one| !failed.contains(one)).for_each(say);
        for (name, offer) in now.actions.iter().filter(|(name, _)| !names.contains(*name)) {
            if let Some(file) = base.instead_of_native(name, offer) {
                info!(action = name, %file, "takes the place of the built-in action");
            }
        }
        names = now.actions.keys().cloned().collect();
        failed.clone_from(&now.failed);
        offers.send_replace(Arc::new(now));
        if known.is_empty() {
            return;
        }
        let changes = known.iter_mut().map(|known| Box::pin(known.changed()));
        // a pool keeps its sender
        drop(select_all(changes).await);
    }
}

impl Base {
    /// All that there is now: of two files that offer one action neither counts.
    fn offers(&self, hosts: &[Host], known: &[watch::Receiver<Known>]) -> Offers {
        let mut offers = self.offers.clone();
        let mut hosted: Vec<(String, Offer)> = Vec::new();
        for (host, known) in hosts.iter().zip(known) {
            let known = known.borrow();
            offers.waiting += usize::from(known.hello.is_none() && known.failure.is_none());
            if let Some(hello) = &known.hello {
                hosted.extend(host.offers(hello));
                offers.failed.extend(host.not_loaded(hello));
                offers.failed.extend(host.not_there(hello));
            }
            if let Some(reason) = &known.failure {
                let (file, line) = (host.file().to_owned(), host.provider.line);
                offers.failed.push(FailedToLoad { file, line, reason: reason.clone() });
            }
        }
        let files: Vec<(&str, PathBuf)> = hosted
            .iter()
            .map(|(name, offer)| (&**name, offer.file.clone().unwrap_or_default()))
            .chain(self.commands.iter().map(|(name, file)| (&**name, file.clone())))
            .collect();
        let claims: Vec<Claim<'_>> = files.iter().map(|(name, file)| Claim { name, file, line: None }).collect();
        let doubles = doubles(&claims);
        let twice: BTreeSet<String> = doubles.keys().map(|index| files[*index].0.to_owned()).collect();
        offers.failed.extend(doubles.into_values());
        offers.actions.extend(hosted);
        offers.actions.retain(|name, _| !twice.contains(name));
        offers
    }

    /// The file of an offer that has the name of a built-in action.
    fn instead_of_native(&self, name: &str, offer: &Offer) -> Option<String> {
        let is_built_in = self.offers.built_in.contains(name);
        offer.file.as_ref().filter(|_| is_built_in).map(|file| file.display().to_string())
    }
}

impl Host {
    /// The file that says what the program is.
    fn file(&self) -> &Path {
        &self.provider.program.file
    }

    fn offers(&self, hello: &Hello) -> Vec<(String, Offer)> {
        let offer = |action: &slipstream_action::protocol::Offered| {
            let own = self.provider.actions.get(&action.name);
            let terms: &Terms = own.map_or(&self.provider.terms, |own| &own.terms);
            let runner = Runner::Hosted(self.pool.clone());
            let file = Some(self.file_of(action.file.as_deref()));
            (action.name.clone(), Offer { runner, terms: terms.clone(), kind: self.provider.kind, file })
        };
        hello.actions.iter().map(offer).collect()
    }

    fn not_loaded<'a>(&'a self, hello: &'a Hello) -> impl Iterator<Item = FailedToLoad> + 'a {
        hello.failed.iter().map(|failed| {
            let (line, reason) = with_line(&failed.reason);
            FailedToLoad { file: self.file_of(Some(&failed.file)), line, reason: reason.to_owned() }
        })
    }

    /// What a manifest says of actions that the host does not have. If some failed to load, it may be of these.
    fn not_there<'a>(&'a self, hello: &'a Hello) -> impl Iterator<Item = FailedToLoad> + 'a {
        let is_there = |name: &str| !hello.failed.is_empty() || hello.actions.iter().any(|action| action.name == name);
        self.provider.actions.iter().filter(move |(name, _)| !is_there(name)).map(|(name, Own { file, line, .. })| {
            let reason = format!("`actions.{name}`: its host has no action of this name");
            FailedToLoad { file: file.clone(), line: Some(*line), reason }
        })
    }

    /// A file that the host names lies in its folder, if it is a folder.
    fn file_of(&self, named: Option<&str>) -> PathBuf {
        match named {
            Some(file) if self.file().is_dir() => self.file().join(file),
            Some(file) if Path::new(file).is_absolute() => PathBuf::from(file),
            _ => self.file().to_owned(),
        }
    }
}

/// The line that a host puts in front of a reason, as in `line 3: No module named 'libcloud'`.
fn with_line(reason: &str) -> (Option<usize>, &str) {
    let found = reason.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    let found = found.and_then(|(line, reason)| Some((line.parse().ok()?, reason)));
    found.map_or((None, reason), |(line, reason)| (Some(line), reason))
}

fn say(failed: &FailedToLoad) {
    let FailedToLoad { file, line, reason } = failed;
    error!(file = %file.display(), line, reason, "cannot load an action");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_host_says_is_one() {
        for (reason, expected) in [
            ("line 3: No module named 'libcloud'", (Some(3), "No module named 'libcloud'")),
            ("line x: what", (None, "line x: what")),
            ("it ends: here", (None, "it ends: here")),
        ] {
            assert_eq!(with_line(reason), expected);
        }
    }
}
