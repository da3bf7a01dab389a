//! The JSON of a connection's Test Manager settings, as it is stored in the column `test_manager`.
//!
//! The JSON contains no secret, because the client secret is stored with the other sealed secrets.

use serde::{Deserialize, Serialize};
use url::Url;

use super::unreadable::Unreadable;
use crate::domain::{Origin, TestManagerSettings};

#[derive(Serialize, Deserialize)]
pub(super) struct TestManagerJson {
    base_url: String,
    token_url: String,
    client_id: String,
    scopes: Vec<String>,
    project_id: Option<String>,
    #[serde(default)]
    asset_origins: Vec<String>,
}

impl From<&TestManagerSettings> for TestManagerJson {
    fn from(settings: &TestManagerSettings) -> Self {
        Self {
            base_url: settings.base_url.to_string(),
            token_url: settings.token_url.to_string(),
            client_id: settings.client_id.clone(),
            scopes: settings.scopes.clone(),
            project_id: settings.project_id.clone(),
            asset_origins: settings.asset_origins.iter().map(Origin::to_string).collect(),
        }
    }
}

impl TryFrom<TestManagerJson> for TestManagerSettings {
    type Error = Unreadable;

    fn try_from(json: TestManagerJson) -> Result<Self, Unreadable> {
        let url = |text: &str| {
            Url::parse(text).map_err(|error| Unreadable::new("an address of Test Manager", error))
        };
        let origins = json.asset_origins.iter().map(|text| text.parse::<Origin>());
        let origins: Result<_, _> = origins.collect();
        Ok(Self {
            base_url: url(&json.base_url)?,
            token_url: url(&json.token_url)?,
            client_id: json.client_id,
            scopes: json.scopes,
            project_id: json.project_id,
            asset_origins: origins
                .map_err(|error| Unreadable::new("an origin for downloads", error))?,
        })
    }
}
