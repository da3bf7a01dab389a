//! Issues tokens (OAuth 2.0 client credentials), and checks which requests a token permits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::faults::{FaultName, Faults};

/// The id of the only client.
pub const CLIENT_ID: &str = "jackfield-stand-in";
/// The secret of the client. It protects nothing, because the data is invented.
pub const CLIENT_SECRET: &str = "stand-in-secret-that-protects-nothing";
const TOKEN_LIFETIME_S: u64 = 3600;
/// Maximum number of stored tokens. If there are more, the oldest is removed, and is then refused.
const TOKENS_MAX: usize = 1000;

/// The scope `TM.X` permits every request of the family `TM.X`, and the scope `TM.X.Read` only its
/// reading requests.
const SCOPE_FAMILIES: [&str; 8] = [
    "TM.Projects",
    "TM.TestExecutions",
    "TM.TestCases",
    "TM.TestSets",
    "TM.Requirements",
    "TM.Attachments",
    "TM.CustomFieldValues",
    "TM.Defects",
];

/// An error code of OAuth 2.0.
pub(super) type OAuthErrorCode = &'static str;

/// The newest token is the last.
#[derive(Default)]
pub(super) struct IssuedTokens(VecDeque<Token>);

struct Token {
    text: String,
    scopes: Vec<String>,
    expires_at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The request has no token, or its token is unknown or expired.
    Unauthorized,
    Forbidden,
    Permitted,
}

impl IssuedTokens {
    /// Returns the answer of the token endpoint to this form.
    pub(super) fn issue_token(
        &mut self,
        form: &str,
        now: Instant,
        faults: &Faults,
    ) -> Result<Value, OAuthErrorCode> {
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(form.as_bytes());
            fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
        };
        let is_valid_client = field("client_id").as_deref() == Some(CLIENT_ID)
            && field("client_secret").as_deref() == Some(CLIENT_SECRET);
        if !is_valid_client || faults.is_set(FaultName::WrongCredentials) {
            return Err("invalid_client");
        }
        match field("grant_type").as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err("unsupported_grant_type"),
            None => return Err("invalid_request"),
        }
        let scopes = grant_scopes(field("scope").as_deref().unwrap_or_default(), faults)?;
        let lifetime_s = faults.value(FaultName::ClockSkew).unwrap_or(TOKEN_LIFETIME_S);
        let expires_at = now + Duration::from_secs(lifetime_s);
        let (text, scope) = (token_text(&scopes), scopes.join(" "));
        if self.0.len() >= TOKENS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Token { text: text.clone(), scopes, expires_at });
        Ok(json!({
            "access_token": text,
            "expires_in": TOKEN_LIFETIME_S,
            "token_type": "Bearer",
            "scope": scope,
        }))
    }

    /// Checks the header `Authorization` of a request that needs a scope of this family. If
    /// `family` is empty, each valid token permits the request.
    pub(super) fn check_access(
        &mut self,
        authorization: Option<&str>,
        family: &str,
        now: Instant,
        faults: &mut Faults,
    ) -> Access {
        let text = authorization.and_then(|header| header.strip_prefix("Bearer "));
        let found = self.0.iter().position(|token| Some(token.text.as_str()) == text);
        let Some((at, token)) = found.and_then(|at| Some((at, self.0.get(at)?))) else {
            return Access::Unauthorized;
        };
        if token.expires_at <= now {
            return Access::Unauthorized;
        }
        if faults.use_once(FaultName::ExpiredToken) {
            self.0.remove(at);
            return Access::Unauthorized;
        }
        let read = format!("{family}.Read");
        let permits = |scope: &String| *scope == family || *scope == read;
        match family.is_empty() || token.scopes.iter().any(permits) {
            true => Access::Permitted,
            false => Access::Forbidden,
        }
    }
}

/// Refuses a request for a scope that the client does not have. A request without scopes gets all
/// scopes of the client.
fn grant_scopes(requested: &str, faults: &Faults) -> Result<Vec<String>, OAuthErrorCode> {
    let scopes_of_client = match faults.is_set(FaultName::UngrantedScope) {
        true => vec!["TM.Projects.Read".to_owned()],
        false => SCOPE_FAMILIES
            .iter()
            .flat_map(|family| [format!("{family}.Read"), (*family).to_owned()])
            .collect(),
    };
    let requested: Vec<_> = requested.split_whitespace().map(str::to_owned).collect();
    if requested.is_empty() {
        return Ok(scopes_of_client);
    }
    match requested.iter().all(|scope| scopes_of_client.contains(scope)) {
        true => Ok(requested),
        false => Err("invalid_scope"),
    }
}

