//! Checks the settings for Test Manager that an admin enters. This file sends no requests.

use url::Url;

use crate::domain::{
    InvalidOrigin, Origin, TEST_MANAGER_SECRET, TestManagerSettings, shown_secret_name,
};
use crate::manifest::SettingError;
use crate::store::StoredConnection;

/// Maximum length of a client id, project id or scope, characters.
const TEXT_CHARS_MAX: usize = 200;
/// Maximum number of scopes, and of origins for downloads.
const LIST_MAX: usize = 20;

/// A change of the settings for Test Manager. An absent member keeps its stored value. If nothing
/// is stored yet, the two addresses and the client id are required; the other members get defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestManagerEdit {
    /// The address of Test Manager, without `/api/v2`.
    pub base_url: Option<String>,
    /// The address of the token endpoint of the identity server.
    pub token_url: Option<String>,
    /// The OAuth client id of an external application in UiPath.
    pub client_id: Option<String>,
    /// The scopes to request with each token.
    pub scopes: Option<Vec<String>>,
    /// The id of the Test Manager project that contains the failed tests; `Some(None)` removes it.
    pub project_id: Option<Option<String>>,
    /// Additional origins to which Test Manager may redirect a download.
    pub asset_origins: Option<Vec<String>>,
}

pub(super) fn apply_to_settings(
    edit: TestManagerEdit,
    before: Option<&TestManagerSettings>,
) -> Result<TestManagerSettings, Vec<SettingError>> {
    let mut checks = Checks(Vec::new());
    let base_url = edit.base_url.or_else(|| before.map(|settings| settings.base_url.to_string()));
    let base_url = checks.check("base_url", base_url, parse_base_url);
    let token_url =
        edit.token_url.or_else(|| before.map(|settings| settings.token_url.to_string()));
    let token_url = checks.check("token_url", token_url, parse_url);
    let client_id = edit.client_id.or_else(|| before.map(|settings| settings.client_id.clone()));
    let client_id = checks.check("client_id", client_id, check_word);
    let scopes = match edit.scopes {
        Some(scopes) => checks.check("scopes", Some(scopes), check_scopes),
        None => Some(before.map_or_else(default_scopes, |settings| settings.scopes.clone())),
    };
    let project_id = match edit.project_id {
        Some(Some(id)) => checks.check("project_id", Some(id), check_word),
        Some(None) => None,
        None => before.and_then(|settings| settings.project_id.clone()),
    };
    let asset_origins = match edit.asset_origins {
        Some(origins) => checks.check("asset_origins", Some(origins), parse_origins),
        None => Some(before.map_or_else(Vec::new, |settings| settings.asset_origins.clone())),
    };
    match (base_url, token_url, client_id, scopes, asset_origins) {
        (Some(base_url), Some(token_url), Some(client_id), Some(scopes), Some(asset_origins))
            if checks.0.is_empty() =>
        {
            Ok(TestManagerSettings {
                base_url,
                token_url,
                client_id,
                scopes,
                project_id,
                asset_origins,
            })
        }
        _ => Err(checks.0),
    }
}

/// Returns an error if the settings are stored without the client secret, or the client secret
/// without the settings.
pub(super) fn incomplete_access(stored: &StoredConnection) -> Option<SettingError> {
    let has_secret =
        stored.record.connection.secrets_set.iter().any(|name| name == TEST_MANAGER_SECRET);
    let (name, why) = match (&stored.record.connection.test_manager, has_secret) {
        (Some(_), false) => {
            (shown_secret_name(TEST_MANAGER_SECRET), "enter the secret of the external application")
        }
        (None, true) => ("test_manager", "enter the settings that the client secret belongs to"),
        _ => return None,
    };
    Some(SettingError { name: name.to_owned(), why: why.to_owned() })
}

/// The reason why a value is not valid.
struct InvalidValue(String);

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidValue> {
    Err(InvalidValue(why.into()))
}

/// Collects the errors of all members.
struct Checks(Vec<SettingError>);

impl Checks {
    /// Parses one member with `read`. Adds an error and returns `None` if the value is missing or
    /// not valid.
    fn check<G, T>(
        &mut self,
        name: &str,
        value: Option<G>,
        read: impl FnOnce(G) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let read = value.map_or_else(|| invalid("the value is missing"), read);
        let name = format!("test_manager.{name}");
        read.map_err(|InvalidValue(why)| self.0.push(SettingError { name, why })).ok()
    }
}

fn default_scopes() -> Vec<String> {
    TestManagerSettings::DEFAULT_SCOPES.map(str::to_owned).into()
}

/// Parses an http or https address that a person entered.
fn parse_url(text: String) -> Result<Url, InvalidValue> {
    let url = Url::parse(&text);
    let Ok(url) = url else {
        return invalid("not a URL; write it like https://testmanager.example/path");
    };
    match Origin::of(&url) {
        Err(error) => invalid(error.why),
        Ok(_) if url.fragment().is_some() => {
            invalid("the URL has a fragment (the part after #): remove it")
        }
        Ok(_) => Ok(url),
    }
}

