//! Distributors: who adds jobs, and when.

use maud::{Markup, html};
use slipstream_cimi::overview::distributors::{Distributor, Distributors, PLACE};

use super::failure::Failure;
use super::{Asked, Done};
use crate::api::encoded;
use crate::filters;
use crate::page::{Page, Regions, Tab};
use crate::parts::{since, time};

/// All distributors.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let distributors: Distributors = asked.api.get(PLACE).await?;
    let mut regions = Regions::default();
    let none = html! { @if distributors.distributors.is_empty() { p.empty { "No distributor stands for election." } } };
    let body = html! {
        h1 { "Distributors" }
        div.scroll.card.flush tabindex="0" role="region" aria-label="Distributors" {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Schedule" } th scope="col" { "Leader" }
                    th scope="col" { "Last round" } th scope="col" { "Next round" } th scope="col" { "Problem" } } }
                (regions.rows("rows", distributors.distributors.iter().map(|one| row(asked.up, one)).collect()))
            }
        }
        (regions.whole("none", none))
    };
    Ok(regions.page("Distributors", Tab::Distributors, body))
}

fn row(up: &str, distributor: &Distributor) -> (String, Markup) {
    let id = format!("row-{}", distributor.name);
    let html = html! {
        tr id=(id) {
            th scope="row" { a href=(format!("{up}distributors/{}", encoded(&distributor.name))) { (distributor.name) } }
            td { (distributor.schedule.as_deref().unwrap_or("not known")) }
            td { (leader(distributor)) }
            td { @if let Some(last) = &distributor.last { (since(&last.to_string())) } }
            td { @if let Some(next) = &distributor.next { (time(&next.to_string())) } }
            td { (problem(distributor)) }
        }
    };
    (id, html)
}

fn leader(distributor: &Distributor) -> Markup {
    let others = distributor.candidates.len().saturating_sub(usize::from(distributor.leader.is_some()));
    html! {
        @if let Some(leader) = &distributor.leader { (leader) } @else { span.badge.attention { "nobody" } }
        @if others > 0 { " " span.muted { "and " (others) " more" } }
    }
}

fn problem(distributor: &Distributor) -> Markup {
    html! { @if let Some(problem) = &distributor.problem { span.attention { (problem) } } }
}

/// The distributor of this name.
pub async fn one(asked: &Asked<'_>, name: &str) -> Result<Page, Failure> {
    let distributors: Distributors = asked.api.get(PLACE).await?;
    let distributor = distributors.distributors.into_iter().find(|one| one.name == name).ok_or(Failure::NoPage)?;
    let up = asked.up;
    let jobs = format!("{up}jobs?filter={}", encoded(&filters::equals("action", name).to_string()));
    let mut regions = Regions::default();
    let facts = html! {
        dl.facts {
            dt { "Schedule" } dd { (distributor.schedule.as_deref().unwrap_or("not known")) }
            dt { "Leader" } dd { (leader(&distributor)) }
            dt { "Last round" } dd { @if let Some(last) = &distributor.last { (time(&last.to_string())) } @else { "none" } }
            dt { "Next round" } dd { @if let Some(next) = &distributor.next { (time(&next.to_string())) } @else { "not known" } }
            @if distributor.problem.is_some() { dt { "Problem" } dd { (problem(&distributor)) } }
            dt { "Candidates" } dd { ul.plain { @for candidate in &distributor.candidates { li { code { (candidate) } } } } }
        }
    };
    let body = html! {
        nav aria-label="Where" { a href=(format!("{up}distributors")) { "← Distributors" } }
        div.card {
            h1 { (distributor.name) }
            (regions.whole("facts", facts))
            div.deeds {
                a.button href=(jobs) { "Jobs of action " (distributor.name) }
                a.button href=(format!("{up}distributors/{}/reset", encoded(name))) { "Reset…" }
            }
        }
    };
    Ok(regions.page(format!("Distributor {name}"), Tab::Distributors, body))
}

/// Asks whether the mark is really to be made anew.
pub fn confirmation(asked: &Asked<'_>, name: &str) -> Page {
    let back = format!("{}distributors/{}", asked.up, encoded(name));
    let title = format!("Reset {name}?");
    let body = html! {
        form.card.narrow.login method="post" action=(format!("{back}/reset")) {
            h1 { (title) }
            p { "Its rounds count from now on: those that were missed until now are skipped, and none is repeated. For a high-water mark that is damaged or in the future." }
            div.deeds {
                button.primary type="submit" { "Reset" }
                a.button href=(back) { "Back" }
            }
        }
    };
    Regions::default().page(title, Tab::Distributors, body)
}

/// Makes it anew.
pub async fn reset(asked: &Asked<'_>, name: &str) -> Result<Done, Failure> {
    asked.api.post(&format!("{PLACE}/{name}/reset"), None::<&()>).await?;
    Ok(Done::To(format!("{}distributors/{}", asked.up, encoded(name))))
}
