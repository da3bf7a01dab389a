//! The validation keywords of one setting: compiled once, then applied to entered values.
//!
//! As in JSON Schema, a keyword applies only to values of its own type. An error says what is
//! allowed and never repeats the value, which may be confidential.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use super::SchemaError;
use super::compare::{compare_numbers, contains, has_duplicate, integer, is_equal, sorted};
use super::formats::{FORMATS, Format};
use super::keywords;

/// Maximum memory of one compiled `pattern`, bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

const TYPES: &[JsonType] = &[
    JsonType { name: "string", includes: Value::is_string },
    JsonType { name: "number", includes: Value::is_number },
    JsonType { name: "integer", includes: is_integer },
    JsonType { name: "boolean", includes: Value::is_boolean },
    JsonType { name: "array", includes: Value::is_array },
];

/// The requirements of one setting's schema.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

/// One validation keyword with its value.
#[derive(Debug)]
enum Rule {
    Type(Vec<&'static JsonType>),
    Enum {
        /// The allowed values, in the order of the schema, for error messages.
        shown: String,
        sorted: Vec<Value>,
    },
    Const(Value),
    Format(&'static Format),
    Pattern(Regex),
    MinLength(usize),
    MaxLength(usize),
    Minimum(Number),
    Maximum(Number),
    Items(Rules),
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
}

/// A JSON type that the keyword `type` may name.
#[derive(Debug)]
struct JsonType {
    name: &'static str,
    includes: fn(&Value) -> bool,
}

impl Rules {
    /// Compiles the schema of one setting.
    ///
    /// # Errors
    /// The first keyword whose value is not allowed.
    pub(super) fn compile(schema: &Map<String, Value>) -> Result<Self, SchemaError> {
        if !["type", "enum", "const"].iter().any(|keyword| schema.contains_key(*keyword)) {
            return Err(SchemaError::new("must have the keyword \"type\", \"enum\" or \"const\""));
        }
        let compile = |(keyword, value): (&String, &Value)| {
            Rule::compile(keyword, value).map_err(|error| error.within(keyword)).transpose()
        };
        schema.iter().filter_map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Returns one error for each keyword that does not allow the value.
    pub(super) fn errors(&self, value: &Value) -> impl Iterator<Item = String> {
        self.0.iter().filter(|rule| !rule.allows(value)).map(|rule| rule.requirement("it"))
    }

    fn allow(&self, value: &Value) -> bool {
        self.0.iter().all(|rule| rule.allows(value))
    }
}

impl Rule {
    /// Returns `None` for a keyword that does not restrict the value.
    fn compile(keyword: &str, value: &Value) -> Result<Option<Self>, SchemaError> {
        Ok(Some(match keyword {
            "type" => Self::Type(types(value)?),
            "enum" => Self::compile_enum(array(value)?),
            "const" => Self::Const(value.clone()),
            "format" => Self::Format(format(value)?),
            "pattern" => Self::Pattern(pattern(value)?),
            "minLength" => Self::MinLength(count(value)?),
            "maxLength" => Self::MaxLength(count(value)?),
            "minimum" => Self::Minimum(number(value)?),
            "maximum" => Self::Maximum(number(value)?),
            "items" => Self::Items(items(value)?),
            "minItems" => Self::MinItems(count(value)?),
            "maxItems" => Self::MaxItems(count(value)?),
            "uniqueItems" if *value == Value::Bool(true) => Self::UniqueItems,
            "examples" => return array(value).map(|_| None),
            "title" | "description" => return string(value).map(|_| None),
            _ => return Ok(None),
        }))
    }

    fn compile_enum(values: &[Value]) -> Self {
        let shown: Vec<_> = values.iter().map(Value::to_string).collect();
        Self::Enum { shown: shown.join(", "), sorted: sorted(values) }
    }

    fn allows_arrays(&self) -> bool {
        matches!(self, Self::Type(types) if types.iter().any(|known| known.name == "array"))
    }

    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Type(types), _) => types.iter().any(|known| (known.includes)(value)),
            (Self::Enum { sorted, .. }, _) => contains(sorted, value),
            (Self::Const(expected), _) => is_equal(expected, value),
            (Self::Format(format), Value::String(text)) => (format.is_valid)(text),
            (Self::Pattern(regex), Value::String(text)) => regex.is_match(text),
            (Self::MinLength(min), Value::String(text)) => text.chars().count() >= *min,
            (Self::MaxLength(max), Value::String(text)) => text.chars().count() <= *max,
            (Self::Minimum(min), Value::Number(number)) => compare_numbers(number, min).is_ge(),
            (Self::Maximum(max), Value::Number(number)) => compare_numbers(number, max).is_le(),
            (Self::Items(rules), Value::Array(items)) => items.iter().all(|it| rules.allow(it)),
            (Self::MinItems(min), Value::Array(items)) => items.len() >= *min,
            (Self::MaxItems(max), Value::Array(items)) => items.len() <= *max,
            (Self::UniqueItems, Value::Array(items)) => !has_duplicate(items),
            _ => true,
        }
    }

