//! Applies a file of connections: creates those that are missing, and changes those that differ.
//! A connection is known by its name; connections that the file does not have stay as they are.
//!
//! A file has references to secrets only. A secret that it does not have is kept.

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

/// What happens to one connection.
#[derive(Debug)]
pub struct Applied {
    /// The name.
    pub name: String,
    /// What differed; empty if the connection is as the file says.
    pub changes: Vec<Change>,
    /// The connection with its token, if it was created.
    pub created: Option<IssuedToken>,
    /// Whether the file creates the connection.
    pub is_new: bool,
}

/// A value that differs. A secret is shown as its reference, or as `set`.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The path of the value, such as `settings.project`.
    pub member: String,
    /// The value before; absent if there was none.
    pub before: Option<Value>,
    /// The value after; absent if it is removed.
    pub after: Option<Value>,
}

/// What is done for one connection of the file.
enum Step {
    Create(Box<NewConnection>),
    /// The id, and the edit.
    Edit(ConnectionId, Box<ConnectionEdit>),
    Nothing,
}

impl Connections {
    /// Applies the connections of a file. With `is_dry_run`, only says what would change.
    /// Everything is checked before anything is changed; what was done before an error stays, and
    /// the next call goes on from there.
    ///
    /// # Errors
    /// Each value that is not valid, with the name of its connection; or what the first change that
    /// failed conflicts with.
    pub async fn apply(
        &self,
        wanted: Vec<NewConnection>,
        is_dry_run: bool,
        force: bool,
    ) -> Result<Vec<Applied>, ConnectionError> {
        let (mut plan, mut errors) = (Vec::new(), Vec::new());
        for new in wanted {
            let name = new.name.clone();
            match self.plan(new, force).await {
                Ok(planned) => plan.push(planned),
                Err(ConnectionError::Invalid(invalid)) => {
                    errors.extend(invalid.into_iter().map(|error| of_connection(&name, error)));
                }
                Err(ConnectionError::ConnectorUnavailable(error)) => {
                    let error =
                        SettingError { name: "connector".to_owned(), why: error.to_string() };
                    errors.push(of_connection(&name, error));
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
                Step::Create(new) => done.created = Some(self.create(*new).await?),
                Step::Edit(id, edit) => {
                    self.edit(id, *edit).await?;
                }
                Step::Nothing => {}
            }
            applied.push(done);
        }
        Ok(applied)
    }

    /// What the file changes at one connection. Nothing is stored.
    async fn plan(
        &self,
        new: NewConnection,
        force: bool,
    ) -> Result<(Step, Applied), ConnectionError> {
        let values = new.secrets.iter().filter(|(_, secret)| !secret.is_reference());
        let values: Vec<_> = values.map(|(name, _)| value_in_file(name)).collect();
        if !values.is_empty() {
            return Err(ConnectionError::Invalid(values));
        }
        let name = new.name.clone();
        let Some(found) = self.list().into_iter().find(|it| it.connection.name == name) else {
            let stored = self.prepare(&new)?.0;
            let nothing = BTreeMap::new();
            let after = members(&stored.record.connection, &references(&new.secrets));
            let applied =
                Applied { name, changes: changes(&nothing, &after), created: None, is_new: true };
            return Ok((Step::Create(Box::new(new)), applied));
        };
        let stored = self.stored(found.connection.id).await?;
        let connection = &stored.record.connection;
        if connection.connector != new.connector {
            let why = format!(
                "it is `{}`, and cannot be changed: delete the connection, or give another name",
                connection.connector
            );
            let error = SettingError { name: "connector".to_owned(), why };
            return Err(ConnectionError::Invalid(vec![error]));
        }
        let before = members(connection, &self.shown_secrets(&stored));
        let edit = edit_to(&stored, new, force);
        let edited = self.preview_edit(stored.clone(), &edit)?;
        let after = members(&edited.record.connection, &self.shown_secrets(&edited));
        let changes = changes(&before, &after);
        let step = if changes.is_empty() {
            Step::Nothing
        } else {
            Step::Edit(found.connection.id, Box::new(edit))
        };
        Ok((step, Applied { name, changes, created: None, is_new: false }))
    }

    /// What people may see of the stored secrets: a reference, or only that there is a value.
    pub(super) fn shown_secrets(&self, stored: &StoredConnection) -> BTreeMap<String, Value> {
        let id = stored.record.connection.id.to_string();
        let shown = stored.secrets.iter().map(|(name, sealed)| {
            let opened = self.deps.sealer.open_sealed(&Sealer::place(&id, name), sealed);
            let reference = opened.ok().filter(Secret::is_reference);
            let shown = reference.map_or("set".into(), |secret| secret.reveal().into());
            (name.clone(), shown)
        });
        shown.collect()
    }

    /// All connections with the references of their secrets, for a file. A secret that is not a
    /// reference is left out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn export(
        &self,
    ) -> Result<Vec<(Connection, BTreeMap<String, String>)>, ConnectionError> {
        let mut exported = Vec::new();
        for record in self.list() {
            let stored = self.stored(record.connection.id).await?;
            let shown = self.shown_secrets(&stored).into_iter();
            let references = shown.filter_map(|(name, shown)| match shown {
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

/// The edit that makes a stored connection what the file says. Settings and members of the report
/// that the file does not have are removed; secrets, and what senders must send, are kept.
fn edit_to(stored: &StoredConnection, new: NewConnection, force: bool) -> ConnectionEdit {
    let connection = &stored.record.connection;
    let replaced = |before: &crate::domain::Settings, after: crate::domain::Settings| {
        let removed = before.keys().filter(|name| !after.contains_key(*name));
        let mut edit: BTreeMap<_, _> = removed.map(|name| (name.clone(), None)).collect();
        edit.extend(after.into_iter().map(|(name, value)| (name, Some(value))));
        edit
    };
    let removes_test_manager = connection.test_manager.is_some() && new.test_manager.is_none();
    let test_manager = match new.test_manager {
        Some(edit) => Some(Some(without_kept_project(edit))),
        None => removes_test_manager.then_some(None),
    };
    ConnectionEdit {
        name: None,
        settings: replaced(&connection.settings, new.settings),
        secrets: new.secrets.into_iter().map(|(name, secret)| (name, Some(secret))).collect(),
        project: Some(new.project),
        allow_private: Some(new.allow_private),
        http1_only: Some(new.http1_only),
        trace_context: Some(new.trace_context),
        index_delay_s: Some(new.index_delay_s),
        test_manager,
        report: replaced(&connection.report, new.report),
        on_recurrence: Some(new.on_recurrence),
        webhook_auth: Some(Some(new.webhook_auth)),
        webhook_paths: Some(new.webhook_paths),
        revisions: Some(BTreeSet::from([stored.record.revision])),
        force,
    }
}

/// Removes the stored project if the file names none.
fn without_kept_project(edit: TestManagerEdit) -> TestManagerEdit {
    TestManagerEdit { project_id: Some(edit.project_id.flatten()), ..edit }
}

/// Everything that a file says of a connection, by the path of each value.
fn members(connection: &Connection, secrets: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
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
        auth.credential.as_ref().map(|it| it.scheme().as_str()).into(),
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

fn references(secrets: &BTreeMap<String, Secret>) -> BTreeMap<String, Value> {
    let shown = secrets.iter().map(|(name, secret)| (name.clone(), secret.reveal().into()));
    shown.collect()
}

fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<Change> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let change = |member: &String| Change {
        member: member.clone(),
        before: before.get(member).cloned(),
        after: after.get(member).cloned(),
    };
    differing.map(change).collect()
}

fn of_connection(name: &str, error: SettingError) -> SettingError {
    SettingError { name: format!("{name}.{}", error.name), ..error }
}

fn value_in_file(name: &str) -> SettingError {
    let why = "a file has references to secrets only: write file:/PATH or env:NAME, or leave it out to \
               keep the stored secret";
    SettingError { name: shown_secret_name(name).to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_values_that_differ_are_changes() {
        let of = |value: Value| -> BTreeMap<String, Value> {
            serde_json::from_value(value).unwrap_or_default()
        };
        let (before, after) =
            (of(json!({"a": 1, "b": 2, "c": 3})), of(json!({"a": 1, "b": 7, "d": 4})));
        let changed: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|it| (it.member, it.before, it.after))
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
