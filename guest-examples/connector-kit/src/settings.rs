//! Reads the connection's settings into a type of the connector. Has types for settings that people
//! write in more than one way.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::bindings::jackfield::connector::settings as given;

/// Reads the settings, and fills in the defaults of `schema`, which the host does not. Secrets are
/// missing: the host never shows them.
pub fn settings<T: DeserializeOwned>(schema: &str) -> Result<T, Error> {
    let not_json = |error| Error::new(ErrorCode::Internal, format!("the schema is wrong: {error}"));
    let schema: Value = serde_json::from_str(schema).map_err(not_json)?;
    let invalid = |error| Error::rejected(format!("the settings are not valid: {error}"));
    let mut all: Map<String, Value> = serde_json::from_str(&given::all()).map_err(invalid)?;
    for (name, setting) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        if let Some(default) = setting.get("default") {
            all.entry(name).or_insert_with(|| default.clone());
        }
    }
    T::deserialize(Value::Object(all)).map_err(invalid)
}

/// A list of texts, or one text with commas, as a command line passes it.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum List {
    List(Vec<String>),
    Text(String),
}

/// A number, or a text with a number in it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Number(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl List {
    /// Returns the items without spaces around them; empty items are left out.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (list, text) = match self {
            Self::List(list) => (list.as_slice(), ""),
            Self::Text(text) => (&[][..], text.as_str()),
        };
        let items = list.iter().map(String::as_str).chain(text.split(','));
        items.map(str::trim).filter(|item| !item.is_empty())
    }
}

impl TryFrom<NumberOrText> for Number {
    type Error = String;

    fn try_from(given: NumberOrText) -> Result<Self, String> {
        match given {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => {
                text.parse().map(Self).map_err(|_| format!("{text:?} is not a number"))
            }
        }
    }
}
