//! The validation keywords of one setting, compiled once and then applied to entered values.
//!
//! As in JSON Schema, a keyword such as `minLength` applies only to values of one type. An error
//! never contains the entered value, which may be confidential.

use serde_json::{Map, Number, Value};

use super::SchemaError;
use super::compare::{
    as_integer, compare_numbers, contains_value, has_duplicate, is_equal, sorted_copy,
};
use super::formats::{FORMATS, Format};
use super::keywords;
use super::pattern::Pattern;

/// The types that the keyword `type` may contain.
const JSON_TYPES: &[JsonType] = &[
    JsonType { name: "string", is_type: Value::is_string },
    JsonType { name: "number", is_type: Value::is_number },
    JsonType { name: "integer", is_type: is_integer },
    JsonType { name: "boolean", is_type: Value::is_boolean },
    JsonType { name: "array", is_type: Value::is_array },
];

#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

/// One validation keyword with its value.
#[derive(Debug)]
enum Rule {
    Type(Vec<&'static JsonType>),
    Enum {
        /// In the order of the schema, for error messages.
        allowed_values: String,
        /// Sorted for the search.
        sorted_values: Vec<Value>,
    },
    Const(Value),
    Format(&'static Format),
    Pattern(Pattern),
    MinLength(usize),
    MaxLength(usize),
    Minimum(Number),
    Maximum(Number),
    Items(Rules),
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
}

#[derive(Debug)]
struct JsonType {
    name: &'static str,
    is_type: fn(&Value) -> bool,
}

impl Rules {
    /// Compiles the schema of one setting.
    ///
    /// # Errors
    /// The value of a keyword is not allowed, or `type`, `enum` and `const` are all absent.
    pub(super) fn compile(schema: &Map<String, Value>) -> Result<Self, SchemaError> {
        if !["type", "enum", "const"].iter().any(|keyword| schema.contains_key(*keyword)) {
            return Err(SchemaError::new("must have the keyword \"type\", \"enum\" or \"const\""));
        }
        let compile = |(keyword, value): (&String, &Value)| {
            Rule::compile(keyword, value).map_err(|error| error.within_member(keyword)).transpose()
        };
        schema.iter().filter_map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Returns one error for each keyword that does not allow the value.
    pub(super) fn errors(&self, value: &Value) -> impl Iterator<Item = String> {
        self.0.iter().filter(|rule| !rule.allows(value)).map(|rule| rule.requirement("it"))
    }

    fn allows(&self, value: &Value) -> bool {
        self.0.iter().all(|rule| rule.allows(value))
    }
}

impl Rule {
    /// `None` for a keyword that does not restrict the value.
    fn compile(keyword: &str, value: &Value) -> Result<Option<Self>, SchemaError> {
        Ok(Some(match keyword {
            "type" => Self::Type(read_types(value)?),
            "enum" => Self::compile_enum(read_array(value)?),
            "const" => Self::Const(value.clone()),
            "format" => Self::Format(read_format(value)?),
            "pattern" => Self::Pattern(Pattern::compile(read_string(value)?)?),
            "minLength" => Self::MinLength(read_count(value)?),
            "maxLength" => Self::MaxLength(read_count(value)?),
            "minimum" => Self::Minimum(read_number(value)?),
            "maximum" => Self::Maximum(read_number(value)?),
            "items" => Self::Items(compile_items(value)?),
            "minItems" => Self::MinItems(read_count(value)?),
            "maxItems" => Self::MaxItems(read_count(value)?),
            "uniqueItems" if *value == Value::Bool(true) => Self::UniqueItems,
            "examples" => return read_array(value).map(|_| None),
            "title" | "description" => return read_string(value).map(|_| None),
            _ => return Ok(None),
        }))
    }

    fn compile_enum(values: &[Value]) -> Self {
        let allowed_values: Vec<_> = values.iter().map(Value::to_string).collect();
        Self::Enum { allowed_values: allowed_values.join(", "), sorted_values: sorted_copy(values) }
    }

    fn allows_arrays(&self) -> bool {
        matches!(self, Self::Type(types) if types.iter().any(|json_type| json_type.name == "array"))
    }

    /// A keyword allows all values of types to which it does not apply.
    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Type(types), _) => types.iter().any(|json_type| (json_type.is_type)(value)),
            (Self::Enum { sorted_values, .. }, _) => contains_value(sorted_values, value),
            (Self::Const(expected), _) => is_equal(expected, value),
            (Self::Format(format), Value::String(text)) => (format.is_valid)(text),
            (Self::Pattern(pattern), Value::String(text)) => pattern.is_match(text),
            (Self::MinLength(min), Value::String(text)) => text.chars().count() >= *min,
            (Self::MaxLength(max), Value::String(text)) => text.chars().count() <= *max,
            (Self::Minimum(min), Value::Number(number)) => compare_numbers(number, min).is_ge(),
            (Self::Maximum(max), Value::Number(number)) => compare_numbers(number, max).is_le(),
            (Self::Items(rules), Value::Array(items)) => {
                items.iter().all(|item| rules.allows(item))
            }
            (Self::MinItems(min), Value::Array(items)) => items.len() >= *min,
            (Self::MaxItems(max), Value::Array(items)) => items.len() <= *max,
            (Self::UniqueItems, Value::Array(items)) => !has_duplicate(items),
            _ => true,
        }
    }

