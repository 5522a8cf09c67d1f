//! What a command prints.

use std::io::{self, Write};

use serde_json::Value;

/// Prints results on standard output, as text or as JSON.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: one line of JSON, or a line for each field.
    pub(crate) fn print(self, result: &Value) -> io::Result<()> {
        if self.json { line(result) } else { fields(result, 0) }
    }
}

/// Prints one line of JSON. This fails if the reader has gone.
pub(crate) fn line(value: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{value}")
}

fn fields(value: &Value, depth: usize) -> io::Result<()> {
    let (mut out, indent) = (io::stdout(), 2 * depth);
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = name.replace('_', " ");
        match value {
            Value::Object(_) => {
                writeln!(out, "{:indent$}{name}", "")?;
                fields(value, depth + 1)?;
            }
            Value::Null => {}
            Value::String(text) => writeln!(out, "{:indent$}{name:<28} {text}", "")?,
            other => writeln!(out, "{:indent$}{name:<28} {other}", "")?,
        }
    }
    Ok(())
}
