//! A field of a form, with its label, its help text and its error.

use askama::Template;

#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/field.html")]
pub(in crate::console) struct Field {
    pub(in crate::console) name: String,
    pub(in crate::console) label: String,
    /// The text below the input, or an empty text.
    pub(in crate::console) help: String,
    pub(in crate::console) error: Option<String>,
    pub(in crate::console) is_required: bool,
    pub(in crate::console) control: Control,
}

#[derive(Debug, Clone)]
pub(in crate::console) enum Control {
    /// `kind` is the type of the HTML input.
    Input { kind: &'static str, value: String },
    /// `rows` is the height of the input, in lines.
    Lines { value: String, rows: u8 },
    /// Each option is a value and its text.
    Select { value: String, options: Vec<(String, String)> },
    /// A check box.
    Check { checked: bool },
    /// The value is never shown.
    Secret { is_set: bool },
    /// A text field with a search in the tracker for its value. With `is_list`, it has one value in
    /// each line.
    Lookup { value: String, is_list: bool, found: FoundValues },
}

impl Control {
    /// Returns the value of the control; `None` for a secret. For a check box, the value is `true`
    /// or empty.
    pub(in crate::console) fn shown_text(&self) -> Option<String> {
        match self {
            Self::Input { value, .. }
            | Self::Lines { value, .. }
            | Self::Select { value, .. }
            | Self::Lookup { value, .. } => Some(value.clone()),
            Self::Check { checked } => Some(if *checked { "true" } else { "" }.to_owned()),
            Self::Secret { .. } => None,
        }
    }

    /// Enters a found value that a person chose. It replaces the old value, except in a list.
    pub(in crate::console) fn enter_found_value(&mut self, choice: &str) {
        let Self::Lookup { value, is_list, .. } = self else { return };
        let others = value.lines().map(str::trim).filter(|it| !it.is_empty() && *it != choice);
        let lines: Vec<_> = others.filter(|_| *is_list).chain([choice]).collect();
        *value = lines.join("\n");
    }
}

/// The values that a connector found in the tracker for a field. Each value is a button that enters
/// the value in the field.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "console/parts/listed.html")]
pub(in crate::console) struct FoundValues {
    pub(in crate::console) search_href: String,
    pub(in crate::console) search_text: String,
    /// Each value with its label; `None` before the first search.
    pub(in crate::console) values: Option<Vec<(String, String)>>,
    /// Whether the tracker has further values, which a search with another text can find.
    pub(in crate::console) has_more: bool,
}

impl Field {
    pub(in crate::console) fn new(
        name: impl Into<String>,
        label: impl Into<String>,
        control: Control,
    ) -> Self {
        let (name, label) = (name.into(), label.into());
        Self { name, label, help: String::new(), error: None, is_required: false, control }
    }

    /// Makes a field for one line of text.
    pub(in crate::console) fn text(
        name: impl Into<String>,
        label: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self::new(name, label, Control::Input { kind: "text", value: value.into() })
    }

    pub(in crate::console) fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    /// Sets whether a person must enter a value.
    pub(in crate::console) fn required(self, is_required: bool) -> Self {
        Self { is_required, ..self }
    }

    fn id(&self) -> String {
        let id_char = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("f-{}", self.name.chars().map(id_char).collect::<String>())
    }

    /// Connects the input with its help text and its error.
    fn aria_attributes(&self) -> String {
        let id = self.id();
        let help = (!self.help.is_empty()).then(|| format!("{id}-help"));
        let error = self.error.as_ref().map(|_| format!("{id}-error"));
        let ids: Vec<_> = error.into_iter().chain(help).collect();
        let invalid = if self.error.is_some() { " aria-invalid=\"true\"" } else { "" };
        if ids.is_empty() {
            return invalid.to_owned();
        }
        format!(" aria-describedby=\"{}\"{invalid}", ids.join(" "))
    }
}
