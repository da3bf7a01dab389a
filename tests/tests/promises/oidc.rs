//! People sign in with a real OpenID Connect provider. A claim of the ID token decides which role
//! the person gets. The provider's answer is valid only once, only in the browser that began the
//! sign-in, and only with a token that the provider signed.

use jackfield_tests::{Answer, Client, IdentityProvider, Setup, TestHost};
use serde_json::{Value, json};

/// The URL under which the provider knows this server.
const SERVER_URL: &str = "http://jackfield.test";

struct OidcFixture {
    provider: IdentityProvider,
    host: TestHost,
}

impl OidcFixture {
    /// The server must authenticate at the provider by the method `client_authentication`, such as
    /// `client_secret_basic`.
    fn start(client_authentication: &str) -> Self {
        let callback_url = format!("{SERVER_URL}/sign-in/oidc/callback");
        let provider = IdentityProvider::start(&callback_url, client_authentication);
        let config = format!(
            "allowed_hosts = [\"jackfield.test\"]
             [oidc]
             issuer = \"{}\"
             client_id = \"jackfield\"
             client_secret = \"env:JACKFIELD_SECRET_OIDC\"
             operators = [\"testers\"]
             admins = [\"jackfield-admins\"]",
            provider.issuer()
        );
        let secret = IdentityProvider::CLIENT_SECRET;
        let host = Setup::new().config(&config).env("JACKFIELD_SECRET_OIDC", secret).start();
        Self { provider, host }
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        let headers = [("host", "jackfield.test"), ("cookie", cookie)];
        self.host.anonymous().send("GET", path, &headers, b"")
    }

    /// Returns the browser's cookie, and the provider's URL where the person signs in.
    fn begin_sign_in(&self) -> (String, String) {
        let redirect = self.get("/sign-in/oidc?next=/api/v1/account", "");
        assert_eq!(redirect.status, 303, "{redirect:?}");
        let cookie = find_set_cookie(&redirect, "jackfield-login").expect("a cookie");
        assert!(cookie.contains("SameSite=Lax") && cookie.contains("HttpOnly"), "{cookie}");
        let provider_url = redirect.header("location").expect("the URL of the provider").to_owned();
        (name_and_value(&cookie), provider_url)
    }

    /// Returns the server's answer to the browser that the provider redirects back.
    fn finish_sign_in(&self, cookie: &str, provider_url: &str, person: &str) -> Answer {
        let callback_url = self.provider.sign_in(provider_url, person);
        self.get(callback_url.strip_prefix(SERVER_URL).expect("an address of the server"), cookie)
    }

    fn sign_in(&self, person: &str) -> Answer {
        let (cookie, provider_url) = self.begin_sign_in();
        self.finish_sign_in(&cookie, &provider_url, person)
    }

    /// Returns the account of the session that this answer began.
    fn account_of_session(&self, signed_in: &Answer) -> Value {
        assert_eq!(signed_in.status, 200, "{signed_in:?}");
        let cookie = find_set_cookie(signed_in, "jackfield").expect("a session");
        assert!(cookie.contains("SameSite=Strict"), "{cookie}");
        self.get("/api/v1/account", &name_and_value(&cookie)).expect(200)
    }
}

/// Returns the cookie that an answer sets under this name. Returns `None` if the answer deletes the
/// cookie, or does not set it.
fn find_set_cookie(answer: &Answer, name: &str) -> Option<String> {
    let headers = answer.headers.iter().filter(|(header, _)| header == "set-cookie");
    let mut headers = headers.map(|(_, cookie)| cookie.clone());
    headers.find(|cookie| cookie.starts_with(&format!("{name}=")) && !cookie.contains("Max-Age=0"))
}

fn name_and_value(cookie: &str) -> String {
    cookie.split(';').next().expect("a value").to_owned()
}

#[test]
fn a_person_signs_in_with_the_role_that_a_claim_gives() {
    for client_authentication in ["client_secret_basic", "client_secret_post"] {
        let fixture = OidcFixture::start(client_authentication);
        let page = fixture.get("/sign-in", "");
        assert!(
            page.body.contains("/sign-in/oidc"),
            "the page does not offer the provider: {page:?}"
        );
        let signed_in = fixture.sign_in("ann");
        assert!(signed_in.body.contains("url=/api/v1/account"), "{signed_in:?}");
        let account = fixture.account_of_session(&signed_in);
        assert_eq!(
            (&account["name"], &account["role"]),
            (&json!("oidc:ann@example.com"), &json!("admin"))
        );
        assert_eq!(fixture.account_of_session(&fixture.sign_in("otto"))["role"], "operator");
        let audit = fixture.host.admin().get("/audit?account=oidc:ann@example.com").expect(200);
        assert_eq!(audit["entries"][0]["action"], "session.begin", "{audit}");
    }
}

#[test]
fn a_person_without_a_listed_group_is_refused() {
    let fixture = OidcFixture::start("client_secret_basic");
    let refused = fixture.sign_in("nora");
    assert!(refused.status == 403 && refused.body.contains("nora@example.com"), "{refused:?}");
    assert_eq!(find_set_cookie(&refused, "jackfield"), None);
}

#[test]
fn an_answer_of_the_provider_is_valid_only_once_and_only_in_one_browser() {
    let fixture = OidcFixture::start("client_secret_basic");
    let (cookie, provider_url) = fixture.begin_sign_in();
    let (other_cookie, other_provider_url) = fixture.begin_sign_in();
    let refused = fixture.finish_sign_in(&other_cookie, &provider_url, "ann");
    assert_eq!(
        (refused.status, find_set_cookie(&refused, "jackfield")),
        (401, None),
        "{refused:?}"
    );
    assert_eq!(fixture.finish_sign_in("", &other_provider_url, "ann").status, 401);

    let callback_url = fixture.provider.sign_in(&provider_url, "ann");
    let callback_path = callback_url.strip_prefix(SERVER_URL).expect("an address of the server");
    assert_eq!(fixture.get(callback_path, &cookie).status, 200);
    let repeated = fixture.get(callback_path, &cookie);
    assert!(
        repeated.status >= 400 && find_set_cookie(&repeated, "jackfield").is_none(),
        "{repeated:?}"
    );
    let of_other_issuer = callback_path.replace("&iss=", "&iss=https%3A%2F%2Fevil.example&x=");
    assert_eq!(fixture.get(&of_other_issuer, &cookie).status, 401);
}

#[test]
fn a_token_for_another_sign_in_or_code_verifier_is_refused() {
    let fixture = OidcFixture::start("client_secret_basic");
    for parameter in ["nonce", "code_challenge"] {
        let (cookie, provider_url) = fixture.begin_sign_in();
        let (before, after) =
            provider_url.split_once(&format!("&{parameter}=")).expect("the parameter is sent");
        let rest = after.split_once('&').map_or(String::new(), |(_, rest)| format!("&{rest}"));
        let changed_url = format!("{before}&{parameter}={}{rest}", "A".repeat(43));
        let refused = fixture.finish_sign_in(&cookie, &changed_url, "ann");
        let session = find_set_cookie(&refused, "jackfield");
        assert!(
            [401, 502].contains(&refused.status) && session.is_none(),
            "{parameter}: {refused:?}"
        );
    }
}

#[test]
fn a_token_that_the_provider_did_not_sign_is_refused() {
    use data_encoding::BASE64URL_NOPAD;
    use jackfield_tests::{Reply, ScriptedServer};
    let provider = ScriptedServer::start(|_| Reply::new(404, ""));
    let issuer = provider.url();
    let config = format!(
        "[oidc]\nissuer = \"{issuer}\"\nclient_id = \"jackfield\"\nadmins = [\"jackfield-admins\"]"
    );
    let host = Setup::new().config(&config).start();
    let metadata = json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
    });
    // An attacker has this key, because a provider publishes its keys.
    let keys = json!({"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]});
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "k"}),
        json!({"alg": "RS256", "kid": "k"}),
        json!({"alg": "RS256", "kid": "unknown"}),
    ] {
        let redirect = {
            let metadata = metadata.to_string();
            provider.set_script(move |_| Reply::json(200, &metadata));
            host.anonymous().get("/sign-in/oidc")
        };
        let provider_url = redirect.header("location").expect("an address").to_owned();
        let parameter = |name: &str| {
            let (_, rest) =
                provider_url.split_once(&format!("&{name}=")).expect("the parameter is sent");
            rest.split('&').next().expect("a value").to_owned()
        };
        let claims = json!({
            "iss": issuer, "aud": "jackfield", "sub": "eve", "exp": 9_999_999_999_u64,
            "nonce": parameter("nonce"), "groups": ["jackfield-admins"],
        });
        let encoded_part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let token = format!(
            "{}.{}.{}",
            encoded_part(&header),
            encoded_part(&claims),
            encoded_part(&json!("signature"))
        );
        let (answer, keys) = (json!({"id_token": token}).to_string(), keys.to_string());
        provider.set_script(move |exchange| {
            let is_token = exchange.request.target.starts_with("/token");
            Reply::json(200, if is_token { &answer } else { &keys })
        });
        let cookie =
            name_and_value(&find_set_cookie(&redirect, "jackfield-login").expect("a cookie"));
        let callback_path = format!("/sign-in/oidc/callback?code=c&state={}", parameter("state"));
        let client = Client::new(host.url(), &[("cookie", &cookie)]);
        let refused = client.get(&callback_path);
        let session = find_set_cookie(&refused, "jackfield");
        assert!(refused.status == 401 && session.is_none(), "{header}: {refused:?}");
    }
}

