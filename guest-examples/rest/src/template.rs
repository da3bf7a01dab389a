//! Parses requests as the settings describe them, such as `POST /issues {"title": "{{title}}"}`.
//! Replaces each `{{name}}` by the value of that name. The value is encoded for its place, so that
//! a title cannot add a parameter or a member.

use jackfield_connector_kit::*;

/// The values that can replace a `{{name}}` of a request, each with its name.
#[derive(Default)]
pub struct Values(Vec<(&'static str, Value)>);

impl Values {
    pub fn of_key(key: &str) -> Self {
        Self::default().with_value("key", key)
    }

    pub fn of_test(test: &FailedTest, marker: &str) -> Self {
        Self::default()
            .with_value("marker", marker)
            .with_value("test-execution-id", test.test_execution_id.as_str())
            .with_value("test-case-id", test.test_case_id.as_str())
            .with_value("variation-id", test.variation_id.as_deref().unwrap_or_default())
            .with_value("test-case-log", test.link.as_deref().unwrap_or_default())
    }

    pub fn of_marker(marker: &str) -> Self {
        Self::default().with_value("marker", marker)
    }

    pub fn with_value(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Adds a text of the report that is written in this markup. In the markup `adf`, the text is
    /// JSON, and the added value is that JSON.
    pub fn with_markup(self, name: &'static str, text: String, markup: &str) -> Self {
        let value = match markup {
            "adf" => serde_json::from_str(&text).unwrap_or_default(),
            _ => Value::String(text),
        };
        self.with_value(name, value)
    }

    /// Returns the value with this name. An unknown name is an error.
    fn get(&self, name: &str) -> Result<&Value, Error> {
        let found = self.0.iter().find(|(value_name, _)| *value_name == name.trim());
        found.map(|(_, value)| value).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|(name, _)| format!("{{{{{name}}}}}")).collect();
            let names = names.join(", ");
            Error::rejected(format!("{{{{{name}}}}} is unknown here; there is: {names}"))
        })
    }

    /// Replaces each `{{name}}` of a text by its encoded value.
    pub fn fill(&self, text: &str, encode: fn(&str) -> String) -> Result<String, Error> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(Error::rejected(format!("`}}}}` is missing after {before:?}")));
            };
            let Value::String(value) = self.get(name)? else {
                let why = format!(
                    "{{{{{name}}}}} is not a text, so it must be a whole value of the body"
                );
                return Err(Error::rejected(why));
            };
            filled += before;
            filled += &encode(value);
            rest = after;
        }
        Ok(filled + rest)
    }

    /// Replaces each `{{name}}` in the texts of a JSON value. A text that consists of one
    /// `{{name}}` is replaced by the value itself, which may be any JSON.
    fn fill_json(&self, value: &mut Value) -> Result<(), Error> {
        match value {
            Value::String(text) => {
                let whole = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
                *value = match whole.filter(|name| !name.contains("}}")) {
                    Some(name) => self.get(name)?.clone(),
                    None => self.fill(text, str::to_owned)?.into(),
                };
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill_json(item)),
            Value::Object(members) => {
                members.values_mut().try_for_each(|member| self.fill_json(member))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }
}

/// A request whose path and body may contain `{{name}}`.
pub struct RequestTemplate<'a> {
    setting: &'a str,
    method: Method,
    path: &'a str,
    body: Option<Value>,
}

impl<'a> RequestTemplate<'a> {
    /// Parses the text `METHOD PATH BODY` of a setting. The body is JSON, and may be missing.
    pub fn parse(setting: &'a str, text: &'a str) -> Result<Self, Error> {
        let error = |why: String| Error::rejected(why).with_setting(setting);
        let (method, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
        let method = match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            _ => {
                let why = format!("{text:?} does not begin with GET, POST, PUT or PATCH");
                return Err(error(why));
            }
        };
        let rest = rest.trim_start();
        let (path, body) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(error(format!("the path {path:?} does not begin with /")));
        }
        let body = match body.trim() {
            "" => None,
            json => Some(serde_json::from_str(json).map_err(|parse_error| {
                error(format!(
                    "the body is not JSON ({parse_error}); write {{{{name}}}} inside quotes"
                ))
            })?),
        };
        Ok(Self { setting, method, path, body })
    }

    /// Replaces each `{{name}}` in the path and in the body.
    pub fn fill(mut self, values: &Values) -> Result<FilledRequest<'a>, Error> {
        let path = values.fill(self.path, percent_encoded);
        let filled = self.body.as_mut().map(|body| values.fill_json(body)).transpose();
        match (path, filled) {
            (Ok(path), Ok(_)) => {
                let (setting, method, body) = (self.setting, self.method, self.body);
                Ok(FilledRequest { setting, method, path, body })
            }
            (Err(error), _) | (_, Err(error)) => Err(error.with_setting(self.setting)),
        }
    }
}

/// A request in which values have replaced each `{{name}}`.
pub struct FilledRequest<'a> {
    setting: &'a str,
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
}

impl FilledRequest<'_> {
    /// Adds the fields of the report to the object in the body to which `pointer` points.
    pub fn set_fields(&mut self, pointer: &str) -> Result<(), Error> {
        for report::Field { name, value } in report::fields() {
            let members = self.body.as_mut().and_then(|body| body.pointer_mut(pointer));
            let Some(members) = members.and_then(Value::as_object_mut) else {
                let why = format!("cannot set the field {name:?}: no object at {pointer:?}");
                return Err(Error::rejected(why).with_setting("fields-at"));
            };
            members.insert(name, value.into());
        }
        Ok(())
    }

    /// Refuses a write without the marker. Without the marker, a search could not find the record
    /// or the comment that the write creates.
    pub fn check_contains(&self, marker: &str) -> Result<(), Error> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        if body.contains(marker) || self.path.contains(marker) {
            return Ok(());
        }
        let why = "the request has none of {{description}}, {{comment}} and {{marker}}";
        Err(Error::rejected(why).with_setting(self.setting))
    }
}