/// The text has the format of a signed JSON Web Token, like the tokens of Test Manager. Clients
/// must not read its content.
fn token_text(scopes: &[String]) -> String {
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let head = encode(r#"{"alg":"RS256","typ":"at+jwt"}"#);
    let body = encode(&json!({ "client_id": CLIENT_ID, "scope": scopes }).to_string());
    let signature: String = (0..8).map(|_| Uuid::new_v4().simple().to_string()).collect();
    format!("{head}.{body}.{}", encode(&signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(changes: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        fields.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let all = fields.iter().chain(changes);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish()
    }

    fn with_fault(fault: &str) -> Faults {
        Faults::new(&[fault.parse().expect("a fault")])
    }

    #[test]
    fn a_request_for_a_token_is_refused_with_the_error_code_of_oauth() {
        let now = Instant::now();
        let no_grant_type = form(&[]).replace("grant_type=client_credentials&", "");
        for (form, faults, expected) in [
            (form(&[]), Faults::default(), Ok(())),
            (form(&[("scope", "TM.Projects.Read TM.Defects")]), Faults::default(), Ok(())),
            (form(&[("scope", "TM.Projects TM.Users")]), Faults::default(), Err("invalid_scope")),
            (
                form(&[("scope", "TM.TestCases.Read")]),
                with_fault("ungranted-scope"),
                Err("invalid_scope"),
            ),
            (form(&[("client_secret", "x")]), Faults::default(), Err("invalid_client")),
            (form(&[]), with_fault("wrong-credentials"), Err("invalid_client")),
            (form(&[("grant_type", "password")]), Faults::default(), Err("unsupported_grant_type")),
            (no_grant_type, Faults::default(), Err("invalid_request")),
            (String::new(), Faults::default(), Err("invalid_client")),
        ] {
            let answer = IssuedTokens::default().issue_token(&form, now, &faults);
            assert_eq!(answer.map(|_| ()), expected, "{form}");
        }
    }

    #[test]
    fn a_token_permits_its_scopes_until_it_expires() {
        let (mut tokens, now) = (IssuedTokens::default(), Instant::now());
        let mut no_faults = Faults::default();
        let form = form(&[("scope", "TM.Projects.Read")]);
        let mut issue = |faults: &Faults| {
            let answer = tokens.issue_token(&form, now, faults).expect("a token");
            assert_eq!(answer["expires_in"], 3600);
            format!("Bearer {}", answer["access_token"].as_str().expect("a text"))
        };
        let (token, skewed) = (issue(&no_faults), issue(&with_fault("clock-skew=5")));
        let later = |seconds| now + Duration::from_secs(seconds);
        for (header, family, at, expected) in [
            (None, "TM.Projects", now, Access::Unauthorized),
            (Some("Bearer x"), "TM.Projects", now, Access::Unauthorized),
            (Some(token.as_str()), "TM.Projects", now, Access::Permitted),
            (Some(token.as_str()), "", now, Access::Permitted),
            (Some(token.as_str()), "TM.TestCases", now, Access::Forbidden),
            (Some(token.as_str()), "TM.Projects", later(3600), Access::Unauthorized),
            (Some(skewed.as_str()), "TM.Projects", later(4), Access::Permitted),
            (Some(skewed.as_str()), "TM.Projects", later(5), Access::Unauthorized),
        ] {
            assert_eq!(
                tokens.check_access(header, family, at, &mut no_faults),
                expected,
                "{family}"
            );
        }
    }

    #[test]
    fn an_expired_token_is_refused_and_a_new_token_is_accepted() {
        let (mut tokens, now, mut faults) =
            (IssuedTokens::default(), Instant::now(), with_fault("expired-token"));
        let issue = |tokens: &mut IssuedTokens| {
            let answer = tokens.issue_token(&form(&[]), now, &Faults::default()).expect("a token");
            format!("Bearer {}", answer["access_token"].as_str().expect("a text"))
        };
        let old = issue(&mut tokens);
        let mut access = |tokens: &mut IssuedTokens, token: &str| {
            tokens.check_access(Some(token), "TM.Projects", now, &mut faults)
        };
        assert_eq!(access(&mut tokens, &old), Access::Unauthorized);
        assert_eq!(access(&mut tokens, &old), Access::Unauthorized);
        let new = issue(&mut tokens);
        assert_eq!(access(&mut tokens, &new), Access::Permitted);
    }
}
