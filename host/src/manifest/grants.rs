//! Derives the grants that a connector needs for the settings of one connection: origins, and a
//! place for each secret. Never grants anything: a person does.

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
    /// Settings that must be a URL or an origin, and are not.
    pub fn required_grants(&self, settings: &Settings) -> Result<Grants, Vec<SettingError>> {
        let mut grants = Grants { test_data: self.asks_for_test_data, ..Grants::default() };
        let mut errors = Vec::new();
        let mut origins = BTreeMap::new();
        for (name, _) in self.schema.settings.iter().filter(|(_, setting)| setting.is_origin) {
            let Some(url) = self.schema.text(name, settings) else { continue };
            match url.text.parse::<Origin>() {
                Ok(origin) => {
                    if url.is_from_connector {
                        add(&mut grants.fixed, origin.clone());
                    }
                    add(&mut grants.origins, origin.clone());
                    origins.insert(name.as_str(), origin);
                }
                Err(error) => errors.push(SettingError::new(name, error.why)),
            }
        }
        for (name, secret) in &self.schema.secrets {
            let Some(origin) = origins.get(secret.place.origin_setting.as_str()) else { continue };
            match self.schema.place(&secret.place, settings, &mut grants.fixed) {
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

/// Returns the needed grants that are missing, as phrases such as `reach https://tracker.example`.
pub(crate) fn missing_grants(granted: &Grants, demanded: &Grants) -> Vec<String> {
    let origins = demanded
        .origins
        .iter()
        .filter(|origin| !granted.origins.contains(origin))
        .map(|origin| format!("reach {origin}"));
    let secrets = demanded
        .secrets
        .iter()
        .filter(|(name, grant)| granted.secrets.get(*name) != Some(grant))
        .map(|(name, grant)| {
            format!("send the secret `{name}` to {} {}", grant.origin, describe_place(&grant.place))
        });
    let test_data = (demanded.test_data && !granted.test_data)
        .then(|| "read what Test Manager knows of failed tests".to_owned());
    origins.chain(secrets).chain(test_data).collect()
}

/// Describes a place as a phrase with all its parts, so that different places read differently.
/// Quotes parts that the connector chose freely, so that they cannot look like a part of the
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
    /// Fills in the settings that a place names; `None` while one of them has no value. If the
    /// connector chose the origin that issues tokens, adds it to `fixed`.
    fn place(
        &self,
        template: &PlaceTemplate,
        settings: &Settings,
        fixed: &mut Vec<Origin>,
    ) -> Result<Option<SecretPlace>, SettingError> {
        match &template.kind {
            PlaceKind::Fixed(place) => Ok(Some(place.clone())),
            PlaceKind::BasicPassword { user_setting } => {
                let user = self.text(user_setting, settings).map(|user| user.text.to_owned());
                Ok(user.map(|user| SecretPlace::Basic { user: Some(user) }))
            }
            PlaceKind::ClientCredentials { token_url_setting, client_id_setting, scope } => {
                let url = self.text(token_url_setting, settings);
                let Some((url, client)) = url.zip(self.text(client_id_setting, settings)) else {
                    return Ok(None);
                };
                let error = |why: String| SettingError::new(token_url_setting, why);
                let token_url = Url::parse(url.text)
                    .map_err(|reason| error(format!("it must be a URL: {reason}")))?;
                let origin =
                    Origin::of(&token_url).map_err(|invalid| error(invalid.why.to_owned()))?;
                if url.is_from_connector {
                    add(fixed, origin);
                }
                let client_id = client.text.to_owned();
                let scope = scope.clone();
                Ok(Some(SecretPlace::ClientCredentials { token_url, client_id, scope }))
            }
        }
    }
}

fn add(origins: &mut Vec<Origin>, origin: Origin) {
    if !origins.contains(&origin) {
        origins.push(origin);
    }
}
