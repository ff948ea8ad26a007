//! [`Page`]: a page, and those of its parts that change while somebody looks at it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::StatusCode;
use maud::{Markup, html};

use crate::html::allowed;

/// A page without what all have in common.
pub struct Page {
    /// For the window, and in the head of the page.
    pub title: String,
    /// Where it belongs.
    pub tab: Tab,
    /// How it is answered.
    pub status: StatusCode,
    /// Its content, regions included.
    pub body: Markup,
    /// What of it changes, in the order of the page.
    pub regions: Vec<Region>,
    /// What stands above it.
    pub notices: Markup,
}

impl Page {
    /// Says something above all else, which changes as its regions do if it has any.
    pub fn add(&mut self, id: &'static str, notices: Markup) {
        if !self.regions.is_empty() {
            let text = allowed(notices.0.clone());
            self.regions.push(Region { id, content: Content::Whole(text) });
        }
        self.notices = notices;
    }
}

/// The pages that the menu leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Jobs,
    Queue,
    Actions,
    Distributors,
    Executors,
    Users,
    About,
    /// None of them.
    Other,
}

/// A part of a page that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The id of its element.
    pub id: &'static str,
    /// What is in it.
    pub content: Content,
}

/// What is in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// HTML.
    Whole(String),
    /// Rows, which keep their places on the page.
    Rows(Vec<Row>),
}

/// A row of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The id of its element.
    pub id: String,
    /// The element.
    pub html: String,
}

/// Takes down the regions of a page while it is written.
#[derive(Default)]
pub struct Regions(Vec<Region>);

impl Regions {
    /// A part of the page that is replaced as a whole.
    pub fn whole(&mut self, id: &'static str, content: Markup) -> Markup {
        let written = html! { div #(id) { (content) } };
        self.0.push(Region { id, content: Content::Whole(allowed(content.into_string())) });
        written
    }

    /// The rows of a table, by the ids of their elements.
    pub fn rows(&mut self, id: &'static str, rows: Vec<(String, Markup)>) -> Markup {
        let written = html! { tbody #(id) { @for (_, row) in &rows { (row) } } };
        let row = |(id, html): (String, Markup)| Row { id, html: allowed(html.into_string()) };
        self.0.push(Region { id, content: Content::Rows(rows.into_iter().map(row).collect()) });
        written
    }

    /// The page with these regions.
    pub fn page(self, title: impl Into<String>, tab: Tab, body: Markup) -> Page {
        Page { title: title.into(), tab, status: StatusCode::OK, body, regions: self.0, notices: html! {} }
    }
}

/// Tells one state of regions from another.
pub fn digest(regions: &[Region]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for region in regions {
        region.id.hash(&mut hasher);
        match &region.content {
            Content::Whole(html) => html.hash(&mut hasher),
            Content::Rows(rows) => rows.iter().for_each(|row| (&row.id, &row.html).hash(&mut hasher)),
        }
    }
    hasher.finish()
}
