//! Parses the options `--set KEY=VALUE` and `--secret KEY=…`, and reads the secrets of other
//! options.
//!
//! Never accepts a secret's value on the command line, because other users of the machine could see
//! it there, and the shell's history would contain it. Never repeats a secret in an error.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::api::SecretText;
use crate::domain::Settings;
use crate::secret::Secret;

/// Parses the arguments of `--set`. A JSON list, a number, true and false keep their type, unless
/// the connector's schema requires text for the setting. Any other value becomes text. If the
/// schema requires a list, the text is split at its commas.
pub(super) fn parse_settings(
    arguments: &[String],
    schema: impl FnOnce() -> Option<Value>,
) -> anyhow::Result<Settings> {
    let schema = LazyCell::new(schema);
    arguments
        .iter()
        .map(|argument| {
            let pair = argument.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, text) = pair.with_context(|| {
                format!("cannot read --set {argument:?}: write --set NAME=VALUE")
            })?;
            let typed = typed_value(text);
            let value = match schema.as_ref() {
                Some(schema) if requires_text(schema, name, &typed) => {
                    Value::String(text.to_owned())
                }
                Some(schema) if requires_list(schema, name, &typed) => split_list(text),
                _ => typed,
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// Returns whether the schema allows text for a setting, but not the type of this value.
fn requires_text(schema: &Value, name: &str, value: &Value) -> bool {
    let allows = |type_name: &str| allows_type(schema, name, type_name);
    let types_of_value: &[&str] = match value {
        Value::Array(_) => &["array"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        _ => &["number", "integer"],
    };
    !value.is_string()
        && allows("string")
        && !types_of_value.iter().any(|type_name| allows(type_name))
}

fn requires_list(schema: &Value, name: &str, value: &Value) -> bool {
    value.is_string() && allows_type(schema, name, "array") && !allows_type(schema, name, "string")
}

fn allows_type(schema: &Value, name: &str, type_name: &str) -> bool {
    let setting = schema.get("properties").and_then(|settings| settings.get(name));
    match setting.and_then(|setting| setting.get("type")) {
        Some(Value::Array(types)) => types.iter().any(|it| it == type_name),
        Some(single) => single == type_name,
        None => false,
    }
}

fn split_list(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn typed_value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Array(_) | Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Reads the secrets of the arguments of `--secret`: `KEY=@FILE`, `KEY=-` (stdin), `KEY` (prompt),
/// or a reference, `KEY=file:/PATH` or `KEY=env:NAME`.
pub(super) fn read_secrets(arguments: &[String]) -> anyhow::Result<BTreeMap<String, SecretText>> {
    let from_stdin = arguments.iter().filter(|argument| argument.ends_with("=-")).count();
    if from_stdin > 1 {
        bail!("only one secret can be read from stdin: give the others as NAME=@FILE");
    }
    arguments
        .iter()
        .map(|argument| {
            let (name, source) = match argument.split_once('=') {
                Some((name, source)) => (name, Some(source)),
                None => (argument.as_str(), None),
            };
            Ok((
                name.to_owned(),
                SecretText(read_secret(name, &format!("--secret {name}"), source)?),
            ))
        })
        .collect()
}

/// Reads a secret from a file on this machine. If `source` is a reference, returns the reference
/// unchanged, because the server reads the secret.
pub(super) fn read_file_or_reference(name: &str, source: &str) -> anyhow::Result<SecretText> {
    let is_reference = source.starts_with("file:/") || source.starts_with("env:");
    let file = format!("@{}", source.strip_prefix('@').unwrap_or(source));
    let source = if is_reference { source } else { &file };
    Ok(SecretText(read_secret(name, &format!("--{name}"), Some(source))?))
}

/// Reads the secret of the option `--NAME`. Without a source, prompts for the secret.
pub(super) fn read_secret_option(name: &str, source: Option<&str>) -> anyhow::Result<SecretText> {
    Ok(SecretText(read_secret(name, &format!("--{name}"), source)?))
}

/// Reads a secret from its source. Returns a reference unchanged. Prompts for the secret if there
/// is no source. `option` is the text before the source on the command line, for error messages.
fn read_secret(name: &str, option: &str, source: Option<&str>) -> anyhow::Result<Secret> {
    let text = match source {
        None => rpassword::prompt_password(format!("{name}: ")).with_context(|| {
            format!("cannot prompt for {name} without a terminal: use {option}=@FILE or {option}=-")
        })?,
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .with_context(|| format!("cannot read {name} from stdin"))?;
            text
        }
        Some(source) => match source.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {name} from {file}"))?,
            None if source.starts_with("file:/") || source.starts_with("env:") => source.to_owned(),
            None => bail!(
                "the secret {name} must not be on the command line: write {option}=@FILE, {option}=- \
                 for stdin, or {option} for a prompt"
            ),
        },
    };
    let secret = Secret::new(text).without_line_end();
    if secret.reveal().is_empty() {
        bail!("the secret {name} is empty");
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_has_a_type_that_the_schema_allows() {
        let schema = json!({"properties": {
            "text": {"type": "string"},
            "number": {"type": "number"},
            "either": {"type": ["array", "string"], "items": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
            "count": {"type": ["integer", "string"]},
        }});
        for (argument, value) in [
            ("text=3", json!("3")),
            ("text=1e400", json!("1e400")),
            ("text=3.10", json!("3.10")),
            ("text=true", json!("true")),
            ("text=[1, 2]", json!("[1, 2]")),
            ("text=\"3\"", json!("\"3\"")),
            ("number=3", json!(3)),
            ("number=x", json!("x")),
            ("either=[\"a\"]", json!(["a"])),
            ("either=7", json!("7")),
            ("either=a, b", json!("a, b")),
            ("list=Urgent, High,", json!(["Urgent", "High"])),
            ("list=[\"a, b\"]", json!(["a, b"])),
            ("list=", json!([])),
            ("count=7", json!(7)),
            ("count=7.5", json!("7.5")),
            ("unknown=7", json!(7)),
        ] {
            let parsed = parse_settings(&[argument.to_owned()], || Some(schema.clone()));
            let (name, _) = argument.split_once('=').expect("a pair");
            assert_eq!(parsed.expect("a setting").get(name), Some(&value), "{argument}");
        }
    }

    #[test]
    fn without_a_schema_the_form_of_the_text_decides_the_type_of_a_setting() {
        for (text, value) in [
            ("[\"a\"]", json!(["a"])),
            ("7", json!(7)),
            ("true", json!(true)),
            ("null", json!("null")),
            ("{}", json!("{}")),
            ("a=b", json!("a=b")),
        ] {
            let parsed = parse_settings(&[format!("k={text}")], || None).expect("a setting");
            assert_eq!(parsed.get("k"), Some(&value));
        }
        assert!(parse_settings(&["k".to_owned()], || None).is_err());
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
        let error = read_secrets(&["k=topsecret".to_owned()]).expect_err("refused").to_string();
        assert!(error.contains("k=@FILE") && !error.contains("topsecret"), "{error}");
        assert!(read_secrets(&["k=@/no/such/file".to_owned()]).is_err());
        let read = read_secrets(&["k=env:JACKFIELD_SECRET_X".to_owned()]).expect("a reference");
        let secret = read.get("k").map(|secret| secret.0.reveal());
        assert_eq!(secret, Some("env:JACKFIELD_SECRET_X"));
    }
}
