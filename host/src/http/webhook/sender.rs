//! Checks whether the sender of a webhook has the credential and the client address that the
//! connection requires.
//!
//! Secrets are compared in constant time. A refusal describes what is missing or wrong, but never
//! contains a credential that the sender sent or should send.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};
use data_encoding::BASE64;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::domain::{WebhookCredential, WebhookScheme};
use crate::egress::ActiveConnection;
use crate::http::problem::Problem;
use crate::secret::{Secret, SignedParts, SigningKey};

/// The headers of a signed request, as defined by Standard Webhooks.
static ID_HEADER: HeaderName = HeaderName::from_static("webhook-id");
static TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("webhook-timestamp");
static SIGNATURE_HEADER: HeaderName = HeaderName::from_static("webhook-signature");

#[derive(Debug, thiserror::Error)]
enum CredentialError {
    #[error("the server cannot read the secret that senders must know")]
    NoSecret,
    #[error("the secret that senders must know is not a key for signatures")]
    NoKey,
    #[error("the header {0} is missing")]
    Missing(String),
    #[error("the header {0} occurs more than once")]
    Repeated(String),
    #[error("the header {0} is not ASCII")]
    NotAscii(String),
    #[error("the header authorization does not have the scheme {0}")]
    WrongScheme(&'static str),
    #[error("the bearer token is wrong")]
    WrongToken,
    #[error("the user or the password is wrong")]
    WrongPassword,
    #[error("the API key is wrong")]
    WrongKey,
    #[error("the header {TIMESTAMP_HEADER} is not a Unix time")]
    InvalidTime,
    #[error(
        "the header {TIMESTAMP_HEADER} is {distance_s} s from the server's clock, and {tolerance_s} s are \
         allowed: check both clocks"
    )]
    TimeOutOfTolerance { distance_s: u64, tolerance_s: u32 },
    #[error(
        "no signature in the header {SIGNATURE_HEADER} matches this request: check the secret, and check \
         that no proxy changes the body"
    )]
    WrongSignature,
}

/// The headers of a signed request. Its signature can be verified only after its body was read.
pub(super) struct PendingSignature {
    /// The keys of the connection. A signature with any of them is accepted.
    keys: Vec<SigningKey>,
    id: String,
    timestamp: String,
    /// May contain several signatures.
    signatures: String,
}

/// Checks the address of the client.
///
/// # Errors
/// The connection does not accept this address.
pub(super) fn check_address(active: &ActiveConnection, client: IpAddr) -> Result<(), Problem> {
    let allowed = &active.connection.webhook_auth.allowed_clients;
    if allowed.is_empty() || allowed.iter().any(|network| network.contains(client)) {
        return Ok(());
    }
    Err(Problem::address_refused(client.to_canonical()))
}

/// Checks the credential in the headers. A signature also covers the body, so it cannot be checked
/// yet: the function returns it, and the caller must call [`PendingSignature::verify`]. Returns
/// `None` if the credential is valid or none is required.
///
/// # Errors
/// The credential, or the time of a signed request, is not accepted; or no secret can be used.
pub(super) fn check_headers(
    active: &ActiveConnection,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<PendingSignature>, Problem> {
    let Some(credential) = &active.connection.webhook_auth.credential else { return Ok(None) };
    let checked = check_credential(credential, active.webhook_secrets(), headers, now);
    checked.map_err(|error| Problem::sender_refused(credential.scheme(), error.to_string()))
}

fn check_credential(
    credential: &WebhookCredential,
    secrets: &[Secret],
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<PendingSignature>, CredentialError> {
    if secrets.is_empty() {
        return Err(CredentialError::NoSecret);
    }
    let (is_valid, error) = match credential {
        WebhookCredential::Bearer => {
            let token = authorization(headers, "Bearer")?;
            (matches_any(secrets, token), CredentialError::WrongToken)
        }
        WebhookCredential::Basic { user } => {
            let pair = authorization(headers, "Basic")?;
            let pair = BASE64.decode(pair.as_bytes()).map(Zeroizing::new).unwrap_or_default();
            let pair = std::str::from_utf8(&pair).unwrap_or_default();
            let (sent_user, password) = pair.split_once(':').unwrap_or_default();
            let is_user = Secret::new(user.clone()).matches(sent_user);
            (matches_any(secrets, password) & is_user, CredentialError::WrongPassword)
        }
        WebhookCredential::ApiKey { header } => {
            (matches_any(secrets, single_value(headers, header)?), CredentialError::WrongKey)
        }
        WebhookCredential::Signature { tolerance_s } => {
            return pending_signature(headers, secrets, now, *tolerance_s).map(Some);
        }
    };
    if is_valid { Ok(None) } else { Err(error) }
}

/// Compares a text with every secret, so that the time of the comparison does not reveal which
/// secret matches.
fn matches_any(secrets: &[Secret], text: &str) -> bool {
    secrets.iter().fold(false, |found, secret| secret.matches(text) | found)
}

/// The credential in the header `Authorization`, which must have this scheme.
fn authorization<'a>(
    headers: &'a HeaderMap,
    scheme: &'static str,
) -> Result<&'a str, CredentialError> {
    let value = single_value(headers, header::AUTHORIZATION.as_str())?;
    let (sent_scheme, credential) = value.split_once(' ').unwrap_or((value, ""));
    if !sent_scheme.eq_ignore_ascii_case(scheme) {
        return Err(CredentialError::WrongScheme(scheme));
    }
    Ok(credential.trim())
}

