//! The JSON of a connection's grants, as it is stored in the column `grants`.
//!
//! The JSON contains no secret: a grant names the origin and the place of a secret, not its value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::unreadable::Unreadable;
use crate::domain::{Grants, Origin, SecretGrant, SecretPlace};

#[derive(Serialize, Deserialize)]
pub(super) struct GrantsJson {
    origins: Vec<String>,
    /// The granted origins that the connector's manifest sets.
    #[serde(default)]
    fixed: Vec<String>,
    #[serde(default)]
    secrets: BTreeMap<String, SecretGrantJson>,
    /// Whether the connector may read test data.
    #[serde(default)]
    test_data: bool,
}

#[derive(Serialize, Deserialize)]
struct SecretGrantJson {
    origin: String,
    place: PlaceJson,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PlaceJson {
    Bearer,
    Header {
        name: String,
        prefix: String,
    },
    Basic {
        user: Option<String>,
    },
    Query {
        name: String,
    },
    Json {
        pointer: String,
    },
    Form {
        name: String,
    },
    /// A grant of an older version of Jackfield: the guest could put the secret anywhere. This is
    /// no longer granted, because a person must consent to a place.
    Placeholder,
    ClientCredentials {
        token_url: String,
        client_id: String,
        scope: Option<String>,
    },
}

impl From<&Grants> for GrantsJson {
    fn from(grants: &Grants) -> Self {
        let texts = |origins: &[Origin]| origins.iter().map(Origin::to_string).collect();
        let secrets = grants.secrets.iter().map(|(name, grant)| {
            let origin = grant.origin.to_string();
            (name.clone(), SecretGrantJson { origin, place: PlaceJson::from(&grant.place) })
        });
        Self {
            origins: texts(&grants.origins),
            fixed: texts(&grants.fixed_origins),
            secrets: secrets.collect(),
            test_data: grants.may_read_test_data,
        }
    }
}

impl TryFrom<GrantsJson> for Grants {
    type Error = Unreadable;

    fn try_from(json: GrantsJson) -> Result<Self, Unreadable> {
        let origin = |text: &String| {
            text.parse::<Origin>().map_err(|error| Unreadable::new("a granted origin", error))
        };
        let mut secrets = BTreeMap::new();
        for (name, grant) in json.secrets {
            let origin = origin(&grant.origin)?;
            if let Some(place) = grant.place.into_secret_place()? {
                secrets.insert(name, SecretGrant { origin, place });
            }
        }
        Ok(Self {
            origins: json.origins.iter().map(origin).collect::<Result<_, _>>()?,
            fixed_origins: json.fixed.iter().map(origin).collect::<Result<_, _>>()?,
            secrets,
            may_read_test_data: json.test_data,
        })
    }
}

impl From<&SecretPlace> for PlaceJson {
    fn from(place: &SecretPlace) -> Self {
        match place.clone() {
            SecretPlace::Bearer => Self::Bearer,
            SecretPlace::Header { name, prefix } => Self::Header { name, prefix },
            SecretPlace::Basic { user } => Self::Basic { user },
            SecretPlace::Query { name } => Self::Query { name },
            SecretPlace::Json { pointer } => Self::Json { pointer },
            SecretPlace::Form { name } => Self::Form { name },
            SecretPlace::ClientCredentials { token_url, client_id, scope } => {
                Self::ClientCredentials { token_url: token_url.into(), client_id, scope }
            }
        }
    }
}

impl PlaceJson {
    /// Returns `None` for a place that is no longer granted.
    fn into_secret_place(self) -> Result<Option<SecretPlace>, Unreadable> {
        Ok(Some(match self {
            Self::Bearer => SecretPlace::Bearer,
            Self::Header { name, prefix } => SecretPlace::Header { name, prefix },
            Self::Basic { user } => SecretPlace::Basic { user },
            Self::Query { name } => SecretPlace::Query { name },
            Self::Json { pointer } => SecretPlace::Json { pointer },
            Self::Form { name } => SecretPlace::Form { name },
            Self::Placeholder => return Ok(None),
            Self::ClientCredentials { token_url, client_id, scope } => {
                let token_url = token_url
                    .parse()
                    .map_err(|error: url::ParseError| Unreadable::new("a token URL", error))?;
                SecretPlace::ClientCredentials { token_url, client_id, scope }
            }
        }))
    }
}
