//! `--set k=v` and `--secret k=…`, read into settings and secrets.
//!
//! Never takes a secret's value from the command line, where other users of the machine and the
//! shell's history would have it; never repeats one in an error.

use std::io::Read;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// Settings: `k=v`, where `v` is JSON if it reads as a list, a number, true or false, else text.
pub(super) fn settings(pairs: &[String]) -> anyhow::Result<Map<String, Value>> {
    pairs
        .iter()
        .map(|pair| {
            let (name, text) = pair
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .with_context(|| format!("--set {pair:?} has no value: write --set NAME=VALUE"))?;
            Ok((name.to_owned(), setting(text)))
        })
        .collect()
}

fn setting(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Array(_) | Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Secrets: `k=@file`, `k=-` (stdin), `k` (asks), or the server's own `k=file:/path`, `k=env:NAME`.
pub(super) fn secrets(pairs: &[String]) -> anyhow::Result<Map<String, Value>> {
    let stdin = pairs.iter().filter(|pair| pair.ends_with("=-")).count();
    if stdin > 1 {
        bail!("only one secret can come from stdin: give the others as NAME=@FILE");
    }
    pairs
        .iter()
        .map(|pair| {
            let (name, source) = match pair.split_once('=') {
                Some((name, source)) => (name, Some(source)),
                None => (pair.as_str(), None),
            };
            Ok((name.to_owned(), Value::String(secret(name, source)?)))
        })
        .collect()
}

fn secret(name: &str, source: Option<&str>) -> anyhow::Result<String> {
    let text = match source {
        None => rpassword::prompt_password(format!("{name}: ")).with_context(|| {
            format!("no terminal to ask for {name}: give it as --secret {name}=@FILE or {name}=-")
        })?,
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .with_context(|| format!("stdin holds no text for {name}"))?;
            text
        }
        Some(source) => match source.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("{file}, which should hold {name}, cannot be read"))?,
            None if source.starts_with("file:/") || source.starts_with("env:") => source.to_owned(),
            None => bail!(
                "the secret {name} must not stand on the command line: write {name}=@FILE, \
                 {name}=- for stdin, or {name} to be asked"
            ),
        },
    };
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        bail!("the secret {name} is empty");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_lists_numbers_truths_or_text() {
        for (text, value) in [
            ("[\"a\"]", json!(["a"])),
            ("7", json!(7)),
            ("true", json!(true)),
            ("null", json!("null")),
            ("{}", json!("{}")),
            ("a=b", json!("a=b")),
        ] {
            let read = settings(&[format!("k={text}")]).expect("a pair");
            assert_eq!(read.get("k"), Some(&value));
        }
        assert!(settings(&["k".to_owned()]).is_err());
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
        let error = secrets(&["k=topsecret".to_owned()]).expect_err("refused").to_string();
        assert!(error.contains("k=@FILE") && !error.contains("topsecret"), "{error}");
        assert!(secrets(&["k=@/no/such/file".to_owned()]).is_err());
        let kept = secrets(&["k=env:JACKFIELD_SECRET_X".to_owned()]).expect("a reference");
        assert_eq!(kept.get("k"), Some(&json!("env:JACKFIELD_SECRET_X")));
    }
}
