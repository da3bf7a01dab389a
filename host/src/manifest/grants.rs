//! Derives the grants that a connector needs for the settings of one connection. This module never
//! grants anything; only a person does.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::{Grants, Origin, SecretGrant, SecretPlace, Settings};

use super::place::{PlaceKind, PlaceTemplate};
use super::schema::Schema;
use super::{Manifest, SettingError};

impl Manifest {
    /// Returns the grants that the connector needs for these settings.
    ///
    /// # Errors
    /// One error for each setting that must be a URL or an origin, but is not.
    pub fn required_grants(&self, settings: &Settings) -> Result<Grants, Vec<SettingError>> {
        let mut grants = Grants { may_read_test_data: self.reads_test_data, ..Grants::default() };
        let mut errors = Vec::new();
        let mut origins = BTreeMap::new();
        for (name, _) in self.declared.settings.iter().filter(|(_, setting)| setting.is_origin) {
            let Some(url) = self.declared.effective_text(name, settings) else { continue };
            match url.text.parse::<Origin>() {
                Ok(origin) => {
                    if url.is_from_connector {
                        add_if_missing(&mut grants.fixed_origins, origin.clone());
                    }
                    add_if_missing(&mut grants.origins, origin.clone());
                    origins.insert(name.as_str(), origin);
                }
                Err(error) => errors.push(SettingError::new(name, error.why)),
            }
        }
        for (name, secret) in &self.declared.secrets {
            let Some(origin) = origins.get(secret.place.origin_setting.as_str()) else { continue };
            match self.declared.resolve_place(&secret.place, settings, &mut grants.fixed_origins) {
                Ok(Some(place)) => {
                    let grant = SecretGrant { origin: origin.clone(), place };
                    grants.secrets.insert(name.clone(), grant);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(grants) } else { Err(errors) }
    }
}

/// Returns the required grants that are not granted, as phrases such as
/// `reach https://tracker.example`.
pub(crate) fn missing_grants(granted: &Grants, required: &Grants) -> Vec<String> {
    let origins = required
        .origins
        .iter()
        .filter(|origin| !granted.origins.contains(origin))
        .map(|origin| format!("reach {origin}"));
    let secrets = required
        .secrets
        .iter()
        .filter(|(name, grant)| granted.secrets.get(*name) != Some(grant))
        .map(|(name, grant)| {
            format!("send the secret `{name}` to {} {}", grant.origin, describe_place(&grant.place))
        });
    let test_data = (required.may_read_test_data && !granted.may_read_test_data)
        .then(|| "read the data of failed tests in Test Manager".to_owned());
    origins.chain(secrets).chain(test_data).collect()
}

/// Describes a place as a phrase, so that two different places never have the same description.
/// Parts that the connector chose freely are quoted, because they must not look like a part of the
/// phrase.
#[must_use]
pub fn describe_place(place: &SecretPlace) -> String {
    match place {
        SecretPlace::Bearer => "as a bearer token".to_owned(),
        SecretPlace::Header { name, prefix } if prefix.is_empty() => {
            format!("in the header {name}")
        }
        SecretPlace::Header { name, prefix } => format!("in the header {name} after {prefix:?}"),
        SecretPlace::Basic { user: Some(user) } => {
            format!("as the password of {user:?} (basic authentication)")
        }
        SecretPlace::Basic { user: None } => "as the user name of basic authentication".to_owned(),
        SecretPlace::Query { name } => format!("in the query parameter {name:?}"),
        SecretPlace::Json { pointer } => format!("at {pointer:?} in a JSON body"),
        SecretPlace::Form { name } => format!("in the form field {name:?}"),
        SecretPlace::ClientCredentials { token_url, client_id, scope } => {
            let scope = scope.as_deref().map(|scope| format!(" and scope {scope:?}"));
            let scope = scope.unwrap_or_default();
            format!("as a token from {token_url} for client id {client_id:?}{scope}")
        }
    }
}

impl Schema {
    /// Replaces the names of settings in a place by their values. Returns `None` if one of these
    /// settings has no value. If the connector itself chose the token URL, adds its origin to
    /// `fixed`.
    fn resolve_place(
        &self,
        template: &PlaceTemplate,
        settings: &Settings,
        fixed: &mut Vec<Origin>,
    ) -> Result<Option<SecretPlace>, SettingError> {
        match &template.kind {
            PlaceKind::Fixed(place) => Ok(Some(place.clone())),
            PlaceKind::BasicPassword { user_setting } => {
                let user =
                    self.effective_text(user_setting, settings).map(|user| user.text.to_owned());
                Ok(user.map(|user| SecretPlace::Basic { user: Some(user) }))
            }
            PlaceKind::ClientCredentials { token_url_setting, client_id_setting, scope } => {
                let url = self.effective_text(token_url_setting, settings);
                let Some((url, client)) = url.zip(self.effective_text(client_id_setting, settings))
                else {
                    return Ok(None);
                };
                let error = |why: String| SettingError::new(token_url_setting, why);
                let token_url = Url::parse(url.text)
                    .map_err(|reason| error(format!("it must be a URL: {reason}")))?;
                let origin =
                    Origin::of(&token_url).map_err(|invalid| error(invalid.why.to_owned()))?;
                if url.is_from_connector {
                    add_if_missing(fixed, origin);
                }
                let client_id = client.text.to_owned();
                let scope = scope.clone();
                Ok(Some(SecretPlace::ClientCredentials { token_url, client_id, scope }))
            }
        }
    }
}

fn add_if_missing(origins: &mut Vec<Origin>, origin: Origin) {
    if !origins.contains(&origin) {
        origins.push(origin);
    }
}
