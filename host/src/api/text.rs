//! Types that wrap a value and write it as a JSON string. This module also describes parse errors
//! without repeating values of a wrong type.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::StringEnum;
use crate::secret::Secret;

/// Describes why a JSON or TOML text cannot be parsed. `error` is the error message of the parser.
/// The description does not repeat a value of a wrong type, because it may be a secret.
pub fn describe_without_values(error: &str) -> String {
    let quotes_a_value = ["invalid type", "invalid value"].iter().any(|it| error.starts_with(it));
    match error.rsplit_once(", expected ") {
        Some((_, expected)) if quotes_a_value => {
            format!("a value has the wrong type; expected {expected}")
        }
        None if quotes_a_value => "a value has the wrong type".to_owned(),
        _ => error.to_owned(),
    }
}

/// Wraps a value of a [`StringEnum`], which is written and read as its string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnumString<T>(pub T);

impl<T: StringEnum> Serialize for EnumString<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de, T: StringEnum> Deserialize<'de> for EnumString<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(|error: UnknownWord| {
            D::Error::custom(format!("unknown word {word:?}; {error}"))
        })
    }
}

impl<T: StringEnum> fmt::Display for EnumString<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// The error for a word that is not one of the strings of a [`StringEnum`].
#[derive(Debug, thiserror::Error)]
#[error("it must be one of {}", .allowed.join(", "))]
pub struct UnknownWord {
    allowed: Vec<&'static str>,
}

impl<T: StringEnum> FromStr for EnumString<T> {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        T::parse(word).map(Self).ok_or_else(|| UnknownWord {
            allowed: T::ALL.iter().map(|value| value.as_str()).collect(),
        })
    }
}

/// Wraps a value, such as an origin, that is written with `Display` and read with `FromStr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| D::Error::custom(format!("cannot read {text:?}")))
    }
}

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An instant, which is always written in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}

/// A secret in a request, or in the answer that issues the secret. `Debug` does not print it.
#[derive(Debug, Clone)]
pub struct SecretText(pub Secret);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.reveal())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl<T: StringEnum> JsonSchema for EnumString<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EnumString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = T::ALL.iter().map(|value| value.as_str()).collect();
        json_schema!({"type": "string", "enum": words})
    }
}

/// Implements `JsonSchema` for a type that is written as a JSON string.
macro_rules! string_schema {
    ($wrapper:ident $(<$parameter:ident>)?, $schema:tt) => {
        impl $(<$parameter>)? JsonSchema for $wrapper $(<$parameter>)? {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($wrapper).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

string_schema!(Text<T>, {"type": "string"});
string_schema!(Time, {"type": "string", "format": "date-time"});
string_schema!(SecretText, {"type": "string", "format": "password"});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_a_parse_error_contains_no_value() {
        let error = serde_json::from_str::<Vec<u8>>("\"hunter2\"").unwrap_err().to_string();
        let described = describe_without_values(&error);
        assert!(error.contains("hunter2") && !described.contains("hunter2"), "{error}");
        assert_eq!(described, "a value has the wrong type; expected a sequence at line 1 column 9");
        assert_eq!(describe_without_values("missing field `name`"), "missing field `name`");
    }

    #[test]
    fn each_time_is_written_with_milliseconds() {
        for (nanoseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_500_000_000, "1970-01-01T00:00:01.500Z"),
            (1_999_999_999, "1970-01-01T00:00:01.999Z"),
        ] {
            let time = Time(Timestamp::from_nanosecond(nanoseconds).unwrap());
            assert_eq!(serde_json::to_value(time).unwrap(), text);
            assert_eq!(time.to_string(), text);
        }
    }
}
