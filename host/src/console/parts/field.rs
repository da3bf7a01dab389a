//! A field of a form, with its label, its help and its error.

use askama::Template;

/// A field of a form.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/field.html")]
pub(in crate::console) struct Field {
    pub(in crate::console) name: String,
    pub(in crate::console) label: String,
    pub(in crate::console) help: String,
    pub(in crate::console) error: Option<String>,
    pub(in crate::console) is_required: bool,
    pub(in crate::console) control: Control,
}

/// How a value is entered.
#[derive(Debug, Clone)]
pub(in crate::console) enum Control {
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
    /// A value that the connector can list, or several in lines.
    Lookup { value: String, is_list: bool, listed: Listed },
}

impl Control {
    /// What it shows; `None` for a secret. A box that is not checked shows an empty text.
    pub(in crate::console) fn text(&self) -> Option<String> {
        match self {
            Self::Input { value, .. }
            | Self::Lines { value, .. }
            | Self::Select { value, .. }
            | Self::Lookup { value, .. } => Some(value.clone()),
            Self::Check { checked } => Some(if *checked { "true" } else { "" }.to_owned()),
            Self::Secret { .. } => None,
        }
    }

    /// Takes a listed value over: as the value, or as another line of a list.
    pub(in crate::console) fn take(&mut self, choice: &str) {
        let Self::Lookup { value, is_list, .. } = self else { return };
        let others = value.lines().map(str::trim).filter(|it| !it.is_empty() && *it != choice);
        let lines: Vec<_> = others.filter(|_| *is_list).chain([choice]).collect();
        *value = lines.join("\n");
    }
}

/// What a connector listed for a field. Each value is a button, which takes it over into the form.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "console/parts/listed.html")]
pub(in crate::console) struct Listed {
    /// Where the connector lists values.
    pub(in crate::console) address: String,
    /// What the person searched for.
    pub(in crate::console) search: String,
    /// The values with their labels; absent: nothing was looked up yet.
    pub(in crate::console) choices: Option<Vec<(String, String)>>,
    /// Whether a longer search shows others.
    pub(in crate::console) more: bool,
}

impl Field {
    /// A field without help that may be empty.
    pub(in crate::console) fn new(
        name: impl Into<String>,
        label: impl Into<String>,
        control: Control,
    ) -> Self {
        let (name, label) = (name.into(), label.into());
        Self { name, label, help: String::new(), error: None, is_required: false, control }
    }

    /// A line of text.
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

    pub(in crate::console) fn required(self, is_required: bool) -> Self {
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
