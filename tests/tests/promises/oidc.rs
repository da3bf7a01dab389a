//! Signing in with an OpenID Connect provider, a real one: roles follow from a claim; a sign-in is
//! valid only in the browser in which it began, once, and as the provider signed it.

use jackfield_tests::{Answer, Client, IdentityProvider, Setup, TestHost};
use serde_json::{Value, json};

/// The server under the name that the provider knows.
const SERVER: &str = "http://jackfield.test";

struct World {
    provider: IdentityProvider,
    host: TestHost,
}

impl World {
    fn start(method: &str) -> Self {
        let redirect = format!("{SERVER}/sign-in/oidc/callback");
        let provider = IdentityProvider::start(&redirect, method);
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

    /// Begins a sign-in: the cookie of the browser, and the address at the provider.
    fn begin(&self) -> (String, String) {
        let begun = self.get("/sign-in/oidc?next=/api/v1/account", "");
        assert_eq!(begun.status, 303, "{begun:?}");
        let cookie = set_cookie(&begun, "jackfield-login").expect("a cookie");
        assert!(cookie.contains("SameSite=Lax") && cookie.contains("HttpOnly"), "{cookie}");
        let address = begun.header("location").expect("an address").to_owned();
        (value(&cookie), address)
    }

    /// The answer to the browser that comes back from the provider as this person.
    fn finish(&self, cookie: &str, address: &str, person: &str) -> Answer {
        let back = self.provider.sign_in(address, person);
        self.get(back.strip_prefix(SERVER).expect("an address of the server"), cookie)
    }

    fn sign_in(&self, person: &str) -> Answer {
        let (cookie, address) = self.begin();
        self.finish(&cookie, &address, person)
    }

    fn account(&self, signed_in: &Answer) -> Value {
        assert_eq!(signed_in.status, 200, "{signed_in:?}");
        let cookie = set_cookie(signed_in, "jackfield").expect("a session");
        assert!(cookie.contains("SameSite=Strict"), "{cookie}");
        self.get("/api/v1/account", &value(&cookie)).expect(200)
    }
}

fn set_cookie(answer: &Answer, name: &str) -> Option<String> {
    let set = answer.headers.iter().filter(|(header, _)| header == "set-cookie");
    let mut set = set.map(|(_, cookie)| cookie.clone());
    set.find(|cookie| cookie.starts_with(&format!("{name}=")) && !cookie.contains("Max-Age=0"))
}

fn value(cookie: &str) -> String {
    cookie.split(';').next().expect("a value").to_owned()
}

#[test]
fn a_person_signs_in_with_the_role_that_a_claim_gives() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let world = World::start(method);
        let page = world.get("/sign-in", "");
        assert!(page.body.contains("/sign-in/oidc"), "the page does not offer it: {page:?}");
        let signed_in = world.sign_in("ann");
        assert!(signed_in.body.contains("url=/api/v1/account"), "{signed_in:?}");
        let account = world.account(&signed_in);
        assert_eq!(
            (&account["name"], &account["role"]),
            (&json!("oidc:ann@example.com"), &json!("admin"))
        );
        assert_eq!(world.account(&world.sign_in("otto"))["role"], "operator");
        let audit = world.host.admin().get("/audit?account=oidc:ann@example.com").expect(200);
        assert_eq!(audit["entries"][0]["action"], "session.begin", "{audit}");
    }
}

#[test]
fn a_person_without_a_listed_group_is_refused() {
    let world = World::start("client_secret_basic");
    let refused = world.sign_in("nora");
    assert!(refused.status == 403 && refused.body.contains("nora@example.com"), "{refused:?}");
    assert_eq!(set_cookie(&refused, "jackfield"), None);
}

#[test]
fn an_answer_of_the_provider_is_valid_once_and_in_one_browser() {
    let world = World::start("client_secret_basic");
    let (cookie, address) = world.begin();
    let (other_cookie, other_address) = world.begin();
    let refused = world.finish(&other_cookie, &address, "ann");
    assert_eq!((refused.status, set_cookie(&refused, "jackfield")), (401, None), "{refused:?}");
    assert_eq!(world.finish("", &other_address, "ann").status, 401);

    let back = world.provider.sign_in(&address, "ann");
    let path = back.strip_prefix(SERVER).expect("an address of the server");
    assert_eq!(world.get(path, &cookie).status, 200);
    let again = world.get(path, &cookie);
    assert!(again.status >= 400 && set_cookie(&again, "jackfield").is_none(), "{again:?}");
    let of_other_issuer = path.replace("&iss=", "&iss=https%3A%2F%2Fevil.example&x=");
    assert_eq!(world.get(&of_other_issuer, &cookie).status, 401);
}

