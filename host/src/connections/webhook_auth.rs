//! Checks the settings that specify what senders of a connection's webhooks must send. This file
//! never checks a request.

use http::HeaderName;

use crate::domain::{
    Connection, Network, WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, WebhookAuth, WebhookCredential,
    WebhookScheme, is_printable, is_webhook_secret, shown_secret_name,
};
use crate::manifest::SettingError;
use crate::secret::{Sealed, Sealer, Secret, SigningKey};
use crate::store::StoredConnection;

use super::validation::resolve_secret;
use super::{ConnectionEdit, Connections};

/// The default of `tolerance_s`, seconds. The libraries of Standard Webhooks use the same value.
const DEFAULT_TOLERANCE_S: u32 = 300;
const TOLERANCE_S_MAX: u32 = 3_600;
const USER_CHARS_MAX: usize = 200;
const ALLOWED_CLIENTS_MAX: usize = 200;
/// Minimum length of the secret of senders, unless it is a signature key, characters.
const SECRET_CHARS_MIN: usize = 8;

/// A change of what senders must send. An absent member keeps its stored value. Another scheme
/// removes the members of the old scheme.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookAuthEdit {
    /// The kind of credential. `Some(None)`: no credential is required, and the secrets are
    /// removed.
    pub scheme: Option<Option<WebhookScheme>>,
    /// The user name of `basic`.
    pub user: Option<String>,
    /// The header of `api-key`.
    pub header: Option<String>,
    /// The tolerance of `signature`, seconds.
    pub tolerance_s: Option<u32>,
    /// The addresses from which requests are accepted; empty: from every address.
    pub allowed_clients: Option<Vec<String>>,
}

/// Whether an edit sets that senders need no credential. The secrets of senders are then removed.
pub(super) fn removes_secrets(edit: &Option<WebhookAuthEdit>) -> bool {
    edit.as_ref().is_none_or(|edit| edit.scheme == Some(None))
}

impl Connections {
    /// Changes what senders of webhooks must send; returns the errors. Call this after the secrets
    /// are sealed, because the errors depend on the secrets.
    pub(super) fn change_webhook_auth(
        &self,
        stored: &mut StoredConnection,
        edit: Option<Option<WebhookAuthEdit>>,
    ) -> Vec<SettingError> {
        let connection = &mut stored.record.connection;
        match edit
            .map(|edit| edit.map(|edit| apply_to_webhook_auth(edit, &connection.webhook_auth)))
        {
            Some(Some(Err(errors))) => return errors,
            Some(Some(Ok(auth))) => connection.webhook_auth = auth,
            Some(None) => connection.webhook_auth = WebhookAuth::default(),
            None => {}
        }
        let secret_problem = secret_problem(connection);
        secret_problem.into_iter().chain(self.webhook_secret_problems(stored)).collect()
    }

    /// Returns the signature key that an edit replaces, so that it is stored as the previous key.
    /// Signatures of both keys are then accepted, so that senders can change to the new key without
    /// a refused webhook.
    pub(super) fn replaced_webhook_secret(
        &self,
        stored: &StoredConnection,
        edit: &ConnectionEdit,
    ) -> Option<(String, Secret)> {
        let connection = &stored.record.connection;
        let new = edit.secrets.get(WEBHOOK_SECRET)?.as_ref()?;
        let scheme =
            edit.webhook_auth.as_ref().map(|auth| auth.as_ref().and_then(|auth| auth.scheme));
        let is_signed =
            matches!(connection.webhook_auth.credential, Some(WebhookCredential::Signature { .. }))
                && matches!(scheme, None | Some(None | Some(Some(WebhookScheme::Signature))));
        if !is_signed || edit.secrets.contains_key(WEBHOOK_SECRET_PREVIOUS) {
            return None;
        }
        let sealed = stored.secrets.get(WEBHOOK_SECRET)?;
        let place = Sealer::place(&connection.id.to_string(), WEBHOOK_SECRET);
        let old = self.deps.sealer.open_sealed(&place, sealed).ok()?;
        resolve_secret(WEBHOOK_SECRET, &old, &self.deps.config.current()).ok()?;
        let is_other = !old.matches(new.reveal());
        is_other.then(|| (WEBHOOK_SECRET_PREVIOUS.to_owned(), old))
    }

