//! Watches on servers before 3.6: child watches on a path and on its children. They say that something changed and not
//! what, so that each change is a `Reset`.

use std::time::Duration;

use futures_util::future::{FutureExt, select_all};
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, OneshotWatcher};

use super::Current;
use super::watching::{PAUSE, living};
use crate::session::Change;
use crate::teller::Teller;

/// Tells of each change by a `Reset`, until the reader or the session has gone. Sees creations and deletions of the
/// path and two levels below it, and the setting of the path's own data: all that queue and election look for.
pub(super) async fn tell_all(mut current: Current, path: String, limit: Duration, mut teller: Teller) {
    let mut over = current.clone();
    loop {
        let set = tokio::select! {
            biased;
            () = teller.deaf() => return,
            _ = over.wait_for(Option::is_none) => return,
            set = set_all(&mut current, &path, limit) => set,
        };
        let Some(watchers) = set else { return };
        if watchers.is_empty() {
            sleep(PAUSE).await;
            continue;
        }
        // what happened before the watches were set
        teller.tell(Change::Reset);
        let events = select_all(watchers.into_iter().map(|watcher| watcher.changed().boxed()));
        tokio::select! {
            biased;
            () = teller.deaf() => return,
            _ = over.wait_for(Option::is_none) => return,
            _ = events => {}
        }
    }
}

/// None once the session is over, and an empty list if it could not be done now.
async fn set_all(current: &mut Current, path: &str, limit: Duration) -> Option<Vec<OneshotWatcher>> {
    let client = living(current).await?;
    Some(timeout(limit, set_each(&client, path)).await.ok().flatten().unwrap_or_default())
}

async fn set_each(client: &Client, path: &str) -> Option<Vec<OneshotWatcher>> {
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
