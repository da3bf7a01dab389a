//! The arguments that set and remove the values of a connection.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use crate::api::{Connector, EditConnection, SecretText};
use crate::cli::client::{Answer, Client};
use crate::cli::filter::enum_value_parser;
use crate::cli::key_value;
use crate::domain::{OnRecurrence, Settings};

use super::report::ReportArguments;
use super::test_manager::{SetTestManager, UnsetTestManager};
use super::webhook_auth::{SetWebhookAuth, UnsetWebhookAuth};

#[derive(Args)]
pub(super) struct UnsetValues {
    /// Remove a setting
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Remove a secret
    #[arg(long, value_name = "KEY")]
    unset_secret: Vec<String>,
    /// Remove the client certificate and its key
    #[arg(long, conflicts_with_all = ["client_cert", "client_key"])]
    no_client_cert: bool,
    #[command(flatten)]
    test_manager: UnsetTestManager,
    #[command(flatten)]
    webhook_auth: UnsetWebhookAuth,
    /// Change the tracker's origin even if creates are in progress or defects are in doubt
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args)]
pub(super) struct ConnectionValues {
    #[command(flatten)]
    pub(super) set_values: SetValues,
    /// Answer KPI requests only for this Test Manager project
    #[arg(long, value_name = "ID")]
    pub(super) project: Option<String>,
    /// Allow host names that resolve to private addresses
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub(super) allow_private: Option<bool>,
    /// Use only HTTP/1.1, for a tracker whose HTTP/2 does not work
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub(super) http1_only: Option<bool>,
    /// Send the header `traceparent` to the tracker, so that its traces continue those of Jackfield
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub(super) trace_context: Option<bool>,
    /// How many seconds the tracker's search may need to find a new record, if the connector states
    /// too few
    #[arg(long, value_name = "SECONDS")]
    pub(super) index_delay_s: Option<u32>,
    /// What happens if a test case with a defect fails again: `new` creates another defect;
    /// `comment` adds a comment, or creates another defect if the defect is closed; `reopen` adds a
    /// comment, and opens a closed defect again first
    #[arg(long, value_name = "POLICY", value_parser = enum_value_parser::<OnRecurrence>())]
    pub(super) on_recurrence: Option<OnRecurrence>,
    #[command(flatten)]
    pub(super) report: ReportArguments,
}

#[derive(Args)]
pub(super) struct SetValues {
    /// Set a setting; a JSON list, a number, true and false keep their type if the connector allows
    /// it, every other value is text; if the connector requires a list, commas separate its items
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Set a secret: KEY=@FILE from a file, KEY=- from stdin, KEY for a prompt; or a reference
    /// that the server reads, KEY=file:/PATH or KEY=env:NAME
    #[arg(long, value_name = "KEY[=@FILE]")]
    pub(super) secret: Vec<String>,
    /// The client certificate that the tracker requires: a PEM file with the certificate and its
    /// chain, or a reference that the server reads, file:/PATH or env:NAME
    #[arg(long, value_name = "FILE")]
    client_cert: Option<String>,
    /// The key of the client certificate: a PEM file without a password, or a reference
    #[arg(long, value_name = "FILE")]
    client_key: Option<String>,
    #[command(flatten)]
    pub(super) test_manager: SetTestManager,
    #[command(flatten)]
    pub(super) webhook_auth: SetWebhookAuth,
}

impl SetValues {
    pub(super) fn read_client_cert(&self) -> anyhow::Result<Option<SecretText>> {
        let source = self.client_cert.as_deref();
        source.map(|source| key_value::read_file_or_reference("client-cert", source)).transpose()
    }

    pub(super) fn read_client_key(&self) -> anyhow::Result<Option<SecretText>> {
        let source = self.client_key.as_deref();
        source.map(|source| key_value::read_file_or_reference("client-key", source)).transpose()
    }

    /// Parses the settings. The form of a text decides the type of the value, unless the schema of
    /// the connector requires another type.
    pub(super) fn parse_settings(
        &self,
        admin: &Client,
        connector: &str,
    ) -> anyhow::Result<Settings> {
        key_value::parse_settings(&self.set, || {
            let answer: Answer<Connector> = admin.get(&format!("/connectors/{connector}")).ok()?;
            answer.decode().ok()?.settings_schema
        })
    }

    /// Builds the edit that sets these values, and removes the values that `unset` names. In the
    /// edit, a removed setting or secret has the value `None`.
    pub(super) fn to_edit(
        &self,
        settings: Settings,
        unset: &UnsetValues,
    ) -> anyhow::Result<EditConnection> {
        let settings = settings.into_iter();
        let secrets = key_value::read_secrets(&self.secret)?.into_iter();
        let mut settings: BTreeMap<String, Option<Value>> =
            settings.map(|(name, value)| (name, Some(value))).collect();
        let mut secrets: BTreeMap<String, Option<SecretText>> =
            secrets.map(|(name, value)| (name, Some(value))).collect();
        settings.extend(unset.unset.iter().map(|name| (name.clone(), None)));
        secrets.extend(unset.unset_secret.iter().map(|name| (name.clone(), None)));
        let certificate_and_key = if unset.no_client_cert {
            [Some(None), Some(None)]
        } else {
            [self.read_client_cert()?.map(Some), self.read_client_key()?.map(Some)]
        };
        let [client_cert, client_key] = certificate_and_key;
        Ok(EditConnection {
            settings,
            secrets,
            client_cert,
            client_key,
            test_manager: self.test_manager.to_edit(&unset.test_manager),
            test_manager_client_secret: self.test_manager.read_client_secret()?,
            webhook_auth: self.webhook_auth.to_edit(&unset.webhook_auth),
            webhook_secret: self.webhook_auth.read_secret()?,
            webhook_secret_previous: if unset.webhook_auth.no_webhook_secret_previous {
                Some(None)
            } else {
                self.webhook_auth.read_previous_secret()?.map(Some)
            },
            ..EditConnection::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_sends_null_for_removed_values() {
        let set_values = SetValues {
            set: Vec::new(),
            secret: vec!["k=env:JACKFIELD_SECRET_K".to_owned()],
            client_cert: None,
            client_key: None,
            test_manager: SetTestManager::default(),
            webhook_auth: SetWebhookAuth::default(),
        };
        let unset = UnsetValues {
            unset: vec!["b".to_owned()],
            unset_secret: vec!["l".to_owned()],
            no_client_cert: true,
            test_manager: UnsetTestManager { no_test_manager: true, ..UnsetTestManager::default() },
            webhook_auth: UnsetWebhookAuth { no_webhook_auth: true, ..UnsetWebhookAuth::default() },
            force: false,
        };
        let settings = [("a".to_owned(), json!(1))].into_iter().collect();
        let edit = set_values.to_edit(settings, &unset).expect("an edit");
        assert_eq!(
            serde_json::to_value(edit).expect("JSON"),
            json!({
                "settings": {"a": 1, "b": null},
                "secrets": {"k": "env:JACKFIELD_SECRET_K", "l": null},
                "client_cert": null,
                "client_key": null,
                "test_manager": null,
                "webhook_auth": null,
            })
        );
    }
}