    fn webhook_secret_problems(&self, stored: &StoredConnection) -> Vec<SettingError> {
        let connection = &stored.record.connection;
        let sealed = stored.secrets.iter().filter(|(name, _)| is_webhook_secret(name));
        let problem = |(name, sealed): (&String, &Sealed)| {
            let place = Sealer::place(&connection.id.to_string(), name);
            let secret = self.deps.sealer.open_sealed(&place, sealed).ok()?;
            let secret = resolve_secret(name, &secret, &self.deps.config.current()).ok()?;
            let why = webhook_secret_problem(connection, name, &secret)?;
            Some(SettingError { name: shown_secret_name(name).to_owned(), why })
        };
        sealed.filter_map(problem).collect()
    }
}

fn apply_to_webhook_auth(
    edit: WebhookAuthEdit,
    before: &WebhookAuth,
) -> Result<WebhookAuth, Vec<SettingError>> {
    let mut errors = Vec::new();
    let scheme = edit.scheme.unwrap_or(before.credential.as_ref().map(WebhookCredential::scheme));
    for (name, is_present, required) in [
        ("user", edit.user.is_some(), WebhookScheme::Basic),
        ("header", edit.header.is_some(), WebhookScheme::ApiKey),
        ("tolerance_s", edit.tolerance_s.is_some(), WebhookScheme::Signature),
    ] {
        if is_present && scheme != Some(required) {
            errors
                .push(member_error(name, format!("only the scheme `{required}` has this member")));
        }
    }
    let clients =
        edit.allowed_clients.map_or_else(|| Ok(before.allowed_clients.clone()), parse_networks);
    let allowed_clients = clients.unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let credential = scheme.map(|scheme| match (scheme, &before.credential) {
        (WebhookScheme::Bearer, _) => Ok(WebhookCredential::Bearer),
        (WebhookScheme::Basic, Some(WebhookCredential::Basic { user })) if edit.user.is_none() => {
            Ok(WebhookCredential::Basic { user: user.clone() })
        }
        (WebhookScheme::Basic, _) => basic_credential(edit.user),
        (WebhookScheme::ApiKey, Some(WebhookCredential::ApiKey { header }))
            if edit.header.is_none() =>
        {
            Ok(WebhookCredential::ApiKey { header: header.clone() })
        }
        (WebhookScheme::ApiKey, _) => api_key_credential(edit.header.as_deref()),
        (WebhookScheme::Signature, before) => {
            signature_credential(edit.tolerance_s, before.as_ref())
        }
    });
    match credential.transpose() {
        Ok(credential) if errors.is_empty() => Ok(WebhookAuth { credential, allowed_clients }),
        Ok(_) => Err(errors),
        Err(why) => Err(errors.into_iter().chain([why]).collect()),
    }
}

/// Returns an error if a connection requires a credential and has no secret for it, or if it
/// requires no credential and has a secret of senders.
fn secret_problem(connection: &Connection) -> Option<SettingError> {
    let is_set = |name: &str| connection.secrets_set.iter().any(|set| set == name);
    let problem = |name, why: &str| {
        Some(SettingError { name: shown_secret_name(name).to_owned(), why: why.to_owned() })
    };
    match (&connection.webhook_auth.credential, is_set(WEBHOOK_SECRET)) {
        (Some(_), false) => problem(WEBHOOK_SECRET, "enter the secret that senders must know"),
        (Some(_), true) => None,
        (None, true) => {
            problem(WEBHOOK_SECRET, "no scheme uses this secret: set one in `webhook_auth`")
        }
        (None, false) if is_set(WEBHOOK_SECRET_PREVIOUS) => problem(
            WEBHOOK_SECRET_PREVIOUS,
            "no scheme uses this secret: set one in `webhook_auth`",
        ),
        (None, false) => None,
    }
}

/// Returns the reason why webhook senders cannot use a secret of the connection.
pub(super) fn webhook_secret_problem(
    connection: &Connection,
    name: &str,
    secret: &Secret,
) -> Option<String> {
    let credential = connection.webhook_auth.credential.as_ref();
    is_webhook_secret(name).then(|| value_problem(credential, secret)).flatten()
}

fn value_problem(credential: Option<&WebhookCredential>, secret: &Secret) -> Option<String> {
    let text = secret.reveal();
    if matches!(credential, Some(WebhookCredential::Signature { .. })) {
        return SigningKey::read(secret).err().map(|error| error.to_string());
    }
    if text.chars().count() < SECRET_CHARS_MIN {
        return Some(format!("the secret has fewer than {SECRET_CHARS_MIN} characters"));
    }
    let is_valid = text.trim() == text && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    (!is_valid).then(|| "use ASCII characters, without a space at the start or the end".to_owned())
}

fn member_error(name: &str, why: impl Into<String>) -> SettingError {
    SettingError { name: format!("webhook_auth.{name}"), why: why.into() }
}