/// Parses the address of Test Manager, without the path of its API.
fn parse_base_url(text: String) -> Result<Url, InvalidValue> {
    let mut url = parse_url(text)?;
    if url.query().is_some() {
        return invalid("the URL has a query (the part after ?): remove it");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let lower = path.to_ascii_lowercase();
    if lower.contains("/api/v2") || lower.contains("/swagger") {
        return invalid("enter only the part of the address before /api/v2 or /swagger");
    }
    url.set_path(&path);
    Ok(url)
}

/// Checks a client id, a project id or a scope.
fn check_word(text: String) -> Result<String, InvalidValue> {
    let is_valid = (1..=TEXT_CHARS_MAX).contains(&text.chars().count())
        && text.chars().all(|c| c.is_ascii_graphic());
    if is_valid {
        Ok(text)
    } else {
        invalid(format!("enter 1 to {TEXT_CHARS_MAX} ASCII characters without spaces"))
    }
}

fn check_scopes(scopes: Vec<String>) -> Result<Vec<String>, InvalidValue> {
    if !(1..=LIST_MAX).contains(&scopes.len()) {
        return invalid(format!("enter 1 to {LIST_MAX} scopes"));
    }
    scopes.into_iter().map(check_word).collect()
}

fn parse_origins(origins: Vec<String>) -> Result<Vec<Origin>, InvalidValue> {
    if origins.len() > LIST_MAX {
        return invalid(format!("enter at most {LIST_MAX} origins"));
    }
    let read =
        |text: String| text.parse().map_err(|error: InvalidOrigin| InvalidValue(error.to_string()));
    origins.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit() -> TestManagerEdit {
        TestManagerEdit {
            base_url: Some("https://tm.example/org/tenant/testmanager_/".to_owned()),
            token_url: Some("https://tm.example/identity_/connect/token".to_owned()),
            client_id: Some("jackfield".to_owned()),
            ..TestManagerEdit::default()
        }
    }

    fn names_of_invalid_members(edit: TestManagerEdit) -> Vec<String> {
        apply_to_settings(edit, None).unwrap_err().into_iter().map(|error| error.name).collect()
    }

    #[test]
    fn an_absent_member_keeps_its_value_or_gets_its_default() {
        let first = apply_to_settings(edit(), None).unwrap();
        assert_eq!(first.base_url.as_str(), "https://tm.example/org/tenant/testmanager_");
        assert_eq!(first.scopes, TestManagerSettings::DEFAULT_SCOPES);
        assert_eq!((first.project_id.clone(), first.asset_origins.len()), (None, 0));
        let project_id = Some(Some("p1".to_owned()));
        let asset_origins = Some(vec!["https://files.example/x".to_owned()]);
        let change = TestManagerEdit { project_id, asset_origins, ..TestManagerEdit::default() };
        let second = apply_to_settings(change, Some(&first)).unwrap();
        assert_eq!(second.project_id.as_deref(), Some("p1"));
        assert_eq!(second.asset_origins[0].to_string(), "https://files.example");
        let scopes = Some(vec!["TM.Projects.Read".to_owned()]);
        let change =
            TestManagerEdit { project_id: Some(None), scopes, ..TestManagerEdit::default() };
        let third = apply_to_settings(change, Some(&second)).unwrap();
        assert_eq!(
            third,
            TestManagerSettings {
                scopes: third.scopes.clone(),
                asset_origins: second.asset_origins,
                ..first
            }
        );
    }

    #[test]
    fn the_errors_name_every_member_that_is_not_valid() {
        let missing =
            ["base_url", "token_url", "client_id"].map(|name| format!("test_manager.{name}"));
        assert_eq!(names_of_invalid_members(TestManagerEdit::default()), missing);
        for text in [
            "tm.example",
            "ftp://tm.example",
            "https://u:p@tm.example",
            "https://tm.example/#x",
            "https://tm.example/?a=b",
            "https://tm.example/o/t/testmanager_/api/v2",
            "https://tm.example/swagger/index.html",
        ] {
            let edit = TestManagerEdit { base_url: Some(text.to_owned()), ..edit() };
            assert_eq!(names_of_invalid_members(edit), ["test_manager.base_url"], "{text}");
        }
        let edit = TestManagerEdit {
            client_id: Some("a b".to_owned()),
            scopes: Some(Vec::new()),
            project_id: Some(Some(String::new())),
            asset_origins: Some(vec!["files.example".to_owned()]),
            ..edit()
        };
        let names = ["client_id", "scopes", "project_id", "asset_origins"];
        assert_eq!(
            names_of_invalid_members(edit),
            names.map(|name| format!("test_manager.{name}"))
        );
    }
}
