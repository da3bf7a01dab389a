//! Requests as the settings describe them, such as `POST /issues {"title": "{{title}}"}`. A value
//! replaces `{{name}}`. It is encoded for its place, so a title cannot add a parameter or a member.

use jackfield_connector_kit::*;

/// The values that may replace a `{{name}}` of a request.
#[derive(Default)]
pub struct Values(Vec<(&'static str, Value)>);

impl Values {
    pub fn of_key(key: &str) -> Self {
        Self::default().with("key", key)
    }

    pub fn of_test(test: &FailedTest, marker: &str) -> Self {
        Self::default()
            .with("marker", marker)
            .with("test-execution-id", test.test_execution_id.as_str())
            .with("test-case-id", test.test_case_id.as_str())
            .with("variation-id", test.variation_id.as_deref().unwrap_or_default())
            .with("test-case-log", test.link.as_deref().unwrap_or_default())
    }

    pub fn of_marker(marker: &str) -> Self {
        Self::default().with("marker", marker)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Returns a text of the report in this markup; `adf` is not a text, but a JSON value.
    pub fn with_markup(self, name: &'static str, text: String, markup: &str) -> Self {
        let value = match markup {
            "adf" => serde_json::from_str(&text).unwrap_or_default(),
            _ => Value::String(text),
        };
        self.with(name, value)
    }

    fn get(&self, name: &str) -> Result<&Value, Error> {
        let found = self.0.iter().find(|(known, _)| *known == name.trim());
        found.map(|(_, value)| value).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|(name, _)| format!("{{{{{name}}}}}")).collect();
            let names = names.join(", ");
            Error::rejected(format!("{{{{{name}}}}} is unknown here; there is: {names}"))
        })
    }

    /// Replaces each `{{name}}` of a text.
    pub fn fill(&self, text: &str, encode: fn(&str) -> String) -> Result<String, Error> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(Error::rejected(format!("`}}}}` is missing after {before:?}")));
            };
            let Value::String(value) = self.get(name)? else {
                let why = format!("{{{{{name}}}}} is not a text: it must be a whole value");
                return Err(Error::rejected(why));
            };
            filled += before;
            filled += &encode(value);
            rest = after;
        }
        Ok(filled + rest)
    }

    /// Replaces each `{{name}}` in the texts of a JSON value.
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

/// A request whose texts may contain `{{name}}`.
pub struct Template<'a> {
    setting: &'a str,
    method: Method,
    path: &'a str,
    body: Option<Value>,
}

impl<'a> Template<'a> {
    /// Parses `METHOD PATH BODY`. The body is JSON and may be missing.
    pub fn read(setting: &'a str, text: &'a str) -> Result<Self, Error> {
        let wrong = |why: String| Error::rejected(why).about(setting);
        let (method, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
        let method = match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            _ => {
                let why = format!("{text:?} does not begin with GET, POST, PUT or PATCH");
                return Err(wrong(why));
            }
        };
        let rest = rest.trim_start();
        let (path, body) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(wrong(format!("the path {path:?} does not begin with /")));
        }
        let body = match body.trim() {
            "" => None,
            json => Some(serde_json::from_str(json).map_err(|error| {
                wrong(format!("the body is not JSON ({error}); write {{{{name}}}} inside quotes"))
            })?),
        };
        Ok(Self { setting, method, path, body })
    }

    pub fn fill(mut self, values: &Values) -> Result<Filled<'a>, Error> {
        let path = values.fill(self.path, percent_encoded);
        let filled = self.body.as_mut().map(|body| values.fill_json(body)).transpose();
        match (path, filled) {
            (Ok(path), Ok(_)) => {
                Ok(Filled { setting: self.setting, method: self.method, path, body: self.body })
            }
            (Err(error), _) | (_, Err(error)) => Err(error.about(self.setting)),
        }
    }
}

/// A request whose values are filled in.
pub struct Filled<'a> {
    setting: &'a str,
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
}

impl Filled<'_> {
    /// Adds the fields of the report to the object at `pointer`.
    pub fn set_fields(&mut self, pointer: &str) -> Result<(), Error> {
        for report::Field { name, value } in report::fields() {
            let members = self.body.as_mut().and_then(|body| body.pointer_mut(pointer));
            let Some(members) = members.and_then(Value::as_object_mut) else {
                let why = format!("cannot set the field {name:?}: no object at {pointer:?}");
                return Err(Error::rejected(why).about("fields-at"));
            };
            members.insert(name, value.into());
        }
        Ok(())
    }

    /// Refuses a write without the marker, because a search could not find its record.
    pub fn must_contain(&self, marker: &str) -> Result<(), Error> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        if body.contains(marker) || self.path.contains(marker) {
            return Ok(());
        }
        let why = "the request has none of {{description}}, {{comment}} and {{marker}}";
        Err(Error::rejected(why).about(self.setting))
    }
}
