//! Watches on servers before 3.6: child watches on a path and on its children. They say that something changed and not
//! what, so that each change is a `Reset`.

use std::sync::Weak;

use futures_util::future::{FutureExt, select_all};
use zookeeper_client::{Client, OneshotWatcher, SessionState};

use crate::session::Change;
use crate::teller::Teller;

/// Tells of each change by a `Reset`, until the reader or the session has gone. Sees creations and deletions of the
/// path and two levels below it, and the setting of the path's own data: all that queue and election look for.
pub(super) async fn tell_all(client: Weak<Client>, path: String, mut teller: Teller) {
    loop {
        let watchers = match set_all(&client, &path).await {
            Some(watchers) => watchers,
            None if client.upgrade().is_none_or(|client| client.state().is_terminated()) => return,
            None => match connected(&client).await {
                Some(()) => continue,
                None => return,
            },
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

/// Ends when the client is connected; none if it never will be.
async fn connected(client: &Weak<Client>) -> Option<()> {
    let mut states = client.upgrade()?.state_watcher();
    loop {
        let state = states.peek_state();
        if state == SessionState::SyncConnected {
            tokio::time::sleep(super::PATIENCE).await;
            return Some(());
        }
        if state.is_terminated() {
            return None;
        }
        states.changed().await;
    }
}
