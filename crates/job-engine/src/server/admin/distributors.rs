//! `/api/distributor`: who distributes.

use std::collections::BTreeSet;

use slipstream_cimi::overview::distributors::{Distributor, Distributors, PLACE};
use slipstream_coordination::Contender;

use super::{View, identifiers};
use crate::process::paths;
use crate::process::registry::RegisteredDistributor;
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// How many elections are looked at.
const MOST_ELECTIONS: usize = 1_000;

/// Shows the distributors to administrators.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let uri = "http://sixsq.com/slipstream/1/DistributorCollection";
    Ok(View::answer(PLACE, uri, distributors(shared).await?))
}

pub(super) async fn distributors(shared: &Shared) -> Result<Distributors, ApiError> {
    let registered: Vec<(String, RegisteredDistributor)> = shared.queue.registered(paths::DISTRIBUTORS).await?;
    let elections = shared.queue.names_in(paths::ELECTION).await?;
    let known = registered.iter().filter_map(|(_, distributor)| distributor.election.clone());
    let mut distributors = Vec::new();
    for election in elections.into_iter().chain(known).collect::<BTreeSet<_>>().into_iter().take(MOST_ELECTIONS) {
        let path = format!("{}/{election}", paths::ELECTION);
        let contenders = shared.queue.candidates(&path).await?;
        let ours: Vec<&RegisteredDistributor> =
            registered.iter().map(|(_, ours)| ours).filter(|ours| ours.election.as_ref() == Some(&election)).collect();
        distributors.extend(in_election(&election, &contenders, &ours));
    }
    for (_, distributor) in registered.iter().filter(|(_, distributor)| distributor.election.is_none()) {
        add_unstarted(&mut distributors, distributor);
    }
    distributors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Distributors { count: distributors.len(), distributors })
}

/// The distributors of one election. What a leader says of its rounds counts as long as the election knows it as such.
fn in_election(election: &str, contenders: &[Contender], ours: &[&RegisteredDistributor]) -> Vec<Distributor> {
    let mut names: BTreeSet<&str> = ours.iter().map(|ours| ours.name.as_str()).collect();
    if names.is_empty() && !contenders.is_empty() {
        names.insert(election);
    }
    let candidates: Vec<String> = identifiers(contenders).collect();
    let blocking = contenders.iter().find(|contender| contender.is_stray).map(|contender| &contender.node);
    let blocked =
        blocking.map(|node| format!("{node} has no session, so it never goes away and blocks the election: delete it"));
    // one without a session leads nothing, and nobody else does while it is first
    let leader = candidates.first().cloned().filter(|_| !contenders[0].is_stray);
    let distributor = |name: &str| {
        let own = || ours.iter().copied().filter(|ours| ours.name == name);
        let leading = own().find(|ours| ours.term.is_some() && Some(&ours.candidate) == leader.as_ref());
        let term = leading.and_then(|leading| leading.term.clone()).unwrap_or_default();
        Distributor {
            name: name.to_owned(),
            election: election.to_owned(),
            schedule: leading.or_else(|| own().next()).map(|ours| ours.schedule.clone()),
            leader: leader.clone(),
            candidates: candidates.clone(),
            last: term.last,
            next: term.next,
            given_up: term.given_up,
            rounds: term.rounds,
            problem: blocked.clone().or_else(|| match leading {
                Some(leading) => leading.problem.clone(),
                None => own().find_map(|ours| ours.problem.clone()),
            }),
        }
    };
    names.into_iter().map(distributor).collect()
}

/// One whose script has not said in which election it stands, since it has not started. Where others of its name do, it is one
/// that could not take over from them.
fn add_unstarted(distributors: &mut Vec<Distributor>, ours: &RegisteredDistributor) {
    let same: Vec<&mut Distributor> = distributors.iter_mut().filter(|shown| shown.name == ours.name).collect();
    if same.is_empty() {
        distributors.push(Distributor {
            name: ours.name.clone(),
            election: String::new(),
            schedule: Some(ours.schedule.clone()),
            leader: None,
            candidates: Vec::new(),
            last: None,
            next: None,
            given_up: None,
            problem: ours.problem.clone(),
            rounds: Vec::new(),
        });
        return;
    }
    let Some(problem) = &ours.problem else { return };
    for shown in same {
        shown.problem.get_or_insert_with(|| format!("on {}: {problem}", ours.process.host));
    }
}

#[cfg(test)]
mod tests;
