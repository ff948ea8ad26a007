//! Lines of the log as objects in JSON: `time`, `level`, `target`, `message`, then the fields of all spans and of the event
//! itself, of which the inner one wins. A field that has the name of one of these four gets another one.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::process::clock::Clock;

/// The name of what an event says.
const MESSAGE: &str = "message";

/// Keeps the fields of a span as an object in JSON.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut object = Object::default();
        fields.record(&mut object);
        write!(writer, "{}", Value::Object(object.0))
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let mut object = Object(parsed(current));
        fields.record(&mut object);
        current.fields = Value::Object(object.0).to_string();
        Ok(())
    }
}

/// Writes events, with the time of this clock.
pub(super) struct Lines(pub(super) Clock);

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, Fields> for Lines {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        line.insert("time".to_owned(), self.0.now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        line.insert(MESSAGE.to_owned(), "".into());
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>() {
                line.extend(parsed(fields).into_iter().map(|(name, value)| (named(span.name(), name), value)));
            }
        }
        let mut fields = Object::default();
        event.record(&mut fields);
        line.extend(fields.0.into_iter().map(|(name, value)| (own(name), value)));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// What is called `id` or `name` within its span is called so after it outside, and an attempt is known by its lease.
fn named(span: &str, field: String) -> String {
    match (span, &*field) {
        (_, "id" | "name" | "time" | "level" | "target" | MESSAGE) => format!("{span}-{field}"),
        ("attempt", "lease") => span.to_owned(),
        _ => field,
    }
}

/// The name of an event's own field: what each line has is not replaced by it.
fn own(field: String) -> String {
    match &*field {
        "time" | "level" | "target" => format!("event-{field}"),
        _ => field,
    }
}

fn parsed(fields: &FormattedFields<Fields>) -> Map<String, Value> {
    // it was written above
    serde_json::from_str(&fields.fields).unwrap_or_default()
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use serde_json::json;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// The one line that is logged, without its time.
    fn line_of(log: impl FnOnce()) -> Value {
        let written = Written::default();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(Fields)
            .event_format(Lines(Clock::system()))
            .with_writer(written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        time.as_str().unwrap().parse::<Timestamp>().unwrap();
        line
    }

    #[test]
    fn no_field_takes_the_place_of_what_each_line_has() {
        let line = line_of(|| {
            let span = tracing::info_span!("round", target = "t", message = "m", time = 1);
            span.in_scope(|| tracing::warn!(level = "debug", time = 2, target = "other", "said"));
        });
        let expected = json!({
            "level": "WARN", "target": module_path!(), "message": "said",
            "event-level": "debug", "event-time": 2, "event-target": "other",
            "round-target": "t", "round-message": "m", "round-time": 1,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_has_what_its_spans_know() {
        let line = line_of(|| {
            let outer = tracing::info_span!("worker", executor = "kenny", job = "job/0");
            let attempt =
                tracing::info_span!(parent: &outer, "attempt", lease = "1-42", action = tracing::field::Empty);
            attempt.record("action", "noop");
            let inner = tracing::info_span!(parent: &attempt, "request", id = 7, job = "job/1");
            inner.in_scope(|| tracing::warn!(seconds = 1.5, ok = true, "two\nlines \"quoted\""));
        });
        let expected = json!({
            "level": "WARN", "target": module_path!(), "message": "two\nlines \"quoted\"",
            "executor": "kenny", "job": "job/1", "attempt": "1-42", "action": "noop", "request-id": 7, "seconds": 1.5, "ok": true,
        });
        assert_eq!(line, expected);
    }
}
