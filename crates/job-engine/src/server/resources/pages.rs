//! How what a search found is written: at once if it is short, else piece by piece as the client takes it, so that no
//! answer is in memory as a whole.

use std::io;
use std::sync::Arc;

use futures_util::stream;
use slipstream_action::with_causes;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::Kind;
use slipstream_store::{Query, Record, Store, StoreError, StoreExt};

use super::search::Found;
use crate::server::http::body::{self, Body};
use crate::server::http::shares::Held;

/// A page ends with the document with which it gets longer than this, in bytes.
pub const LONGEST_PAGE: usize = 64 * 1024 * 1024;
/// What is sent of it together, unless one document is longer.
const PIECE: usize = 64 * 1024;

/// The body of the answer: the members of `head`, the list of documents, the members of `tail`, and `next` where more
/// documents follow.
pub fn body(
    store: Arc<dyn Store>,
    kind: Kind,
    (head, tail): (&Document, Document),
    found: Found,
    present: impl Fn(Record) -> Document + Send + 'static,
) -> Body {
    let Found { stored: slipstream_store::Found { records, rest, more, .. }, query, mut share } = found;
    let mut text = serde_json::to_vec(head).expect("a document has texts as keys");
    text.pop().expect("an object ends with a brace");
    text.extend(format!(",\"{}\":[", kind.plural).into_bytes());
    let last = records.last().map(|record| record.id.clone());
    let rest = rest.into_iter();
    let mut page =
        Page { store, kind, query, present, rest, tail, more, last, text, sent: 0, is_empty: true, is_over: false };
    for record in records {
        page.write(record);
    }
    if page.rest.len() == 0 {
        page.end();
        share.shrink(page.text.len());
        return body::full(Held::bytes(page.text, Arc::new(share)));
    }
    let share = Arc::new(share);
    body::stream(stream::try_unfold(page, move |mut page| {
        let share = share.clone();
        async move {
            let piece = page.piece().await;
            let piece = piece.inspect_err(|error| {
                tracing::error!(cause = with_causes(error), "cannot finish an answer, closing the connection");
            });
            Ok(piece.map_err(io::Error::other)?.map(|text| (Held::bytes(text, share), page)))
        }
    }))
}

/// A page that is being written.
struct Page<Present> {
    store: Arc<dyn Store>,
    kind: Kind,
    query: Query,
    present: Present,
    /// Ids of the documents that follow.
    rest: std::vec::IntoIter<String>,
    tail: Document,
    /// Whether more documents follow after the page.
    more: bool,
    /// Id of the document that was looked at last.
    last: Option<String>,
    /// What is written and not sent.
    text: Vec<u8>,
    sent: usize,
    is_empty: bool,
    is_over: bool,
}

impl<Present: Fn(Record) -> Document> Page<Present> {
    /// The next piece; none after the last one. What was changed since it was found is shown as it is now, and left out
    /// if the search would not find it any more.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        while self.text.len() < PIECE && !self.is_over {
            let is_full = self.sent + self.text.len() > LONGEST_PAGE;
            self.more |= is_full && self.rest.len() > 0;
            let Some(id) = self.rest.next().filter(|_| !is_full) else {
                self.end();
                break;
            };
            let record = self.store.get(&id).await?;
            self.last = Some(id);
            if let Some(record) = record.filter(|record| self.query.selects(self.kind.name, record)) {
                self.write(record);
            }
        }
        let text = std::mem::take(&mut self.text);
        self.sent += text.len();
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn write(&mut self, record: Record) {
        if !self.is_empty {
            self.text.push(b',');
        }
        self.is_empty = false;
        serde_json::to_writer(&mut self.text, &(self.present)(record)).expect("a document has texts as keys");
    }

    fn end(&mut self) {
        self.is_over = true;
        if self.more && self.query.order.is_empty() {
            self.tail.extend(self.last.take().map(|last| ("next".to_owned(), last.into())));
        }
        self.text.push(b']');
        let tail = serde_json::to_vec(&self.tail).expect("a document has texts as keys");
        if !self.tail.is_empty() {
            self.text.push(b',');
        }
        self.text.extend(&tail[1..]);
    }
}

#[cfg(test)]
mod tests;