    /// Describes the requirement as a sentence about `subject` or, for `items`, about each item.
    fn requirement(&self, subject: &str) -> String {
        let requirement = match self {
            Self::Type(types) => {
                let names: Vec<_> = types.iter().map(|json_type| json_type.name).collect();
                format!("be of type {}", names.join(" or "))
            }
            Self::Enum { allowed_values, .. } => format!("be one of {allowed_values}"),
            Self::Const(expected) => {
                format!("be {expected}, the only value that the connector allows")
            }
            Self::Format(format) => format!("be {}", format.description),
            Self::Pattern(pattern) => format!("match the pattern {pattern}"),
            Self::MinLength(min) => format!("have at least {min} characters"),
            Self::MaxLength(max) => format!("have at most {max} characters"),
            Self::Minimum(min) => format!("be at least {min}"),
            Self::Maximum(max) => format!("be at most {max}"),
            Self::Items(Rules(rules)) => {
                let requirements: Vec<_> =
                    rules.iter().map(|rule| rule.requirement("each item")).collect();
                return requirements.join("; ");
            }
            Self::MinItems(min) => format!("have at least {min} items"),
            Self::MaxItems(max) => format!("have at most {max} items"),
            Self::UniqueItems => "not contain an item twice".to_owned(),
        };
        format!("{subject} must {requirement}")
    }
}

fn read_types(value: &Value) -> Result<Vec<&'static JsonType>, SchemaError> {
    let names = match value {
        Value::Array(names) if !names.is_empty() => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    let find = |name: &Value| JSON_TYPES.iter().find(|json_type| name == json_type.name);
    names.iter().map(find).collect::<Option<_>>().ok_or_else(|| {
        let names: Vec<_> = JSON_TYPES.iter().map(|json_type| json_type.name).collect();
        SchemaError::new(format!("must be one or more of {}", names.join(", ")))
    })
}

/// In JSON Schema, 2.0 is an integer.
fn is_integer(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The value of `items` is the schema of each item of an array.
fn compile_items(value: &Value) -> Result<Rules, SchemaError> {
    let Value::Object(schema) = value else { return Err(SchemaError::new("must be an object")) };
    keywords::refuse_unsupported(schema, &["type", "enum"])?;
    let rules = Rules::compile(schema)?;
    if rules.0.iter().any(Rule::allows_arrays) {
        return Err(SchemaError::at_keyword(
            "type",
            "must not be \"array\": nested arrays are not supported",
        ));
    }
    Ok(rules)
}

fn read_array(value: &Value) -> Result<&Vec<Value>, SchemaError> {
    value.as_array().ok_or_else(|| SchemaError::new("must be an array"))
}

fn read_string(value: &Value) -> Result<&str, SchemaError> {
    value.as_str().ok_or_else(|| SchemaError::new("must be a string"))
}

fn read_number(value: &Value) -> Result<Number, SchemaError> {
    value.as_number().cloned().ok_or_else(|| SchemaError::new("must be a number"))
}

/// Reads a keyword whose value is a number of characters or of items.
fn read_count(value: &Value) -> Result<usize, SchemaError> {
    let count =
        value.as_number().and_then(as_integer).and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| SchemaError::new("must be an integer, 0 or greater"))
}

fn read_format(value: &Value) -> Result<&'static Format, SchemaError> {
    FORMATS.iter().find(|format| value == format.name).ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        SchemaError::new(format!("must be one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;
