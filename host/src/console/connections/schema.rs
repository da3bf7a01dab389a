//! Makes the fields of a form from the settings and secrets that a connector's manifest declares,
//! and reads the entered values back.

use serde_json::{Map, Value};

use crate::console::form::Form;
use crate::console::parts::{Control, Field, Listed};

/// The prefix of the name of a setting's field. It prevents a conflict with the host's own fields.
pub(super) const SETTING: &str = "s.";
/// The prefix of the name of a secret's field.
pub(super) const SECRET: &str = "x.";

/// Maximum length of a text in a one-line field, bytes. A longer text gets several lines.
const LINE_BYTES_MAX: usize = 120;

/// A setting or secret that a manifest declares.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueDeclaration<'m> {
    pub(super) name: &'m str,
    /// The JSON Schema of the value.
    schema: &'m Map<String, Value>,
    pub(super) is_required: bool,
}

/// The type of a value, which decides how it is entered and read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Text,
    Integer,
    Number,
    Boolean,
    List,
}

/// The settings and secrets that a settings schema declares: required values first, and of them
/// addresses first.
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

    /// Whether the manifest fixes the value, so that a person cannot enter one.
    pub(super) fn is_fixed(&self) -> bool {
        self.schema.contains_key("const")
    }

    fn has_flag(&self, keyword: &str) -> bool {
        self.schema.get(keyword).and_then(Value::as_bool).unwrap_or(false)
    }

    fn text(&self, keyword: &str) -> &'m str {
        self.schema.get(keyword).and_then(Value::as_str).unwrap_or_default()
    }

    fn default(&self) -> Option<&'m Value> {
        self.schema.get("default")
    }

    fn kind(&self) -> ValueKind {
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

    /// The name of the field in the form.
    pub(super) fn field_name(&self) -> String {
        format!("{}{}", if self.is_secret() { SECRET } else { SETTING }, self.name)
    }

    /// The field with this text. `is_set`: whether a secret has a value. `search`: the address that
    /// looks up values, up to the name of the setting.
    pub(super) fn field(&self, text: Option<String>, is_set: bool, search: &str) -> Field {
        let label = Some(self.text("title")).filter(|it| !it.is_empty()).unwrap_or(self.name);
        let control = if self.is_secret() {
            Control::Secret { is_set }
        } else {
            let text = text.or_else(|| self.default().map(form_text));
            self.control(text.unwrap_or_default(), search)
        };
        let secret_help = if self.is_secret() { SECRET_HELP } else { "" };
        let help = [self.text("description"), secret_help, self.list_help()].join(" ");
        Field::new(self.field_name(), label, control).help(help.trim()).required(self.is_required)
    }

    fn control(&self, value: String, search: &str) -> Control {
        if let Some(Value::Array(values)) = self.schema.get("enum") {
            let option = |value: &Value| (form_text(value), form_text(value));
            let none = (String::new(), "not set".to_owned());
            let none = (!self.is_required && self.default().is_none()).then_some(none);
            let options = none.into_iter().chain(values.iter().map(option)).collect();
            return Control::Select { value, options };
        }
        if self.has_flag("jackfield:lookup") && !search.is_empty() {
            let is_list = self.kind() == ValueKind::List;
            let address = format!("{search}setting={}", self.name);
            return Control::Lookup {
                value,
                is_list,
                listed: Listed { address, ..Listed::default() },
            };
        }
        match self.kind() {
            ValueKind::Boolean => Control::Check { checked: value == "true" },
            ValueKind::List => Control::Lines { value, rows: 3 },
            _ if value.contains('\n') || value.len() > LINE_BYTES_MAX => {
                Control::Lines { value, rows: 5 }
            }
            _ => Control::Input { kind: "text", value },
        }
    }

    fn list_help(&self) -> &'static str {
        if self.kind() == ValueKind::List { "Enter one value in each line." } else { "" }
    }

    /// Reads the value that a person entered; `None` if the field is empty.
    pub(super) fn entered(&self, form: &Form) -> Option<Value> {
        let field = self.field_name();
        if self.kind() == ValueKind::Boolean {
            let is_checked = form.is_checked(&field);
            return (is_checked || self.default().is_some()).then_some(Value::Bool(is_checked));
        }
        let text = form.find(&field)?.replace("\r\n", "\n");
        let text = text.trim();
        if self.kind() == ValueKind::List {
            let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
            let items: Vec<_> = lines.map(|line| self.item(line)).collect();
            return (!items.is_empty() || self.default().is_some()).then_some(Value::Array(items));
        }
        if text.is_empty() {
            return None;
        }
        let allowed = self.schema.get("enum").and_then(Value::as_array);
        let allowed = allowed.and_then(|all| all.iter().find(|it| form_text(it) == text));
        Some(allowed.cloned().unwrap_or_else(|| self.scalar(text)))
    }

    /// Parses a number, if the manifest requires one. Any other text stays a text, and the later
    /// check against the manifest refuses it with a reason.
    fn scalar(&self, text: &str) -> Value {
        match self.kind() {
            ValueKind::Integer | ValueKind::Number => number(text),
            _ => Value::from(text),
        }
    }

    /// Parses one line of a list.
    fn item(&self, line: &str) -> Value {
        let kind = self.schema.get("items").and_then(|it| it.get("type")).and_then(Value::as_str);
        match kind {
            Some("integer" | "number") => number(line),
            _ => Value::from(line),
        }
    }

    /// Whether this value is the default, so that it need not be stored.
    pub(super) fn is_default(&self, value: &Value) -> bool {
        self.default() == Some(value)
    }
}

const SECRET_HELP: &str = "The secret itself, or file:/path or env:NAME of the server.";

/// A value as a person enters it in a form. A list has one line for each item.
pub(super) fn form_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(form_text).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

fn number(text: &str) -> Value {
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

    fn entered(body: &str, name: &str) -> Option<Value> {
        let schema = schema();
        let all = value_declarations(&schema);
        all.iter().find(|it| it.name == name).unwrap().entered(&Form::parse(body.as_bytes()))
    }

    #[test]
    fn required_values_come_first() {
        let schema = schema();
        let names: Vec<_> = value_declarations(&schema).iter().map(|it| it.name).collect();
        assert_eq!(names, ["url", "key", "a", "both", "flag", "list", "size"]);
    }

    #[test]
    fn a_text_becomes_a_value_of_the_declared_type() {
        assert_eq!(entered("s.a=7", "a"), Some(json!(7)));
        assert_eq!(entered("s.a=seven", "a"), Some(json!("seven")), "the manifest refuses it");
        assert_eq!(entered("s.a=+", "a"), None);
        assert_eq!(entered("s.both=x", "both"), Some(json!("x")));
        assert_eq!(entered("s.list=a%0D%0A+b+%0A%0A", "list"), Some(json!(["a", "b"])));
        assert_eq!(entered("s.list=", "list"), Some(json!([])), "an empty list is not the default");
        assert_eq!(entered("s.size=2", "size"), Some(json!(2)));
        assert_eq!(entered("", "flag"), Some(json!(false)), "an unchecked box is not the default");
        assert_eq!(entered("s.flag=true", "flag"), Some(json!(true)));
    }
}
