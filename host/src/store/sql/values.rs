//! The values of parameters and columns that the store's rules and the database engines exchange.
//!
//! A value never copies a text or bytes; it borrows them.

use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Value<'a> {
    /// NULL. The kind is exact in a parameter, but not in a column of a row.
    Null(Kind),
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Id(Uuid),
}

impl Value<'_> {
    /// Returns the approximate size of the value, bytes.
    pub(in crate::store) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null(_) | Self::Bool(_) | Self::Int(_) | Self::Id(_) => size_of::<Uuid>(),
        }
    }

    pub(in crate::store) fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::Id(_) => Kind::Id,
        }
    }
}

/// PostgreSQL needs the kind of a parameter even if the value is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Bool,
    Int,
    Text,
    Bytes,
    Id,
}

pub(in crate::store) trait ToValue {
    const KIND: Kind;
    fn to_value(&self) -> Value<'_>;
}

/// `from_value` returns `None` if the value has another type or is out of range.
pub(in crate::store) trait FromValue: Sized {
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl<T: ToValue + ?Sized> ToValue for &T {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null(T::KIND), T::to_value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Null(_) = value { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl ToValue for bool {
    const KIND: Kind = Kind::Bool;
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(value),
            // SQLite stores booleans as integers.
            Value::Int(value) => Some(value != 0),
            _ => None,
        }
    }
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl ToValue for $integer {
            const KIND: Kind = Kind::Int;
            fn to_value(&self) -> Value<'_> {
                Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }

        impl FromValue for $integer {
            fn from_value(value: Value<'_>) -> Option<Self> {
                if let Value::Int(value) = value { value.try_into().ok() } else { None }
            }
        }
    )+};
}

integers!(i64, u16, u32, u64, usize);

impl ToValue for str {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.to_owned()) } else { None }
    }
}

impl ToValue for Vec<u8> {
    const KIND: Kind = Kind::Bytes;
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    const KIND: Kind = Kind::Bytes;
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Bytes(bytes) = value { Some(bytes.to_owned()) } else { None }
    }
}

impl ToValue for Uuid {
    const KIND: Kind = Kind::Id;
    fn to_value(&self) -> Value<'_> {
        Value::Id(*self)
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Id(id) => Some(id),
            // SQLite stores UUIDs as bytes.
            Value::Bytes(bytes) => Self::from_slice(bytes).ok(),
            _ => None,
        }
    }
}
