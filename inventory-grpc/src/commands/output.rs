//! A file of rows, as CSV or NDJSON, written row by row.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::print::Stdout;
use crate::config::Format;

/// A file that is being written.
pub(super) enum Output<'a> {
    /// With a header.
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    /// One object per line, with these names.
    Ndjson(&'a [&'a str], BufWriter<Box<dyn Write>>),
}

impl<'a> Output<'a> {
    /// Creates `file`, or writes to standard output.
    pub(super) fn create(file: Option<&Path>, format: Format, columns: &'a [&'a str]) -> Result<Self, Box<dyn Error>> {
        let to: Box<dyn Write> = match file {
            Some(path) => {
                let error = |error| format!("--output: cannot write {}: {error}", path.display());
                Box::new(File::create(path).map_err(error)?)
            }
            None => Box::new(Stdout),
        };
        Self::over(to, format, columns)
    }

    /// Writes to `to`.
    pub(super) fn over(to: Box<dyn Write>, format: Format, columns: &'a [&'a str]) -> Result<Self, Box<dyn Error>> {
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(to);
                writer.write_record(columns).map_err(of_csv)?;
                Self::Csv(Box::new(writer))
            }
            Format::Ndjson => Self::Ndjson(columns, BufWriter::new(to)),
        })
    }

    /// Writes a row: a value for each column. Null is an empty cell, or an absent name.
    pub(super) fn row(&mut self, values: &[Value]) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Csv(writer) => {
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
                };
                writer.write_record(values.iter().map(text)).map_err(of_csv)?;
            }
            Self::Ndjson(columns, to) => {
                let present = columns.iter().zip(values).filter(|(_, value)| !value.is_null());
                let object: Map<String, Value> =
                    present.map(|(column, value)| ((*column).to_owned(), value.clone())).collect();
                writeln!(to, "{}", Value::Object(object))?;
            }
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub(super) fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Ndjson(_, mut to) => to.flush(),
        }
    }
}

/// The error of the file itself, if there is one. csv wraps it.
fn of_csv(error: csv::Error) -> Box<dyn Error> {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => format!("a row cannot be written: {other:?}").into(),
    }
}
