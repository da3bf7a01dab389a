//! Applies a file of connections: creates connections that are missing, and changes connections
//! that differ from the file. Connections are matched by their names. Connections that are not in
//! the file are not changed.
//!
//! A file contains references to secrets, never their values. A stored secret that is not in the
//! file is kept, unless the file removes what uses it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::{
    Connection, ConnectionId, StringEnum as _, WebhookCredential, is_host_secret, shown_secret_name,
};
use crate::manifest::SettingError;
use crate::secret::{Sealer, Secret};
use crate::store::StoredConnection;

use super::{
    ConnectionEdit, ConnectionError, Connections, IssuedToken, NewConnection, TestManagerEdit,
};

/// The result for one connection of the file.
#[derive(Debug)]
pub struct Applied {
    /// The name of the connection.
    pub name: String,
    /// The values that differed from the file.
    pub changes: Vec<ChangedValue>,
    /// The connection with its token, if it was created.
    pub created: Option<IssuedToken>,
    /// Whether the file creates the connection.
    pub is_new: bool,
}

/// A value that differs between the stored connection and the file. A secret is shown as its
/// reference, or as `set`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedValue {
    /// The path of the value, such as `settings.project`.
    pub member: String,
    /// The value before the change; absent if there was none.
    pub before: Option<Value>,
    /// The value after the change; absent if the value is removed.
    pub after: Option<Value>,
}

/// The change that the file makes to one connection.
enum PlannedChange {
    Create(Box<NewConnection>),
    Edit(ConnectionId, Box<ConnectionEdit>),
    Nothing,
}

impl Connections {
    /// Applies the connections of a file. With `is_dry_run`, only reports what would change. The
    /// whole file is checked before the first change. If a change fails, the earlier changes are
    /// kept, and the next call makes the remaining changes. For `force`, see [`ConnectionEdit`].
    ///
    /// # Errors
    /// All values that are not valid, with the names of their connections; or the first other
    /// error.
    pub async fn apply(
        &self,
        file_connections: Vec<NewConnection>,
        is_dry_run: bool,
        force: bool,
    ) -> Result<Vec<Applied>, ConnectionError> {
        let (mut plan, mut errors) = (Vec::new(), Vec::new());
        for new in file_connections {
            let name = new.name.clone();
            match self.plan_change(new, force).await {
                Ok(planned) => plan.push(planned),
                Err(ConnectionError::Invalid(invalid)) => {
                    errors.extend(
                        invalid.into_iter().map(|error| with_connection_name(&name, error)),
                    );
                }
                Err(ConnectionError::ConnectorUnavailable(error)) => {
                    let error =
                        SettingError { name: "connector".to_owned(), why: error.to_string() };
                    errors.push(with_connection_name(&name, error));
                }
                Err(error) => return Err(error),
            }
        }
        if !errors.is_empty() {
            return Err(ConnectionError::Invalid(errors));
        }
        let mut applied = Vec::new();
        for (step, mut done) in plan {
            match step {
                _ if is_dry_run => {}
                PlannedChange::Create(new) => done.created = Some(self.create(*new).await?),
                PlannedChange::Edit(id, edit) => {
                    self.edit(id, *edit).await?;
                }
                PlannedChange::Nothing => {}
            }
            applied.push(done);
        }
        Ok(applied)
    }

    /// Finds out what the file changes at one connection. Stores nothing.
    async fn plan_change(
        &self,
        new: NewConnection,
        force: bool,
    ) -> Result<(PlannedChange, Applied), ConnectionError> {
        let values = new.secrets.iter().filter(|(_, secret)| !secret.is_reference());
        let values: Vec<_> = values.map(|(name, _)| value_in_file_error(name)).collect();
        if !values.is_empty() {
            return Err(ConnectionError::Invalid(values));
        }
        let name = new.name.clone();
        let Some(found) = self.list().into_iter().find(|record| record.connection.name == name)
        else {
            let stored = self.prepare(&new)?.0;
            let nothing = BTreeMap::new();
            let after =
                values_by_path(&stored.record.connection, &references_as_json(&new.secrets));
            let applied = Applied {
                name,
                changes: compare_values(&nothing, &after),
                created: None,
                is_new: true,
            };
            return Ok((PlannedChange::Create(Box::new(new)), applied));
        };
        let stored = self.read_stored(found.connection.id).await?;
        let connection = &stored.record.connection;
        if connection.connector != new.connector {
            let why = format!(
                "the connector of a connection cannot be changed, and the stored one is `{}`: delete \
                 the connection, or use another name in the file",
                connection.connector
            );
            let error = SettingError { name: "connector".to_owned(), why };
            return Err(ConnectionError::Invalid(vec![error]));
        }
        let before = values_by_path(connection, &self.displayable_secrets(&stored));
        let edit = edit_from_file(&stored, new, force);
        let edited = self.preview_edit(stored.clone(), &edit)?;
        let after = values_by_path(&edited.record.connection, &self.displayable_secrets(&edited));
        let changes = compare_values(&before, &after);
        let step = if changes.is_empty() {
            PlannedChange::Nothing
        } else {
            PlannedChange::Edit(found.connection.id, Box::new(edit))
        };
        Ok((step, Applied { name, changes, created: None, is_new: false }))
    }