#[test]
fn a_token_for_another_sign_in_or_code_verifier_is_refused() {
    let world = World::start("client_secret_basic");
    for parameter in ["nonce", "code_challenge"] {
        let (cookie, address) = world.begin();
        let (before, after) = address.split_once(&format!("&{parameter}=")).expect("it is sent");
        let rest = after.split_once('&').map_or(String::new(), |(_, rest)| format!("&{rest}"));
        let changed = format!("{before}&{parameter}={}{rest}", "A".repeat(43));
        let refused = world.finish(&cookie, &changed, "ann");
        let session = set_cookie(&refused, "jackfield");
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
    // The key is public, as the key of a provider is.
    let keys = json!({"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]});
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "k"}),
        json!({"alg": "RS256", "kid": "k"}),
        json!({"alg": "RS256", "kid": "unknown"}),
    ] {
        let begun = {
            let metadata = metadata.to_string();
            provider.set_script(move |_| Reply::json(200, &metadata));
            host.anonymous().get("/sign-in/oidc")
        };
        let address = begun.header("location").expect("an address").to_owned();
        let parameter = |name: &str| {
            let (_, rest) = address.split_once(&format!("&{name}=")).expect("it is sent");
            rest.split('&').next().expect("a value").to_owned()
        };
        let claims = json!({
            "iss": issuer, "aud": "jackfield", "sub": "eve", "exp": 9_999_999_999_u64,
            "nonce": parameter("nonce"), "groups": ["jackfield-admins"],
        });
        let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let token = format!("{}.{}.{}", part(&header), part(&claims), part(&json!("signature")));
        let (answer, keys) = (json!({"id_token": token}).to_string(), keys.to_string());
        provider.set_script(move |exchange| {
            let is_token = exchange.request.target.starts_with("/token");
            Reply::json(200, if is_token { &answer } else { &keys })
        });
        let cookie = value(&set_cookie(&begun, "jackfield-login").expect("a cookie"));
        let path = format!("/sign-in/oidc/callback?code=c&state={}", parameter("state"));
        let client = Client::new(host.url(), &[("cookie", &cookie)]);
        let refused = client.get(&path);
        let session = set_cookie(&refused, "jackfield");
        assert!(refused.status == 401 && session.is_none(), "{header}: {refused:?}");
    }
}

#[test]
fn without_a_provider_there_is_no_such_page() {
    let host = Setup::new().start();
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=c&state=s"] {
        host.anonymous().get(path).assert_problem(404, "not-found");
    }
    assert!(!host.anonymous().get("/sign-in").body.contains("oidc"));
}

#[test]
fn strangers_share_one_request_to_a_slow_provider_and_read_nothing_of_its_answer() {
    use jackfield_tests::{Reply, ScriptedServer};
    let provider = ScriptedServer::start(|_| Reply::new(500, "words of the intranet"));
    let config = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"jackfield\"\nadmins = [\"jackfield-admins\"]",
        provider.url()
    );
    let host = Setup::new().config(&config).start();
    let gate = provider.hold_requests(|_| true);
    let begin = || host.anonymous().get("/sign-in/oidc");
    let answers = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
        gate.await_held(1);
        gate.open();
        waiting.into_iter().map(|it| it.join().expect("an answer")).collect::<Vec<_>>()
    });
    let port = provider.address().port().to_string();
    for refused in answers.into_iter().chain([begin()]) {
        assert_eq!(refused.status, 502, "{refused:?}");
        assert!(refused.body.contains("ask an admin"), "{refused:?}");
        assert!(!refused.body.contains("intranet") && !refused.body.contains(&port), "{refused:?}");
    }
    assert_eq!(provider.requests().len(), 1, "one for all, and none soon after the failure");
    jackfield_tests::wait_for("the reason in the log", 10, || {
        host.output().contains("words of the intranet").then_some(())
    });
}
