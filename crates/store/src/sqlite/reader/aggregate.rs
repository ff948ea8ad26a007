//! Aggregations: an attribute with a column that can be relied on is answered from groups of equal values, which takes
//! one row for each; all others from the documents.

use rusqlite::params_from_iter;
use serde_json::Value;
use slipstream_cimi::filter::Attribute;

use super::{Reader, asked_for, of_store, unsigned};
use crate::Query;
use crate::aggregate::Aggregators;
use crate::sqlite::column::Column;
use crate::sqlite::select::Translator;

impl Reader {
    /// Answers about all the documents that a query selects.
    pub(super) fn aggregate(&self, translator: &Translator<'_>, query: &Query) -> rusqlite::Result<Vec<Value>> {
        let mut aggregators = Aggregators::new(&query.aggregations);
        let mut others = Vec::new();
        for attribute in aggregators.attributes() {
            match translator.column(&attribute.0) {
                Some(column) => self.add_groups(translator, query, (column, &attribute), &mut aggregators)?,
                None => others.push(attribute),
            }
        }
        if !others.is_empty() {
            self.add_documents(translator, query, &others, &mut aggregators)?;
        }
        Ok(aggregators.finish())
    }

    fn add_groups(
        &self,
        translator: &Translator<'_>,
        query: &Query,
        (column, attribute): (Column, &Attribute),
        aggregators: &mut Aggregators,
    ) -> rusqlite::Result<()> {
        let select = translator.groups(query, column);
        let mut statement = self.connection.prepare_cached(&select.sql)?;
        self.ask(select.filters);
        let mut rows = statement.query(params_from_iter(select.values))?;
        while let Some(row) = rows.next()? {
            let value = column.shown(row.get_ref(0)?)?;
            aggregators.add(attribute, value.as_ref().as_slice(), unsigned(row, 1)?).map_err(of_store)?;
        }
        Ok(())
    }

    fn add_documents(
        &self,
        translator: &Translator<'_>,
        query: &Query,
        attributes: &[Attribute],
        aggregators: &mut Aggregators,
    ) -> rusqlite::Result<()> {
        let select = translator.all(query, "document");
        let mut statement = self.connection.prepare_cached(&select.sql)?;
        self.ask(select.filters);
        let mut rows = statement.query(params_from_iter(select.values))?;
        while let Some(row) = rows.next()? {
            aggregators.add_document(&asked_for(row.get_ref(0)?)?, attributes).map_err(of_store)?;
        }
        Ok(())
    }
}
