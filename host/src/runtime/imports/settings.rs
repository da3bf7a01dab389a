//! `jackfield:connector/settings`: the connection's settings as the guest may see them.
//!
//! Never returns a secret: at most the placeholder that the host replaces when it sends a request.

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
        let connection = &self.session.active().connection;
        let names = connection.settings.keys().chain(connection.grants.secrets.keys());
        let all: Map<_, _> =
            names.filter_map(|name| Some((name.clone(), visible_value(self, name)?))).collect();
        Ok(Value::Object(all).to_string())
    }
}

/// The value of a setting. For a secret, its placeholder, or `None` if the guest needs no
/// placeholder because the host adds the secret itself.
fn visible_value(guest: &Guest, key: &str) -> Option<Value> {
    let active = guest.session.active();
    if active.connection.grants.secrets.contains_key(key) {
        return active.placeholder(key).map(Into::into);
    }
    active.connection.settings.get(key).cloned()
}
