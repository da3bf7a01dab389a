//! The fields of a form for what a connector's manifest declares: settings and secrets.

use serde_json::{Map, Value};

use crate::console::form::Form;
use crate::console::parts::{Control, Field, Listed};

/// The prefix of a setting's field, so that it differs from fields of the host.
pub(super) const SETTING: &str = "s.";
/// The prefix of a secret's field.
pub(super) const SECRET: &str = "x.";

/// A text longer than this gets several lines.
const LINE_CHARS: usize = 120;

/// A setting or secret that a manifest declares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'m> {
    pub(super) name: &'m str,
    property: &'m Map<String, Value>,
    pub(super) is_required: bool,
}

/// How a value is entered and read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Number,
    YesNo,
    List,
}

/// What the manifest declares; addresses and other required values first.
pub(super) fn declared(schema: &Value) -> Vec<Declared<'_>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    let all = properties.into_iter().flatten().filter_map(|(name, property)| {
        let property = property.as_object()?;
        Some(Declared { name, property, is_required: is_required(name) })
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|it| (!it.is_required, !it.flag("jackfield:origin"), it.is_secret()));
    all
}

impl<'m> Declared<'m> {
    pub(super) fn is_secret(&self) -> bool {
        self.flag("writeOnly")
    }

    /// Whether the manifest fixes the value, so that a person cannot enter one.
    pub(super) fn is_fixed(&self) -> bool {
        self.property.contains_key("const")
    }

    fn flag(&self, keyword: &str) -> bool {
        self.property.get(keyword).and_then(Value::as_bool).unwrap_or(false)
    }

    fn text(&self, keyword: &str) -> &'m str {
        self.property.get(keyword).and_then(Value::as_str).unwrap_or_default()
    }

    fn default(&self) -> Option<&'m Value> {
        self.property.get("default")
    }

    fn kind(&self) -> Kind {
        let kind = match self.property.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match kind {
            Some("boolean") => Kind::YesNo,
            Some("integer") => Kind::Whole,
            Some("number") => Kind::Number,
            Some("array") => Kind::List,
            _ => Kind::Text,
        }
    }

    /// The field's name in the form.
    pub(super) fn field_name(&self) -> String {
        format!("{}{}", if self.is_secret() { SECRET } else { SETTING }, self.name)
    }

    /// The field with this text; `is_set` says whether a secret has a value, `search` is the
    /// address where the connector lists values, up to the name of the setting.
    pub(super) fn field(&self, text: Option<String>, is_set: bool, search: &str) -> Field {
        let label = Some(self.text("title")).filter(|it| !it.is_empty()).unwrap_or(self.name);
        let control = if self.is_secret() {
            Control::Secret { is_set }
        } else {
            let entered = text.or_else(|| self.default().map(shown));
            self.control(entered.unwrap_or_default(), search)
        };
        let unset = if self.is_secret() { SECRET_HELP } else { "" };
        let help = [self.text("description"), unset, self.list_help()].join(" ");
        Field::new(self.field_name(), label, control).help(help.trim()).required(self.is_required)
    }

    fn control(&self, value: String, search: &str) -> Control {
        if let Some(Value::Array(values)) = self.property.get("enum") {
            let option = |value: &Value| (shown(value), shown(value));
            let none = (String::new(), "not set".to_owned());
            let none = (!self.is_required && self.default().is_none()).then_some(none);
            let options = none.into_iter().chain(values.iter().map(option)).collect();
            return Control::Select { value, options };
        }
        if self.flag("jackfield:lookup") && !search.is_empty() {
            let is_list = self.kind() == Kind::List;
            let address = format!("{search}setting={}", self.name);
            return Control::Lookup {
                value,
                is_list,
                listed: Listed { address, ..Listed::default() },
            };
        }
        match self.kind() {
            Kind::YesNo => Control::Check { checked: value == "true" },
            Kind::List => Control::Lines { value, rows: 3 },
            _ if value.contains('\n') || value.len() > LINE_CHARS => {
                Control::Lines { value, rows: 5 }
            }
            _ => Control::Input { kind: "text", value },
        }
    }

    fn list_help(&self) -> &'static str {
        if self.kind() == Kind::List { "One value in each line." } else { "" }
    }

    /// The value that a person entered; `None` if the field is empty.
    pub(super) fn entered(&self, form: &Form) -> Option<Value> {
        let field = self.field_name();
        if self.kind() == Kind::YesNo {
            let checked = form.is_checked(&field);
            return (checked || self.default().is_some()).then_some(Value::Bool(checked));
        }
        let text = form.find(&field)?.replace("\r\n", "\n");
        let text = text.trim();
        if self.kind() == Kind::List {
            let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
            let items: Vec<_> = lines.map(|line| self.item(line)).collect();
            return (!items.is_empty() || self.default().is_some()).then_some(Value::Array(items));
        }
        if text.is_empty() {
            return None;
        }
        let listed = self.property.get("enum").and_then(Value::as_array);
        let listed = listed.and_then(|all| all.iter().find(|it| shown(it) == text));
        Some(listed.cloned().unwrap_or_else(|| self.scalar(text)))
    }

    /// A text as a number, if the manifest wants one. Otherwise the check says what is allowed.
    fn scalar(&self, text: &str) -> Value {
        match self.kind() {
            Kind::Whole | Kind::Number => number(text),
            _ => Value::from(text),
        }
    }

    fn item(&self, line: &str) -> Value {
        let kind = self.property.get("items").and_then(|it| it.get("type")).and_then(Value::as_str);
        match kind {
            Some("integer" | "number") => number(line),
            _ => Value::from(line),
        }
    }

    /// Whether the connector uses this value also if it is not set.
    pub(super) fn is_default(&self, value: &Value) -> bool {
        self.default() == Some(value)
    }
}

const SECRET_HELP: &str = "A value, or file:/path or env:NAME of the server.";

/// A value as a person enters it; a list has a line for each item.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join("\n"),
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
        let all = declared(&schema);
        all.iter().find(|it| it.name == name).unwrap().entered(&Form::parse(body.as_bytes()))
    }

    #[test]
    fn what_a_connection_needs_comes_first() {
        let schema = schema();
        let names: Vec<_> = declared(&schema).iter().map(|it| it.name).collect();
        assert_eq!(names, ["url", "key", "a", "both", "flag", "list", "size"]);
    }

    #[test]
    fn a_text_becomes_a_value_of_the_declared_type() {
        assert_eq!(entered("s.a=7", "a"), Some(json!(7)));
        assert_eq!(entered("s.a=seven", "a"), Some(json!("seven")), "the manifest refuses it");
        assert_eq!(entered("s.a=+", "a"), None);
        assert_eq!(entered("s.both=x", "both"), Some(json!("x")));
        assert_eq!(entered("s.list=a%0D%0A+b+%0A%0A", "list"), Some(json!(["a", "b"])));
        assert_eq!(entered("s.list=", "list"), Some(json!([])), "not the default");
        assert_eq!(entered("s.size=2", "size"), Some(json!(2)));
        assert_eq!(entered("", "flag"), Some(json!(false)), "an unchecked box is not the default");
        assert_eq!(entered("s.flag=true", "flag"), Some(json!(true)));
    }
}