fn single_value<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, CredentialError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Err(CredentialError::Missing(name.to_owned())),
        (Some(Ok(value)), None) => Ok(value),
        (Some(Err(_)), None) => Err(CredentialError::NotAscii(name.to_owned())),
        (Some(_), Some(_)) => Err(CredentialError::Repeated(name.to_owned())),
    }
}

/// Reads the headers of a signed request, and checks the time of the request.
fn pending_signature(
    headers: &HeaderMap,
    secrets: &[Secret],
    now: Timestamp,
    tolerance_s: u32,
) -> Result<PendingSignature, CredentialError> {
    let [id, timestamp, signatures] = [&ID_HEADER, &TIMESTAMP_HEADER, &SIGNATURE_HEADER]
        .map(|name| single_value(headers, name.as_str()));
    let (id, timestamp, signatures) = (id?, timestamp?, signatures?);
    let sent_s: i64 = timestamp.parse().map_err(|_| CredentialError::InvalidTime)?;
    let distance_s = now.as_second().abs_diff(sent_s);
    if distance_s > tolerance_s.into() {
        return Err(CredentialError::TimeOutOfTolerance { distance_s, tolerance_s });
    }
    let keys: Vec<_> = secrets.iter().filter_map(|secret| SigningKey::read(secret).ok()).collect();
    if keys.is_empty() {
        return Err(CredentialError::NoKey);
    }
    let [id, timestamp, signatures] = [id, timestamp, signatures].map(str::to_owned);
    Ok(PendingSignature { keys, id, timestamp, signatures })
}

impl PendingSignature {
    /// Checks the signature. `body` must be the bytes of the body as they were sent.
    ///
    /// # Errors
    /// No signature was made with a key of the connection for this id, time and body.
    pub(super) fn verify(&self, body: &[u8]) -> Result<(), Problem> {
        let signed = SignedParts { id: &self.id, timestamp: &self.timestamp, body };
        let verifies = |key: &SigningKey| key.verifies(signed, &self.signatures);
        if self.keys.iter().fold(false, |found, key| verifies(key) | found) {
            return Ok(());
        }
        let why = CredentialError::WrongSignature.to_string();
        Err(Problem::sender_refused(WebhookScheme::Signature, why))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use crate::domain::{
        Connection, ConnectionId, WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, WebhookAuth,
    };

    use super::*;

    /// A key for signatures, from the examples of Standard Webhooks.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn connection_with(
        credential: WebhookCredential,
        secrets: &[(&str, &str)],
    ) -> ActiveConnection {
        let id = ConnectionId(Uuid::nil());
        let connector = "redmine".parse().unwrap();
        let connection = Connection {
            webhook_auth: WebhookAuth {
                credential: Some(credential),
                allowed_clients: vec!["203.0.113.0/24".parse().unwrap()],
            },
            ..Connection::new(id, "qa".to_owned(), connector, Timestamp::UNIX_EPOCH)
        };
        let secrets = secrets.iter();
        let secrets: BTreeMap<_, _> = secrets
            .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
            .collect();
        ActiveConnection::new(connection, secrets)
    }

