//! JSON whose members keep the order in which the server sent them. The API sends important members
//! first. The maps of serde_json would sort the members by name.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    List(Vec<Json>),
    Members(Vec<(String, Json)>),
}

impl Json {
    /// Returns null if the value cannot be serialized.
    pub(super) fn from_value(value: &impl Serialize) -> Self {
        serde_json::to_string(value).map_or(Self::Scalar(Value::Null), |text| Self::parse(&text))
    }

    /// Returns null if the text is not JSON.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Self::Scalar(Value::Null))
    }

    /// Returns no items if the member is missing or is not a list.
    pub(super) fn list_items(&self, name: &str) -> &[Self] {
        let Self::Members(members) = self else { return &[] };
        match members.iter().find(|(member, _)| member == name) {
            Some((_, Self::List(items))) => items,
            _ => &[],
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(value) => value.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Members(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_values_keep_their_type() {
        let text = r#"{"z":1,"a":[null,true,-7,2.5,18446744073709551615,"ä"],"m":{"y":{},"b":[]}}"#;
        let json = Json::parse(text);
        assert_eq!(serde_json::to_string(&json).expect("JSON"), text);
        assert_eq!(json.list_items("a").len(), 6);
        assert_eq!((json.list_items("m"), json.list_items("x")), (&[][..], &[][..]));
        assert_eq!(Json::parse("no JSON"), Json::Scalar(Value::Null));
    }
}
