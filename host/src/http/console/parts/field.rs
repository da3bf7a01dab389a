//! A field of a form, with its label, its help and its error.

use askama::Template;

/// A field of a form.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/field.html")]
pub(in crate::http::console) struct Field {
    pub(in crate::http::console) name: String,
    pub(in crate::http::console) label: String,
    pub(in crate::http::console) help: String,
    pub(in crate::http::console) error: Option<String>,
    pub(in crate::http::console) is_required: bool,
    pub(in crate::http::console) control: Control,
}

/// How a value is entered.
#[derive(Debug, Clone)]
pub(in crate::http::console) enum Control {
    /// One line; `kind` is the type of the input.
    Input { kind: &'static str, value: String },
    /// Several lines.
    Lines { value: String, rows: u8 },
    /// One of some values, with their texts.
    Select { value: String, options: Vec<(String, String)> },
    /// Yes or no.
    Check { checked: bool },
    /// A secret. Its value is never shown.
    Secret { is_set: bool },
    /// A value that the connector can list, or several in lines; `search` is where it lists them.
    Lookup { value: String, search: String, is_list: bool },
}

impl Field {
    /// A field without help that may be empty.
    pub(in crate::http::console) fn new(
        name: impl Into<String>,
        label: impl Into<String>,
        control: Control,
    ) -> Self {
        let (name, label) = (name.into(), label.into());
        Self { name, label, help: String::new(), error: None, is_required: false, control }
    }

    /// A line of text.
    pub(in crate::http::console) fn text(
        name: impl Into<String>,
        label: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self::new(name, label, Control::Input { kind: "text", value: value.into() })
    }

    pub(in crate::http::console) fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    pub(in crate::http::console) fn required(self, is_required: bool) -> Self {
        Self { is_required, ..self }
    }

    /// The id of the input. Names have only letters, digits, dots, colons and dashes.
    fn id(&self) -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("f-{}", self.name.chars().map(clean).collect::<String>())
    }

    /// The attributes that connect the input with its help and its error.
    fn described(&self) -> String {
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
