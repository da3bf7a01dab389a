//! Reads the connection's settings into a type that the connector declares. Contains types for
//! settings that people can write in several forms.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::bindings::jackfield::connector::settings as host_settings;

/// Reads the connection's settings, and adds the defaults of `schema`. The host does not add them.
/// The result contains no secrets, because the host never passes them to a connector.
pub fn read_settings<T: DeserializeOwned>(schema: &str) -> Result<T, Error> {
    let not_json = |error| Error::new(ErrorCode::Internal, format!("the schema is wrong: {error}"));
    let schema: Value = serde_json::from_str(schema).map_err(not_json)?;
    let invalid = |error| Error::rejected(format!("the settings are not valid: {error}"));
    let mut all: Map<String, Value> =
        serde_json::from_str(&host_settings::all()).map_err(invalid)?;
    for (name, setting) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        if let Some(default) = setting.get("default") {
            all.entry(name).or_insert_with(|| default.clone());
        }
    }
    T::deserialize(Value::Object(all)).map_err(invalid)
}

/// A setting that is a list of texts. A command line passes such a list as one text with commas.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum TextList {
    List(Vec<String>),
    Text(String),
}

/// A setting that is a number. A command line may pass it as a text.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Number(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl TextList {
    /// Returns the items without spaces at their ends. Leaves out empty items.
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

    fn try_from(setting: NumberOrText) -> Result<Self, String> {
        match setting {
            NumberOrText::Number(number) => Ok(Self(number)),
            NumberOrText::Text(text) => {
                text.parse().map(Self).map_err(|_| format!("{text:?} is not a number"))
            }
        }
    }
}