fn basic_credential(user: Option<String>) -> Result<WebhookCredential, SettingError> {
    let is_valid = |user: &String| {
        (1..=USER_CHARS_MAX).contains(&user.chars().count())
            && user.chars().all(|c| is_printable(c) && c != ':')
    };
    let why = "enter a user name of 1 to 200 characters, without a colon";
    let user = user.filter(is_valid).ok_or_else(|| member_error("user", why))?;
    Ok(WebhookCredential::Basic { user })
}

fn api_key_credential(header: Option<&str>) -> Result<WebhookCredential, SettingError> {
    let name = header.and_then(|header| header.parse::<HeaderName>().ok());
    let why = "enter the name of a header, such as X-API-Key";
    let name = name.ok_or_else(|| member_error("header", why))?;
    Ok(WebhookCredential::ApiKey { header: name.as_str().to_owned() })
}

fn signature_credential(
    tolerance_s: Option<u32>,
    before: Option<&WebhookCredential>,
) -> Result<WebhookCredential, SettingError> {
    let tolerance_s = match (tolerance_s, before) {
        (Some(tolerance_s), _) => tolerance_s,
        (None, Some(WebhookCredential::Signature { tolerance_s })) => *tolerance_s,
        (None, _) => DEFAULT_TOLERANCE_S,
    };
    let is_valid = (1..=TOLERANCE_S_MAX).contains(&tolerance_s);
    let why = || member_error("tolerance_s", format!("enter 1 to {TOLERANCE_S_MAX} seconds"));
    is_valid.then_some(WebhookCredential::Signature { tolerance_s }).ok_or_else(why)
}

fn parse_networks(texts: Vec<String>) -> Result<Vec<Network>, SettingError> {
    let invalid = |why| member_error("allowed_clients", why);
    if texts.len() > ALLOWED_CLIENTS_MAX {
        return Err(invalid(format!("enter at most {ALLOWED_CLIENTS_MAX} addresses and networks")));
    }
    let networks = texts.iter().map(|text| text.parse::<Network>());
    networks.collect::<Result<_, _>>().map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of_invalid_members(edit: WebhookAuthEdit, before: &WebhookAuth) -> Vec<String> {
        apply_to_webhook_auth(edit, before)
            .unwrap_err()
            .into_iter()
            .map(|error| error.name)
            .collect()
    }

    #[test]
    fn absent_members_keep_their_values() {
        let none = WebhookAuth::default();
        let edit = WebhookAuthEdit {
            scheme: Some(Some(WebhookScheme::ApiKey)),
            header: Some("X-Tm-Key".to_owned()),
            ..WebhookAuthEdit::default()
        };
        let first = apply_to_webhook_auth(edit, &none).unwrap();
        let header = "x-tm-key".to_owned();
        assert_eq!(first.credential, Some(WebhookCredential::ApiKey { header }));
        let allowed_clients = Some(vec!["203.0.113.0/24".to_owned()]);
        let edit = WebhookAuthEdit { allowed_clients, ..WebhookAuthEdit::default() };
        let second = apply_to_webhook_auth(edit, &first).unwrap();
        assert_eq!((second.credential, second.allowed_clients.len()), (first.credential, 1));
        let scheme = Some(Some(WebhookScheme::Signature));
        let edit = WebhookAuthEdit { scheme, ..WebhookAuthEdit::default() };
        let signature = Some(WebhookCredential::Signature { tolerance_s: 300 });
        assert_eq!(apply_to_webhook_auth(edit, &none).unwrap().credential, signature);
    }

    #[test]
    fn the_errors_name_members_that_are_not_valid() {
        let none = WebhookAuth::default();
        let scheme =
            |scheme| WebhookAuthEdit { scheme: Some(Some(scheme)), ..WebhookAuthEdit::default() };
        assert_eq!(
            names_of_invalid_members(scheme(WebhookScheme::Basic), &none),
            ["webhook_auth.user"]
        );
        let header = Some("x y".to_owned());
        let invalid = WebhookAuthEdit { header, ..scheme(WebhookScheme::ApiKey) };
        assert_eq!(names_of_invalid_members(invalid, &none), ["webhook_auth.header"]);
        let invalid = WebhookAuthEdit { tolerance_s: Some(0), ..scheme(WebhookScheme::Signature) };
        assert_eq!(names_of_invalid_members(invalid, &none), ["webhook_auth.tolerance_s"]);
        let invalid = WebhookAuthEdit {
            user: Some("tm".to_owned()),
            allowed_clients: Some(vec!["example.com".to_owned()]),
            ..WebhookAuthEdit::default()
        };
        assert_eq!(
            names_of_invalid_members(invalid, &none),
            ["webhook_auth.user", "webhook_auth.allowed_clients"]
        );
    }
}
