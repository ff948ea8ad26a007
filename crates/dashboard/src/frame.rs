//! What all pages have in common: head, menu, messages, keys.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::api::Who;
use crate::assets;
use crate::html::allowed;
use crate::page::{Page, Tab, digest};
use crate::request::Look;

/// In front of the name: three lines that close up behind a point.
const LOGO: PreEscaped<&str> = PreEscaped(
    r#"<svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true"><path d="M3 8h9c6 0 8 8 13 8M3 16h22M3 24h9c6 0 8-8 13-8"></path><circle cx="27" cy="16" r="2.5"></circle></svg>"#,
);

/// What the frame of a page is made from.
pub struct Frame<'a> {
    /// The way up to where all pages are.
    pub up: &'a str,
    /// How it is to look.
    pub look: Look,
    /// Who looks at it.
    pub who: Option<&'a Who>,
    /// The page's path below `/ui/`, with its query.
    pub target: &'a str,
}

/// An entry of the menu: its page, its name, the key that leads to it after `g`, and whether it is for administrators.
struct Entry(Tab, &'static str, &'static str, char, bool);

const MENU: [Entry; 8] = [
    Entry(Tab::Overview, "", "Overview", 'o', false),
    Entry(Tab::Jobs, "jobs", "Jobs", 'j', false),
    Entry(Tab::Queue, "queue", "Queue", 'q', true),
    Entry(Tab::Actions, "actions", "Actions", 'a', true),
    Entry(Tab::Distributors, "distributors", "Distributors", 'd', true),
    Entry(Tab::Executors, "executors", "Executors", 'e', true),
    Entry(Tab::Users, "users", "Users", 'u', true),
    Entry(Tab::About, "about", "About", 'b', true),
];

/// The keys that pages know, for people.
const KEYS: [(&str, &str); 6] = [
    ("/", "to the filter"),
    ("j, k", "next row, row before"),
    ("Enter", "open the row"),
    (".", "show what is new"),
    ("p", "pause updates, or go on"),
    ("?", "this list"),
];

/// A whole page.
pub fn whole(frame: &Frame, page: &Page) -> String {
    let Frame { up, look, who, target } = frame;
    let asset = |name: &str| format!("{up}assets/{name}");
    let is_live = who.is_some() && !page.regions.is_empty();
    // the first page has no name; its parts go on after a question mark
    let target = if target.is_empty() { "?" } else { target };
    let (live, state) = (is_live.then_some(target), is_live.then(|| format!("{:016x}", digest(&page.regions))));
    let written = html! {
        (DOCTYPE)
        html lang="en" data-look=(look.as_str()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · SlipStream" }
                link rel="icon" type="image/svg+xml" href=(asset(assets::logo()));
                link rel="stylesheet" href=(asset(assets::style()));
                script type="module" src=(asset(assets::script())) {}
            }
            body data-up=(up) data-live=[live] data-state=[state] {
                a.skip href="#main" { "Skip to content" }
                (head(frame, page))
                div #banners role="status" {}
                div #notices role="status" { (page.notices) }
                main #main tabindex="-1" { (page.body) }
                @if who.is_some() { (keys()) }
            }
        }
    };
    allowed(written.into_string())
}

fn head(frame: &Frame, page: &Page) -> Markup {
    let Frame { up, look, who, target } = frame;
    html! {
        header.top {
            a.brand href=(up) { (LOGO) "SlipStream" }
            @if let Some(who) = who {
                nav aria-label="Pages" {
                    @for Entry(tab, path, name, key, is_for_administrators) in MENU {
                        @if who.is_administrator || !is_for_administrators {
                            a #(format!("to-{key}")) href=(format!("{up}{path}"))
                                aria-current=[(tab == page.tab).then_some("page")] { (name) }
                        }
                    }
                }
                @if !page.regions.is_empty() {
                    button #pause type="button" hidden aria-pressed="false" { "Pause updates" }
                }
                details.user {
                    summary { (who.name) }
                    div.menu {
                        form method="post" action=(format!("{up}look")) {
                            input type="hidden" name="next" value=(target);
                            fieldset {
                                legend { "Look" }
                                @for (value, name) in [(Look::System, "As the system"), (Look::Light, "Light"), (Look::Dark, "Dark")] {
                                    button type="submit" name="look" value=(value.as_str())
                                        aria-pressed=((value == *look).to_string()) { (name) }
                                }
                            }
                        }
                        a href=(format!("{up}sessions")) { "Sessions" }
                        @if who.session.is_some() {
                            form method="post" action=(format!("{up}logout")) { button type="submit" { "Log out" } }
                        }
                    }
                }
            }
        }
    }
}

/// The list of keys, which the script shows.
fn keys() -> Markup {
    html! {
        dialog #keys aria-label="Keys" {
            h2 { "Keys" }
            dl.keys {
                @for Entry(_, _, name, key, _) in MENU {
                    dt { kbd { "g" } " " kbd { (key) } }
                    dd { (name) }
                }
                @for (key, what) in KEYS {
                    dt { kbd { (key) } }
                    dd { (what) }
                }
            }
            form method="dialog" { button type="submit" { "Close" } }
        }
    }
}
