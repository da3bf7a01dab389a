//! Makes a field of a form for each setting and secret that a connector's manifest declares, and
//! reads the entered values.

use serde_json::{Map, Value};

use crate::console::form::Form;
use crate::console::parts::{Control, Field, FoundValues};

/// The start of the name of each field for a setting.
pub(super) const SETTING_PREFIX: &str = "s.";
/// The start of the name of each field for a secret.
pub(super) const SECRET_PREFIX: &str = "x.";

/// Maximum length of a text in a field with one line, bytes.
const LINE_BYTES_MAX: usize = 120;

#[derive(Debug, Clone, Copy)]
pub(super) struct ValueDeclaration<'m> {
    pub(super) name: &'m str,
    /// The JSON Schema of the value.
    schema: &'m Map<String, Value>,
    pub(super) is_required: bool,
}

/// The type of a value, which decides how the entered text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Text,
    Integer,
    Number,
    Boolean,
    List,
}

/// Returns the settings and secrets that a settings schema declares, the required values first. In
/// each group, addresses of the tracker come first, and secrets last.
pub(super) fn value_declarations(schema: &Value) -> Vec<ValueDeclaration<'_>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    let all = properties.into_iter().flatten().filter_map(|(name, property)| {
        let schema = property.as_object()?;
        Some(ValueDeclaration { name, schema, is_required: is_required(name) })
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|it| (!it.is_required, !it.has_flag("jackfield:origin"), it.is_secret()));
    all
}

impl<'m> ValueDeclaration<'m> {
    pub(super) fn is_secret(&self) -> bool {
        self.has_flag("writeOnly")
    }

    /// Whether the manifest fixes the value.
    pub(super) fn is_fixed(&self) -> bool {
        self.schema.contains_key("const")
    }

    /// Whether this keyword of the JSON Schema is true.
    fn has_flag(&self, keyword: &str) -> bool {
        self.schema.get(keyword).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns the text of this keyword of the JSON Schema, or an empty text.
    fn keyword_text(&self, keyword: &str) -> &'m str {
        self.schema.get(keyword).and_then(Value::as_str).unwrap_or_default()
    }

    fn default_value(&self) -> Option<&'m Value> {
        self.schema.get("default")
    }

    fn value_kind(&self) -> ValueKind {
        let kind = match self.schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match kind {
            Some("boolean") => ValueKind::Boolean,
            Some("integer") => ValueKind::Integer,
            Some("number") => ValueKind::Number,
            Some("array") => ValueKind::List,
            _ => ValueKind::Text,
        }
    }

    pub(super) fn field_name(&self) -> String {
        format!("{}{}", if self.is_secret() { SECRET_PREFIX } else { SETTING_PREFIX }, self.name)
    }

    /// Makes the field with this text, or with the default if `text` is `None`. `is_set` is true
    /// for a secret that is stored. If `search_href` is empty, no values can be looked up.
    pub(super) fn field(&self, text: Option<String>, is_set: bool, search_href: &str) -> Field {
        let label =
            Some(self.keyword_text("title")).filter(|it| !it.is_empty()).unwrap_or(self.name);
        let control = if self.is_secret() {
            Control::Secret { is_set }
        } else {
            let text = text.or_else(|| self.default_value().map(form_text));
            self.make_control(text.unwrap_or_default(), search_href)
        };
        let secret_help = if self.is_secret() { SECRET_HELP } else { "" };
        let help = [self.keyword_text("description"), secret_help, self.list_help()].join(" ");
        Field::new(self.field_name(), label, control).help(help.trim()).required(self.is_required)
    }

    fn make_control(&self, value: String, search_href: &str) -> Control {
        if let Some(Value::Array(values)) = self.schema.get("enum") {
            let option = |value: &Value| (form_text(value), form_text(value));
            let none = (String::new(), "not set".to_owned());
            let none = (!self.is_required && self.default_value().is_none()).then_some(none);
            let options = none.into_iter().chain(values.iter().map(option)).collect();
            return Control::Select { value, options };
        }
        if self.has_flag("jackfield:lookup") && !search_href.is_empty() {
            let is_list = self.value_kind() == ValueKind::List;
            let search_href = format!("{search_href}setting={}", self.name);
            return Control::Lookup {
                value,
                is_list,
                found: FoundValues { search_href, ..FoundValues::default() },
            };
        }
        match self.value_kind() {
            ValueKind::Boolean => Control::Check { checked: value == "true" },
            ValueKind::List => Control::Lines { value, rows: 3 },
            _ if value.contains('\n') || value.len() > LINE_BYTES_MAX => {
                Control::Lines { value, rows: 5 }
            }
            _ => Control::Input { kind: "text", value },
        }
    }

    fn list_help(&self) -> &'static str {
        if self.value_kind() == ValueKind::List { "Enter one value in each line." } else { "" }
    }

    /// Reads the value that a person entered. An unchecked box or an empty list is a value only if
    /// the manifest declares a default.
    pub(super) fn entered_value(&self, form: &Form) -> Option<Value> {
        let field = self.field_name();
        if self.value_kind() == ValueKind::Boolean {
            let is_checked = form.is_checked(&field);
            return (is_checked || self.default_value().is_some())
                .then_some(Value::Bool(is_checked));
        }
        let text = form.find(&field)?.replace("\r\n", "\n");
        let text = text.trim();
        if self.value_kind() == ValueKind::List {
            let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
            let items: Vec<_> = lines.map(|line| self.parse_item(line)).collect();
            return (!items.is_empty() || self.default_value().is_some())
                .then_some(Value::Array(items));
        }
        if text.is_empty() {
            return None;
        }
        let allowed = self.schema.get("enum").and_then(Value::as_array);
        let allowed = allowed.and_then(|all| all.iter().find(|it| form_text(it) == text));
        Some(allowed.cloned().unwrap_or_else(|| self.parse_scalar(text)))
    }

    /// A text that is not a number stays a text, which the check against the manifest refuses with
    /// a reason.
    fn parse_scalar(&self, text: &str) -> Value {
        match self.value_kind() {
            ValueKind::Integer | ValueKind::Number => parse_number(text),
            _ => Value::from(text),
        }
    }

    fn parse_item(&self, line: &str) -> Value {
        let kind = self.schema.get("items").and_then(|it| it.get("type")).and_then(Value::as_str);
        match kind {
            Some("integer" | "number") => parse_number(line),
            _ => Value::from(line),
        }
    }

    /// Whether this value is the default.
    pub(super) fn is_default(&self, value: &Value) -> bool {
        self.default_value() == Some(value)
    }
}

