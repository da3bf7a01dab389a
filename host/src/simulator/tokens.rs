//! Decides for the token endpoint (OAuth 2.0 client credentials), and what each token permits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::faults::{FaultName, Faults};

/// The only client. It is the same in every stand-in, so that examples can show it.
pub const CLIENT_ID: &str = "jackfield-stand-in";
/// The client's secret. It protects nothing: the data is invented.
pub const CLIENT_SECRET: &str = "stand-in-secret-that-protects-nothing";

/// How long a token lasts, seconds.
const LIFETIME_S: u64 = 3600;
/// Maximum number of tokens that are remembered; older tokens are not accepted.
const TOKENS_MAX: usize = 1000;

/// The families of scopes. `TM.X` permits everything in a family, `TM.X.Read` only reads.
const FAMILIES: [&str; 8] = [
    "TM.Projects",
    "TM.TestExecutions",
    "TM.TestCases",
    "TM.TestSets",
    "TM.Requirements",
    "TM.Attachments",
    "TM.CustomFieldValues",
    "TM.Defects",
];

/// The reason why the token endpoint refuses: the value of the member `error`.
pub(super) type Refusal = &'static str;

/// The tokens that were issued, the newest last.
#[derive(Default)]
pub(super) struct Tokens(VecDeque<Token>);

struct Token {
    text: String,
    scopes: Vec<String>,
    ends_at: Instant,
}

/// Whether the token of a request permits the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The request has no token, or its token is unknown or expired.
    Unauthorized,
    /// The token does not permit this request.
    Forbidden,
    /// The request is permitted.
    Permitted,
}

impl Tokens {
    /// Answers the form that a client posted.
    pub(super) fn issue(
        &mut self,
        form: &str,
        now: Instant,
        faults: &Faults,
    ) -> Result<Value, Refusal> {
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(form.as_bytes());
            fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        let is_known = field("client_id").as_deref() == Some(CLIENT_ID)
            && field("client_secret").as_deref() == Some(CLIENT_SECRET);
        if !is_known || faults.has(FaultName::WrongCredentials) {
            return Err("invalid_client");
        }
        match field("grant_type").as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err("unsupported_grant_type"),
            None => return Err("invalid_request"),
        }
        let scopes = granted(field("scope").as_deref().unwrap_or_default(), faults)?;
        let lifetime_s = faults.value(FaultName::ClockSkew).unwrap_or(LIFETIME_S);
        let ends_at = now + Duration::from_secs(lifetime_s);
        let (text, scope) = (token_text(&scopes), scopes.join(" "));
        if self.0.len() >= TOKENS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Token { text: text.clone(), scopes, ends_at });
        Ok(json!({
            "access_token": text,
            "expires_in": LIFETIME_S,
            "token_type": "Bearer",
            "scope": scope,
        }))
    }

    /// Checks the header `Authorization` of a request that needs a scope of this family.
    pub(super) fn access(
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
        if token.ends_at <= now {
            return Access::Unauthorized;
        }
        if faults.take(FaultName::ExpiredToken) {
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

/// The granted scopes of a token request. If one requested scope is not granted, the request is
/// refused. A request without scopes gets all that are granted.
fn granted(requested: &str, faults: &Faults) -> Result<Vec<String>, Refusal> {
    let all = match faults.has(FaultName::UngrantedScope) {
        true => vec!["TM.Projects.Read".to_owned()],
        false => FAMILIES
            .iter()
            .flat_map(|family| [format!("{family}.Read"), (*family).to_owned()])
            .collect(),
    };
    let requested: Vec<_> = requested.split_whitespace().map(str::to_owned).collect();
    if requested.is_empty() {
        return Ok(all);
    }
    match requested.iter().all(|scope| all.contains(scope)) {
        true => Ok(requested),
        false => Err("invalid_scope"),
    }
}

/// A text that looks like a signed JSON Web Token, as Test Manager's tokens do. Clients must not
/// read its content.
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

    fn with(fault: &str) -> Faults {
        Faults::new(&[fault.parse().expect("a fault")])
    }

    #[test]
    fn a_request_for_a_token_is_refused_as_oauth_says() {
        let now = Instant::now();
        let no_grant_type = form(&[]).replace("grant_type=client_credentials&", "");
        for (form, faults, expected) in [
            (form(&[]), Faults::default(), Ok(())),
            (form(&[("scope", "TM.Projects.Read TM.Defects")]), Faults::default(), Ok(())),
            (form(&[("scope", "TM.Projects TM.Users")]), Faults::default(), Err("invalid_scope")),
            (
                form(&[("scope", "TM.TestCases.Read")]),
                with("ungranted-scope"),
                Err("invalid_scope"),
            ),
            (form(&[("client_secret", "x")]), Faults::default(), Err("invalid_client")),
            (form(&[]), with("wrong-credentials"), Err("invalid_client")),
            (form(&[("grant_type", "password")]), Faults::default(), Err("unsupported_grant_type")),
            (no_grant_type, Faults::default(), Err("invalid_request")),
            (String::new(), Faults::default(), Err("invalid_client")),
        ] {
            let answer = Tokens::default().issue(&form, now, &faults);
            assert_eq!(answer.map(|_| ()), expected, "{form}");
        }
    }

    #[test]
    fn a_token_permits_its_scopes_until_it_ends() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let mut none = Faults::default();
        let form = form(&[("scope", "TM.Projects.Read")]);
        let mut issue = |faults: &Faults| {
            let answer = tokens.issue(&form, now, faults).expect("a token");
            assert_eq!(answer["expires_in"], 3600);
            format!("Bearer {}", answer["access_token"].as_str().expect("a text"))
        };
        let (token, skewed) = (issue(&none), issue(&with("clock-skew=5")));
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
            assert_eq!(tokens.access(header, family, at, &mut none), expected, "{family}");
        }
    }

    #[test]
    fn an_expired_token_is_refused_and_a_new_one_accepted() {
        let (mut tokens, now, mut faults) =
            (Tokens::default(), Instant::now(), with("expired-token"));
        let issue = |tokens: &mut Tokens| {
            let answer = tokens.issue(&form(&[]), now, &Faults::default()).expect("a token");
            format!("Bearer {}", answer["access_token"].as_str().expect("a text"))
        };
        let old = issue(&mut tokens);
        let mut access = |tokens: &mut Tokens, token: &str| {
            tokens.access(Some(token), "TM.Projects", now, &mut faults)
        };
        assert_eq!(access(&mut tokens, &old), Access::Unauthorized);
        assert_eq!(access(&mut tokens, &old), Access::Unauthorized);
        let new = issue(&mut tokens);
        assert_eq!(access(&mut tokens, &new), Access::Permitted);
    }
}
