//! Values of the domain as JSON texts.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::StringEnum;
use crate::secret::Secret;

/// A value of an enum of words, as its word.
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
        T::parse(&word).map(Self).ok_or_else(|| {
            let known: Vec<_> = T::ALL.iter().map(|value| value.as_str()).collect();
            D::Error::custom(format!("unknown word {word:?}; one of {}", known.join(", ")))
        })
    }
}

impl<T: StringEnum> fmt::Display for EnumString<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl<T: StringEnum> FromStr for EnumString<T> {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        T::parse(word).map(Self).ok_or_else(|| {
            let known: Vec<_> = T::ALL.iter().map(|value| value.as_str()).collect();
            format!("one of {}", known.join(", "))
        })
    }
}

/// A value that has one text form: an id, an instant, an origin.
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

/// A secret on its way into the server; only requests have one, and it cannot be printed.
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