    /// Returns the stored secrets as people may see them. A reference is unchanged, and any other
    /// value is replaced by `set`.
    pub(super) fn displayable_secrets(&self, stored: &StoredConnection) -> BTreeMap<String, Value> {
        let id = stored.record.connection.id.to_string();
        let displayable = stored.secrets.iter().map(|(name, sealed)| {
            let opened = self.deps.sealer.open_sealed(&Sealer::place(&id, name), sealed);
            let reference = opened.ok().filter(Secret::is_reference);
            let value = reference.map_or("set".into(), |secret| secret.reveal().into());
            (name.clone(), value)
        });
        displayable.collect()
    }

    /// Returns all connections with the references to their secrets, for a file. Secrets that are
    /// not references are left out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn export(
        &self,
    ) -> Result<Vec<(Connection, BTreeMap<String, String>)>, ConnectionError> {
        let mut exported = Vec::new();
        for record in self.list() {
            let stored = self.read_stored(record.connection.id).await?;
            let secrets = self.displayable_secrets(&stored).into_iter();
            let references = secrets.filter_map(|(name, value)| match value {
                Value::String(text) if Secret::new(text.clone()).is_reference() => {
                    Some((name, text))
                }
                _ => None,
            });
            exported.push((stored.record.connection.clone(), references.collect()));
        }
        Ok(exported)
    }
}

/// Returns the edit that gives a stored connection the values in the file. Settings and members of
/// the report that are not in the file are removed. Secrets, and members of `webhook_auth`, that
/// are not in the file are kept.
fn edit_from_file(stored: &StoredConnection, new: NewConnection, force: bool) -> ConnectionEdit {
    let connection = &stored.record.connection;
    let replacement = |before: &crate::domain::Settings, after: crate::domain::Settings| {
        let removed = before.keys().filter(|name| !after.contains_key(*name));
        let mut edit: BTreeMap<_, _> = removed.map(|name| (name.clone(), None)).collect();
        edit.extend(after.into_iter().map(|(name, value)| (name, Some(value))));
        edit
    };
    let removes_test_manager = connection.test_manager.is_some() && new.test_manager.is_none();
    let test_manager = match new.test_manager {
        Some(edit) => Some(Some(with_absent_project_removed(edit))),
        None => removes_test_manager.then_some(None),
    };
    ConnectionEdit {
        name: None,
        settings: replacement(&connection.settings, new.settings),
        secrets: new.secrets.into_iter().map(|(name, secret)| (name, Some(secret))).collect(),
        project: Some(new.project),
        allow_private: Some(new.allow_private),
        http1_only: Some(new.http1_only),
        trace_context: Some(new.trace_context),
        index_delay_s: Some(new.index_delay_s),
        test_manager,
        report: replacement(&connection.report, new.report),
        on_recurrence: Some(new.on_recurrence),
        webhook_auth: Some(Some(new.webhook_auth)),
        webhook_paths: Some(new.webhook_paths),
        revisions: Some(BTreeSet::from([stored.record.revision])),
        force,
    }
}

/// Changes an edit, so that it also removes the stored `project_id` if the file contains none.
fn with_absent_project_removed(edit: TestManagerEdit) -> TestManagerEdit {
    TestManagerEdit { project_id: Some(edit.project_id.flatten()), ..edit }
}

