//! Renders a field of a form with its label, its help text and its error.

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

/// The kind of an input element, with its value.
#[derive(Debug, Clone)]
pub(in crate::console) enum Control {
    /// One line of text; `kind` is the type of the HTML input.
    Input { kind: &'static str, value: String },
    /// Several lines of text.
    Lines { value: String, rows: u8 },
    /// A choice from `options`: pairs of a value and its text.
    Select { value: String, options: Vec<(String, String)> },
    /// A check box.
    Check { checked: bool },
    /// A secret. Its value is never shown.
    Secret { is_set: bool },
    /// A value that the connector can look up in the tracker. With `is_list`, several values, one
    /// in each line.
    Lookup { value: String, is_list: bool, listed: Listed },
}

impl Control {
    /// The value that the control shows; `None` for a secret, which is never shown. A check box has
    /// the value `true` or an empty one.
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

    /// Enters a value that a person chose from the listed ones: as the only value, or as another
    /// line of a list.
    pub(in crate::console) fn enter_choice(&mut self, choice: &str) {
        let Self::Lookup { value, is_list, .. } = self else { return };
        let others = value.lines().map(str::trim).filter(|it| !it.is_empty() && *it != choice);
        let lines: Vec<_> = others.filter(|_| *is_list).chain([choice]).collect();
        *value = lines.join("\n");
    }
}

/// The values that a connector listed for a field. Each value is a button that enters it in the
/// field.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "console/parts/listed.html")]
pub(in crate::console) struct Listed {
    /// The address to which the browser sends a search.
    pub(in crate::console) address: String,
    /// The text for which the person searched.
    pub(in crate::console) search: String,
    /// The found values with their labels; `None` before the first search.
    pub(in crate::console) choices: Option<Vec<(String, String)>>,
    /// Whether the tracker has more values, which only a longer search text can find.
    pub(in crate::console) has_more: bool,
}

impl Field {
    /// A field without help text, which may be left empty.
    pub(in crate::console) fn new(
        name: impl Into<String>,
        label: impl Into<String>,
        control: Control,
    ) -> Self {
        let (name, label) = (name.into(), label.into());
        Self { name, label, help: String::new(), error: None, is_required: false, control }
    }

    /// A field for one line of text.
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

    /// The id of the input: the name, in which a dash replaces each character that is not a letter
    /// or a digit.
    fn id(&self) -> String {
        let id_char = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("f-{}", self.name.chars().map(id_char).collect::<String>())
    }

    /// The ARIA attributes that connect the input with its help text and its error.
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