    /// Checks a request with these headers, and a fixed body and time. Returns why it is refused.
    fn check_request(
        active: &ActiveConnection,
        headers: &[(&'static str, &str)],
    ) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let checked = check_headers(active, &map, now);
        let checked = checked.and_then(|pending| match pending {
            Some(signature) => signature.verify(br#"{"test": 2432232314}"#),
            None => Ok(()),
        });
        checked.map_err(|problem| problem.outcome().detail)
    }

    #[test]
    fn the_current_and_the_previous_secret_are_accepted_and_a_refusal_repeats_no_credential() {
        let basic = WebhookCredential::Basic { user: "tm".to_owned() };
        let api_key = WebhookCredential::ApiKey { header: "x-tm".to_owned() };
        // `echo -n tm:new-secret | base64` writes the credential of the scheme `Basic`.
        for (credential, header, new, old, wrong, missing) in [
            (
                WebhookCredential::Bearer,
                "authorization",
                "Bearer new-secret",
                "bearer old-secret",
                "Bearer hunter2",
                "is missing",
            ),
            (
                basic,
                "authorization",
                "Basic dG06bmV3LXNlY3JldA==",
                "Basic dG06b2xkLXNlY3JldA==",
                "Basic eDpuZXctc2VjcmV0",
                "is missing",
            ),
            (api_key, "x-tm", "new-secret", "old-secret", "hunter2", "x-tm is missing"),
        ] {
            let secrets = [(WEBHOOK_SECRET, "new-secret"), (WEBHOOK_SECRET_PREVIOUS, "old-secret")];
            let both = connection_with(credential.clone(), &secrets);
            assert_eq!(check_request(&both, &[(header, new)]), Ok(()));
            assert_eq!(check_request(&both, &[(header, old)]), Ok(()));
            let why = check_request(&both, &[(header, wrong)]).unwrap_err();
            assert!(why.contains("wrong") && !why.contains("hunter2"), "{why}");
            let why = check_request(&both, &[]).unwrap_err();
            assert!(why.contains(missing), "{why}");
            assert!(check_request(&both, &[(header, new), (header, old)]).is_err());
            let only_new = connection_with(credential.clone(), &secrets[..1]);
            assert!(check_request(&only_new, &[(header, old)]).is_err());
            let without_secrets = connection_with(credential, &[]);
            assert!(check_request(&without_secrets, &[(header, new)]).is_err());
        }
    }

    #[test]
    fn a_signature_is_accepted_only_within_the_tolerance_of_its_time() {
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let headers = |timestamp, signature| {
            let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
            [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
        };
        let credential = || WebhookCredential::Signature { tolerance_s: 5 };
        let previous = [
            (WEBHOOK_SECRET, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            (WEBHOOK_SECRET_PREVIOUS, KEY),
        ];
        for secrets in [&[(WEBHOOK_SECRET, KEY)][..], &previous] {
            let active = connection_with(credential(), secrets);
            assert_eq!(check_request(&active, &headers("1614265330", signature)), Ok(()));
            for (timestamp, why) in [
                ("1614265324", "6 s from"),
                ("1614265336", "6 s from"),
                ("1614265331", "no signature"),
                ("now", "not a Unix time"),
            ] {
                let refused = check_request(&active, &headers(timestamp, signature)).unwrap_err();
                assert!(refused.contains(why), "{timestamp}: {refused}");
            }
            let why = check_request(&active, &headers("1614265330", "v1,AAAA")).unwrap_err();
            assert!(why.contains("no signature"), "{why}");
        }
    }

    #[test]
    fn only_client_addresses_of_the_allowed_networks_are_accepted() {
        let active = connection_with(WebhookCredential::Bearer, &[]);
        for (client, is_allowed) in
            [("203.0.113.9", true), ("::ffff:203.0.113.9", true), ("203.0.114.9", false)]
        {
            assert_eq!(check_address(&active, client.parse().unwrap()).is_ok(), is_allowed);
        }
    }
}
