//! Implements `jackfield:connector/settings`: returns the settings of the connection to the guest.
//!
//! A guest never gets a secret. It gets a placeholder if it must put the secret into a body itself.

use serde_json::{Map, Value};

use crate::runtime::bindings::settings;
use crate::runtime::guest::Guest;

impl settings::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(visible_value(self, &key).map(|value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        }))
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        let connection = &self.requests.active().connection;
        let names = connection.settings.keys().chain(connection.grants.secrets.keys());
        let visible: Map<_, _> =
            names.filter_map(|name| Some((name.clone(), visible_value(self, name)?))).collect();
        Ok(Value::Object(visible).to_string())
    }
}

/// For a secret, returns its placeholder, if it has one. The host adds the other secrets itself.
fn visible_value(guest: &Guest, key: &str) -> Option<Value> {
    let active = guest.requests.active();
    if active.connection.grants.secrets.contains_key(key) {
        return active.placeholder(key).map(Into::into);
    }
    active.connection.settings.get(key).cloned()
}