    /// Describes the requirement of the keyword, as a sentence about `subject`.
    fn requirement(&self, subject: &str) -> String {
        let requirement = match self {
            Self::Type(types) => {
                let names: Vec<_> = types.iter().map(|known| known.name).collect();
                format!("be of type {}", names.join(" or "))
            }
            Self::Enum { shown, .. } => format!("be one of {shown}"),
            Self::Const(expected) => format!("be {expected}, which the connector fixes"),
            Self::Format(format) => format!("be {}", format.description),
            Self::Pattern(regex) => format!("match the pattern {regex}"),
            Self::MinLength(min) => format!("have at least {min} characters"),
            Self::MaxLength(max) => format!("have at most {max} characters"),
            Self::Minimum(min) => format!("be at least {min}"),
            Self::Maximum(max) => format!("be at most {max}"),
            Self::Items(Rules(rules)) => {
                let requirements: Vec<_> =
                    rules.iter().map(|it| it.requirement("each item")).collect();
                return requirements.join("; ");
            }
            Self::MinItems(min) => format!("have at least {min} items"),
            Self::MaxItems(max) => format!("have at most {max} items"),
            Self::UniqueItems => "not contain an item twice".to_owned(),
        };
        format!("{subject} must {requirement}")
    }
}

fn types(value: &Value) -> Result<Vec<&'static JsonType>, SchemaError> {
    let names = match value {
        Value::Array(names) if !names.is_empty() => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    let find = |name: &Value| TYPES.iter().find(|known| name == known.name);
    names.iter().map(find).collect::<Option<_>>().ok_or_else(|| {
        let names: Vec<_> = TYPES.iter().map(|known| known.name).collect();
        SchemaError::new(format!("must be one or more of {}", names.join(", ")))
    })
}

/// Returns whether a value is an integer. JSON Schema counts 2.0 among the integers.
fn is_integer(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn items(value: &Value) -> Result<Rules, SchemaError> {
    let Value::Object(schema) = value else { return Err(SchemaError::new("must be an object")) };
    keywords::only(schema, &["type", "enum"])?;
    let rules = Rules::compile(schema)?;
    if rules.0.iter().any(Rule::allows_arrays) {
        return Err(SchemaError::at(
            "type",
            "must not be \"array\": nested arrays are not supported",
        ));
    }
    Ok(rules)
}

fn array(value: &Value) -> Result<&Vec<Value>, SchemaError> {
    value.as_array().ok_or_else(|| SchemaError::new("must be an array"))
}

fn string(value: &Value) -> Result<&str, SchemaError> {
    value.as_str().ok_or_else(|| SchemaError::new("must be a string"))
}

fn number(value: &Value) -> Result<Number, SchemaError> {
    value.as_number().cloned().ok_or_else(|| SchemaError::new("must be a number"))
}

fn count(value: &Value) -> Result<usize, SchemaError> {
    let count = value.as_number().and_then(integer).and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| SchemaError::new("must be an integer, 0 or greater"))
}

fn format(value: &Value) -> Result<&'static Format, SchemaError> {
    FORMATS.iter().find(|format| value == format.name).ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        SchemaError::new(format!("must be one of {}", names.join(", ")))
    })
}

/// Compiles a pattern. The regex crate searches in linear time, and its memory is limited.
fn pattern(value: &Value) -> Result<Regex, SchemaError> {
    let regex = RegexBuilder::new(&from_ecma(string(value)?))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(max) => {
            SchemaError::new(format!("is too large: compiled, it needs more than {max} bytes"))
        }
        _ => SchemaError::new(
            "is not a valid regular expression; look-around and back-references are not supported",
        ),
    })
}

/// JSON Schema uses the dialect of ECMA-262. Rewrites what the regex crate reads differently: `\d`
/// and `\w` are ASCII; `[`, `&` and `~` in a character class are plain characters.
fn from_ecma(pattern: &str) -> String {
    let mut rewritten = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('d') => rewritten.push_str("[0-9]"),
                Some('D') => rewritten.push_str("[^0-9]"),
                Some('w') => rewritten.push_str("[0-9A-Za-z_]"),
                Some('W') => rewritten.push_str("[^0-9A-Za-z_]"),
                escaped => {
                    rewritten.push('\\');
                    rewritten.extend(escaped);
                }
            },
            '[' | '&' | '~' if in_class => {
                rewritten.push('\\');
                rewritten.push(character);
            }
            _ => {
                in_class = character == '[' || in_class && character != ']';
                rewritten.push(character);
            }
        }
    }
    rewritten
}

#[cfg(test)]
mod tests;