#[test]
fn without_a_provider_the_oidc_pages_are_not_found() {
    let host = Setup::new().start();
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=c&state=s"] {
        host.anonymous().get(path).assert_problem(404, "not-found");
    }
    assert!(!host.anonymous().get("/sign-in").body.contains("oidc"));
}

#[test]
fn strangers_share_one_request_to_a_slow_provider_and_read_nothing_of_its_answer() {
    use jackfield_tests::{Reply, ScriptedServer};
    let provider = ScriptedServer::start(|_| Reply::new(500, "details of the intranet"));
    let config = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"jackfield\"\nadmins = [\"jackfield-admins\"]",
        provider.url()
    );
    let host = Setup::new().config(&config).start();
    let gate = provider.hold_requests(|_| true);
    let begin_sign_in = || host.anonymous().get("/sign-in/oidc");
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin_sign_in)).collect();
        gate.await_held(1);
        gate.open();
        threads.into_iter().map(|it| it.join().expect("an answer")).collect::<Vec<_>>()
    });
    let port = provider.address().port().to_string();
    for refused in answers.into_iter().chain([begin_sign_in()]) {
        assert_eq!(refused.status, 502, "{refused:?}");
        assert!(refused.body.contains("ask an admin"), "{refused:?}");
        assert!(!refused.body.contains("intranet") && !refused.body.contains(&port), "{refused:?}");
    }
    assert_eq!(
        provider.requests().len(),
        1,
        "all share one request, and soon after its failure no other request is sent"
    );
    jackfield_tests::wait_for("the reason in the log", 10, || {
        host.output().contains("details of the intranet").then_some(())
    });
}
