//! The template engine: minijinja with limits. A template never reads anything but the data of the
//! failed test.
//!
//! Fuel limits the time and the memory of a template: minijinja consumes fuel for instructions, and
//! for the bytes that the template outputs or copies.

use std::fmt;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use parking_lot::Mutex;
use serde::Serialize;

use super::filters;
use super::markup::placeholder;

pub(super) const TEMPLATE_BYTES_MAX: usize = 32 * 1024;
/// The fuel of one template. Most instructions cost 1, and 64 bytes of text cost about 1.
const TEMPLATE_FUEL: u64 = 100_000;
/// Maximum depth of nested lists in a value that is formatted as text. Deeper lists are left out.
const LIST_DEPTH_MAX: usize = 8;

/// How a template inserts values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputMode {
    /// Inserts each value as text, and escapes nothing.
    Text,
    /// Inserts a placeholder for each value, because a value must not be read as Markdown.
    Markdown,
    /// Inserts each value as JSON, with text in quotes.
    Json,
}

#[derive(Debug)]
pub(super) struct ExpandedTemplate {
    /// The expanded text. In the mode `Markdown`, the text contains placeholders instead of values.
    pub(super) text: String,
    /// The values of the placeholders, in the order of their numbers.
    pub(super) values: Vec<String>,
}

/// The reason why a template cannot be used, and the position of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateError {
    /// The line and the column, both counted from 1; absent if the line is not known. The column is
    /// 1 if only the line is known.
    pub(super) position: Option<(usize, usize)>,
    pub(super) reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The data of a failed test, in the form that minijinja reads.
pub(super) type TemplateContext = Value;

pub(super) fn template_context<T: Serialize>(data: &T) -> TemplateContext {
    Value::from(Serde(data))
}

/// Expands the template whose text is `source`.
///
/// # Errors
/// The template is not valid, fails, or needs more than [`TEMPLATE_FUEL`].
pub(super) fn expand(
    source: &str,
    mode: OutputMode,
    data: &Value,
) -> Result<ExpandedTemplate, TemplateError> {
    let values = Arc::new(Mutex::new(Vec::new()));
    let environment = new_environment(mode, &values);
    let template = environment.template_from_str(source);
    let text = template.and_then(|template| template.render(data.clone()));
    let text = text.map_err(|error| template_error(source, &error))?;
    drop(environment);
    let values = std::mem::take(&mut *values.lock());
    Ok(ExpandedTemplate { text, values })
}

/// Returns the names that a template reads, such as `test_case.name`.
///
/// # Errors
/// The template is not valid.
pub(super) fn used_names(source: &str) -> Result<Vec<String>, TemplateError> {
    let environment = new_environment(OutputMode::Text, &Arc::default());
    let template = environment.template_from_str(source);
    let template = template.map_err(|error| template_error(source, &error))?;
    let globals: Vec<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    let mut names: Vec<_> = template.undeclared_variables(true).into_iter().collect();
    names.retain(|name| !globals.contains(name));
    names.sort();
    Ok(names)
}

/// Returns the line and the column of the byte at index `byte` of `source`, both counted from 1.
pub(super) fn line_and_column(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn new_environment<'s>(mode: OutputMode, values: &Arc<Mutex<Vec<String>>>) -> Environment<'s> {
    let mut environment = Environment::new();
    environment.set_debug(false);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.remove_global("debug");
    // `safe`, `escape` and `e` mark a text as safe markup, but no text of a test is safe. `pprint`
    // is for debugging only.
    for filter in ["safe", "escape", "e", "pprint"] {
        environment.remove_filter(filter);
    }
    filters::add_filters(&mut environment);
    // A line that contains only a statement, such as `{% if %}`, adds no line to the text.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    let values = Arc::clone(values);
    environment
        .set_formatter(move |out, state, value| write_value(mode, &values, out, state, value));
    environment
}

fn write_value(
    mode: OutputMode,
    values: &Mutex<Vec<String>>,
    out: &mut Output<'_>,
    state: &State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let text = match mode {
        OutputMode::Text | OutputMode::Markdown => format_value(value, LIST_DEPTH_MAX),
        OutputMode::Json => serde_json::to_string(value).map_err(|error| {
            minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())
        })?,
    };
    if mode != OutputMode::Markdown {
        return Ok(out.write_str(&text)?);
    }
    state.consume_fuel(text.len() as u64 / 64)?;
    let mut values = values.lock();
    // A `{% set %}` block may have captured placeholders: replace them by their values.
    let text = placeholder::resolve(&text, &values);
    out.write_str(&placeholder::for_value(values.len()))?;
    values.push(text);
    Ok(())
}

fn format_value(value: &Value, depth: usize) -> String {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => String::new(),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().ok().filter(|_| depth > 0).into_iter().flatten();
            let items = items.map(|item| format_value(&item, depth.saturating_sub(1)));
            items.filter(|item| !item.is_empty()).collect::<Vec<_>>().join(", ")
        }
        ValueKind::Map => serde_json::to_string(value).unwrap_or_default(),
        _ => value.to_string(),
    }
}

fn template_error(source: &str, error: &minijinja::Error) -> TemplateError {
    let position = error.range().map(|range| line_and_column(source, range.start));
    let position = position.or_else(|| error.line().map(|line| (line, 1)));
    let reason = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            "the template needs too much computing time; use fewer or shorter loops and texts"
                .to_owned()
        }
        (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    TemplateError { position, reason }
}