const SECRET_HELP: &str = "The secret itself, or file:/path or env:NAME of the server.";

/// A list has one line for each item.
pub(super) fn form_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(form_text).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

fn parse_number(text: &str) -> Value {
    let number = serde_json::from_str::<serde_json::Number>(text);
    number.map_or_else(|_| Value::from(text), Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["url", "key"], "properties": {
            "a": {"type": "integer"},
            "both": {"type": ["integer", "string"]},
            "flag": {"type": "boolean", "default": true},
            "key": {"type": "string", "writeOnly": true},
            "list": {"type": "array", "items": {"type": "string"}, "default": ["x"]},
            "size": {"enum": [1, 2]},
            "url": {"type": "string", "jackfield:origin": true},
        }})
    }

    fn entered_value(body: &str, name: &str) -> Option<Value> {
        let schema = schema();
        let all = value_declarations(&schema);
        all.iter().find(|it| it.name == name).unwrap().entered_value(&Form::parse(body.as_bytes()))
    }

    #[test]
    fn required_values_come_before_other_values() {
        let schema = schema();
        let names: Vec<_> = value_declarations(&schema).iter().map(|it| it.name).collect();
        assert_eq!(names, ["url", "key", "a", "both", "flag", "list", "size"]);
    }

    #[test]
    fn a_text_becomes_a_value_of_the_declared_type() {
        assert_eq!(entered_value("s.a=7", "a"), Some(json!(7)));
        assert_eq!(
            entered_value("s.a=seven", "a"),
            Some(json!("seven")),
            "the manifest refuses it"
        );
        assert_eq!(entered_value("s.a=+", "a"), None);
        assert_eq!(entered_value("s.both=x", "both"), Some(json!("x")));
        assert_eq!(entered_value("s.list=a%0D%0A+b+%0A%0A", "list"), Some(json!(["a", "b"])));
        assert_eq!(
            entered_value("s.list=", "list"),
            Some(json!([])),
            "an empty list is not the default"
        );
        assert_eq!(entered_value("s.size=2", "size"), Some(json!(2)));
        assert_eq!(
            entered_value("", "flag"),
            Some(json!(false)),
            "an unchecked box is not the default"
        );
        assert_eq!(entered_value("s.flag=true", "flag"), Some(json!(true)));
    }
}