/// Returns the values of a connection that a file can contain, by the path of each value.
fn values_by_path(
    connection: &Connection,
    secrets: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let mut members = BTreeMap::new();
    let mut add = |name: String, value: Value| {
        if !value.is_null() && value != Value::Bool(false) && value != 0 {
            members.insert(name, value);
        }
    };
    add("connector".to_owned(), connection.connector.as_str().into());
    add("project".to_owned(), connection.project.clone().into());
    add("allow_private".to_owned(), connection.allow_private.into());
    add("http1_only".to_owned(), connection.http1_only.into());
    add("trace_context".to_owned(), connection.trace_context.into());
    add("index_delay_s".to_owned(), connection.index_delay_s.into());
    add("on_recurrence".to_owned(), connection.on_recurrence.as_str().into());
    for (path, list) in [
        ("webhook_paths.create_defect", &connection.webhook_paths.create_defect),
        ("webhook_paths.kpis", &connection.webhook_paths.kpis),
    ] {
        add(path.to_owned(), null_if_empty(list.clone()));
    }
    let auth = &connection.webhook_auth;
    add(
        "webhook_auth.scheme".to_owned(),
        auth.credential.as_ref().map(|credential| credential.scheme().as_str()).into(),
    );
    match &auth.credential {
        Some(WebhookCredential::Basic { user }) => {
            add("webhook_auth.user".to_owned(), user.clone().into())
        }
        Some(WebhookCredential::ApiKey { header }) => {
            add("webhook_auth.header".to_owned(), header.clone().into());
        }
        Some(WebhookCredential::Signature { tolerance_s }) => {
            add("webhook_auth.tolerance_s".to_owned(), (*tolerance_s).into());
        }
        Some(WebhookCredential::Bearer) | None => {}
    }
    let clients = auth.allowed_clients.iter().map(ToString::to_string).collect();
    add("webhook_auth.allowed_clients".to_owned(), null_if_empty(clients));
    for (group, settings) in [("settings", &connection.settings), ("report", &connection.report)] {
        for (name, value) in settings {
            members.insert(format!("{group}.{name}"), value.clone());
        }
    }
    for (name, shown) in secrets {
        let group = if is_host_secret(name) { "" } else { "secrets." };
        members.insert(format!("{group}{}", shown_secret_name(name)), shown.clone());
    }
    let Some(test_manager) = &connection.test_manager else { return members };
    let origins: Vec<_> = test_manager.asset_origins.iter().map(ToString::to_string).collect();
    for (name, value) in [
        ("base_url", Value::from(test_manager.base_url.to_string())),
        ("token_url", test_manager.token_url.to_string().into()),
        ("client_id", test_manager.client_id.clone().into()),
        ("scopes", test_manager.scopes.clone().into()),
        ("project_id", test_manager.project_id.clone().into()),
        ("asset_origins", origins.into()),
    ] {
        members.insert(format!("test_manager.{name}"), value);
    }
    members
}

fn null_if_empty(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

fn references_as_json(secrets: &BTreeMap<String, Secret>) -> BTreeMap<String, Value> {
    let texts = secrets.iter().map(|(name, secret)| (name.clone(), secret.reveal().into()));
    texts.collect()
}

fn compare_values(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<ChangedValue> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let change = |member: &String| ChangedValue {
        member: member.clone(),
        before: before.get(member).cloned(),
        after: after.get(member).cloned(),
    };
    differing.map(change).collect()
}

fn with_connection_name(name: &str, error: SettingError) -> SettingError {
    SettingError { name: format!("{name}.{}", error.name), ..error }
}

fn value_in_file_error(name: &str) -> SettingError {
    let why = "a file may contain references to secrets only: write file:/PATH or env:NAME, or omit the \
               secret to keep the stored one";
    SettingError { name: shown_secret_name(name).to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_values_that_differ_are_changes() {
        let map_of = |value: Value| -> BTreeMap<String, Value> {
            serde_json::from_value(value).unwrap_or_default()
        };
        let (before, after) =
            (map_of(json!({"a": 1, "b": 2, "c": 3})), map_of(json!({"a": 1, "b": 7, "d": 4})));
        let changed: Vec<_> = compare_values(&before, &after)
            .into_iter()
            .map(|change| (change.member, change.before, change.after))
            .collect();
        let name = |name: &str| name.to_owned();
        assert_eq!(
            changed,
            [
                (name("b"), Some(json!(2)), Some(json!(7))),
                (name("c"), Some(json!(3)), None),
                (name("d"), None, Some(json!(4))),
            ]
        );
    }
}
