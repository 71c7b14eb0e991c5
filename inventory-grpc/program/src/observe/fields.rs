//! The fields of a span as a JSON object, for the log.
//!
//! The library's own form reads and writes the whole object again for each field that is recorded later; here it is
//! only appended. Fields for the tracing library (`otel.…`) are left out.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, FormattedFields};

/// Formats fields as one JSON object.
#[derive(Debug)]
pub(super) struct JsonObject;

impl<'writer> FormatFields<'writer> for JsonObject {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        let mut members = Members { writer: &mut writer, is_first: true, result: Ok(()) };
        fields.record(&mut members);
        members.result?;
        writer.write_char('}')
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        // The text ends with the bracket of the object.
        current.fields.pop();
        let is_first = current.fields.len() <= 1;
        let mut writer = current.as_writer();
        let mut members = Members { writer: &mut writer, is_first, result: Ok(()) };
        fields.record(&mut members);
        members.result?;
        writer.write_char('}')
    }
}

/// Writes the members of an object.
struct Members<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Members<'_, '_> {
    fn member(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_err() || field.name().starts_with("otel.") {
            return;
        }
        let comma = if self.is_first { "" } else { "," };
        self.is_first = false;
        let name = field.name();
        self.result = write!(self.writer, "{comma}\"{name}\":").and_then(|()| write(self.writer));
    }
}

impl Visit for Members<'_, '_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            Escaped(writer).write_str(value)?;
            writer.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write!(Escaped(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }
}

/// Writes text as the inside of a JSON string.
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut start = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.write_str(&text[start..at])?;
            match byte {
                b'"' | b'\\' => write!(self.0, "\\{}", char::from(byte))?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            start = at + 1;
        }
        self.0.write_str(&text[start..])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_span_is_one_object_with_what_is_recorded_later() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
        let layer = layer.with_span_list(true).fmt_fields(JsonObject).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!(
                "call",
                otel.kind = "server",
                first = tracing::field::Empty,
                text = tracing::field::Empty,
                number = tracing::field::Empty,
            );
            span.record("text", "a \"quote\", a \\ and\na line");
            span.record("number", 7);
            let _entered = span.enter();
            let empty = tracing::info_span!("empty");
            let _entered = empty.enter();
            tracing::info!(code = "OK", "told");
        });
        let line = String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("UTF-8");
        let spans = r#""spans":[{"number":7,"text":"a \"quote\", a \\ and\na line","name":"call"},{"name":"empty"}]"#;
        assert!(line.contains(spans), "{line}");
        assert!(line.contains(r#""message":"told","code":"OK""#) && !line.contains("otel"), "{line}");
    }
}
