//! Watches on servers before 3.6: child watches on a path and on its children. They say that something changed and not
//! what, so that each change is a `Reset`.

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::{FutureExt, select_all};
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, OneshotWatcher};

use super::watching::PAUSE;
use crate::session::Change;
use crate::teller::Teller;

/// Tells of each change by a `Reset`, until the reader or the session has gone. Sees creations and deletions of the
/// path and two levels below it, and the setting of the path's own data: all that queue and election look for.
pub(super) async fn tell_all(client: Weak<Client>, path: String, limit: Duration, mut teller: Teller) {
    loop {
        let set = timeout(limit, set_all(&client, &path)).await;
        let Ok(Some(watchers)) = set else {
            if teller.is_deaf() || client.upgrade().is_none_or(|client| client.state().is_terminated()) {
                return;
            }
            sleep(PAUSE).await;
            continue;
        };
        // what happened before the watches were set
        teller.tell(Change::Reset);
        let events = select_all(watchers.into_iter().map(|watcher| watcher.changed().boxed()));
        let event = tokio::select! {
            biased;
            () = teller.deaf() => return,
            (event, ..) = events => event,
        };
        if event.session_state.is_terminated() {
            return;
        }
    }
}

async fn set_all(client: &Weak<Client>, path: &str) -> Option<Vec<OneshotWatcher>> {
    let client = client.upgrade()?;
    let (_, own) = client.check_and_watch_stat(path).await.ok()?;
    let mut watchers = vec![own];
    if let Ok((children, below)) = client.list_and_watch_children(path).await {
        watchers.push(below);
        for child in children {
            if let Ok((_, watcher)) = client.list_and_watch_children(&format!("{path}/{child}")).await {
                watchers.push(watcher);
            }
        }
    }
    Some(watchers)
}
