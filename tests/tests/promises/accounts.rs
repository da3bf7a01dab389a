//! Accounts. The server shows a named token once and stores only its hash. A browser signs in with
//! a token and gets a session cookie. Scripts of a page cannot read the cookie, and other sites
//! cannot use it. An account that is limited to some connections sees only these connections.

use std::io::{Read as _, Write as _};

use jackfield_tests::{Answer, Client, Setup, TestHost, failed_test, wait_for, with_database};
use serde_json::{Value, json};

/// Returns the answer of the API, and the token.
fn create_token(host: &TestHost, body: &Value) -> (Value, String) {
    let created = host.admin().json("POST", "/tokens", body).expect(201);
    let token = created["token"].as_str().expect("a token").to_owned();
    (created, token)
}

/// A browser that has signed in.
pub(crate) struct Browser {
    host_url: String,
    /// The name and the value of the session cookie.
    cookie: String,
}

impl Browser {
    pub(crate) fn sign_in(host: &TestHost, token: &str) -> Self {
        let signed_in = post_token(host, token, "/", &[]);
        assert_eq!(signed_in.status, 303, "{signed_in:?}");
        let cookie = signed_in.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        Self { host_url: host.url().to_owned(), cookie }
    }

    pub(crate) fn with_server(&self, host: &TestHost) -> Self {
        Self { host_url: host.url().to_owned(), cookie: self.cookie.clone() }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let headers = [&[("cookie", self.cookie.as_str())], headers].concat();
        Client::new(&self.host_url, &[]).send(method, path, &headers, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }
}

/// `next` is the place to which the form asks the server to redirect the browser afterwards.
fn post_token(host: &TestHost, token: &str, next: &str, headers: &[(&str, &str)]) -> Answer {
    let form = format!("token={token}&next={next}");
    let content_type = [("content-type", "application/x-www-form-urlencoded")];
    let headers = [&content_type, headers].concat();
    host.anonymous().send("POST", "/sign-in", &headers, form.as_bytes())
}

#[test]
fn a_named_token_is_shown_once_and_stored_as_a_hash() {
    let host = Setup::new().start();
    let (created, token) = create_token(&host, &json!({"name": "ci", "role": "viewer"}));
    assert!(token.starts_with("jackfield_") && token.len() >= 43 + 10, "{token}");
    assert_eq!(created["created_by"], "admin");
    assert_eq!(host.api_as(&token).get("/connections").status, 200);

    let listed = host.admin().get("/tokens");
    assert!(!listed.body.contains(&token), "{listed:?}");
    let listed = listed.expect(200)["tokens"][0].clone();
    assert_eq!((&listed["name"], &listed["role"]), (&json!("ci"), &json!("viewer")));
    assert_eq!(listed["tail"], token[token.len() - 4..]);
    assert!(listed["last_used_at"].is_string(), "{listed}");
    let stored = std::fs::read(host.data("jackfield.db")).expect("the database");
    let log = std::fs::read(host.data("jackfield.db-wal")).unwrap_or_default();
    let secret = token.trim_start_matches("jackfield_").as_bytes();
    for file in [&stored, &log] {
        assert!(!file.windows(secret.len()).any(|part| part == secret), "the token is stored");
    }

    for (body, name) in [
        (json!({"name": "ci", "role": "admin"}), "conflict"),
        (json!({"name": "admin", "role": "admin"}), "invalid-values"),
        (json!({"name": "proxy:eve", "role": "viewer"}), "invalid-values"),
        (json!({"name": "OIDC:ann@example.com", "role": "viewer"}), "invalid-values"),
        (json!({"name": " ", "role": "admin"}), "invalid-values"),
        (json!({"name": "x", "role": "admin", "expires_in_s": 0}), "invalid-values"),
        (json!({"name": "x", "role": "root"}), "bad-request"),
        (json!({"name": "x", "role": "admin", "connections": ["nowhere"]}), "not-found"),
    ] {
        let refused = host.admin().json("POST", "/tokens", &body);
        refused.assert_problem(refused.status, name);
    }

    host.admin().send("DELETE", "/tokens/ci", &[], b"").assert_status(204);
    host.api_as(&token).get("/connections").assert_problem(401, "unauthorized");
    host.admin().send("DELETE", "/tokens/ci", &[], b"").assert_problem(404, "not-found");
}

#[test]
fn an_expired_named_token_is_refused_and_the_admin_token_stays_valid() {
    let host = Setup::new().start();
    let body = json!({"name": "short", "role": "admin", "expires_in_s": 3600});
    let (_, token) = create_token(&host, &body);
    assert_eq!(host.api_as(&token).get("/tokens").status, 200);
    with_database(&host.data_folder(), |database| {
        database.execute("UPDATE account_tokens SET expires_at = 1", [])
    });
    host.api_as(&token).get("/tokens").assert_problem(401, "unauthorized");
    assert_eq!(host.admin().get("/tokens").status, 200);
}

#[test]
fn a_browser_signs_in_and_out_and_its_cookie_is_protected() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").start();
    let (_, token) = create_token(&host, &json!({"name": "ann", "role": "admin"}));
    let page = host.anonymous().get("/sign-in?next=/api/v1/status");
    assert!(page.status == 200 && page.body.contains("value=\"/api/v1/status\""), "{page:?}");

    let wrong = post_token(&host, "jackfield_wrong", "/", &[]);
    assert!(wrong.status == 401 && wrong.body.contains("not valid"), "{wrong:?}");
    assert!(wrong.header("set-cookie").is_none() && !wrong.body.contains("jackfield_wrong"));

    let signed_in = post_token(&host, &token, "/api/v1/status", &[]);
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/api/v1/status")));
    let cookie = signed_in.header("set-cookie").expect("a cookie");
    for part in ["jackfield=", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "browsers refuse a `Secure` cookie over http: {cookie}");
    let over_https = post_token(
        &host,
        &token,
        "/",
        &[("x-forwarded-for", "203.0.113.1"), ("x-forwarded-proto", "https")],
    );
    let cookie = over_https.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-jackfield=") && cookie.contains("; Secure"), "{cookie}");

    let browser = Browser::sign_in(&host, &token);
    assert_eq!(browser.get("/api/v1/tokens").status, 200);
    let stored = std::fs::read(host.data("jackfield.db-wal")).expect("the log");
    let value = browser.cookie.split_once('=').expect("a value").1.as_bytes();
    assert!(!stored.windows(value.len()).any(|part| part == value), "the cookie is stored");

    let refused = browser.send("POST", "/sign-out", &[], "");
    assert!(refused.status == 403 && refused.body.contains("another site"), "{refused:?}");
    assert_eq!(browser.get("/api/v1/tokens").status, 200, "signed out without a CSRF token");
    let account = browser.get("/api/v1/account").expect(200);
    assert_eq!((&account["name"], &account["role"]), (&json!("ann"), &json!("admin")));
    let csrf = account["csrf"].as_str().expect("a CSRF token");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let signed_out = browser.send("POST", "/sign-out", &form, &format!("csrf={csrf}"));
    assert_eq!((signed_out.status, signed_out.header("location")), (303, Some("/sign-in")));
    let clears_cookie =
        signed_out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0"));
    assert!(clears_cookie, "{signed_out:?}");
    browser.get("/api/v1/tokens").assert_problem(401, "unauthorized");
}

#[test]
fn a_sign_in_redirects_only_to_a_path_of_this_server() {
    let host = Setup::new().start();
    let (_, token) = create_token(&host, &json!({"name": "ann", "role": "viewer"}));
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/.//evil.example/",
        "/a/..//evil.example/",
        "/%5Cevil.example",
        "/%09/evil.example",
        "%2F%0A%2Fevil.example",
        "javascript:alert(1)",
        "",
    ] {
        let signed_in = post_token(&host, &token, next, &[]);
        let location = signed_in.header("location").expect("a location").to_owned();
        let is_own_path = !location.contains("evil") && !location.starts_with("//");
        assert!(location == "/" || is_own_path, "{next} led to {location}");
    }
}

#[test]
fn a_session_ends_when_its_token_is_revoked_or_the_session_expires() {
    let host = Setup::new().start();
    let (_, token) = create_token(&host, &json!({"name": "ann", "role": "admin"}));
    let (first, second) = (Browser::sign_in(&host, &token), Browser::sign_in(&host, &token));
    let by_admin = Browser::sign_in(&host, host.admin_token());
    assert_eq!(first.get("/api/v1/status").status, 200);
    with_database(&host.data_folder(), |database| {
        let end = "UPDATE sessions SET expires_at = 1 WHERE name = 'admin'";
        database.execute(end, [])
    });
    let refused = by_admin.get("/api/v1/status");
    refused.assert_problem(401, "unauthorized");
    let clears_cookie =
        refused.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0"));
    assert!(clears_cookie, "the browser would send the cookie again: {refused:?}");
    host.admin().send("DELETE", "/tokens/ann", &[], b"").assert_status(204);
    for browser in [first, second] {
        browser.get("/api/v1/status").assert_problem(401, "unauthorized");
    }
}

#[test]
fn a_change_of_the_admin_token_ends_every_session() {
    let mut host = Setup::new().start();
    let browser = Browser::sign_in(&host, host.admin_token());
    host.restart();
    let after_restart = Browser { host_url: host.url().to_owned(), cookie: browser.cookie.clone() };
    assert_eq!(after_restart.get("/api/v1/status").status, 200, "a restart ended the session");
    host.set_env("JACKFIELD_ADMIN_TOKEN", "another-admin-token-0123456789");
    host.restart();
    let after_restart = Browser { host_url: host.url().to_owned(), cookie: browser.cookie };
    after_restart.get("/api/v1/status").assert_problem(401, "unauthorized");
}

#[test]
fn wrong_tokens_and_cookies_count_for_the_rate_limit_of_logins() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").start();
    let from = |client: &'static str| [("x-forwarded-for", client)];
    let sign_in_status = |_| post_token(&host, "jackfield_guess", "/", &from("203.0.113.1")).status;
    assert_eq!((0..30).map(sign_in_status).collect::<Vec<_>>()[29], 429);
    let cookie_status = |number: u32| {
        let cookie = format!("jackfield=guess-{number}");
        let headers = [("cookie", cookie.as_str()), ("x-forwarded-for", "203.0.113.2")];
        host.anonymous().send("GET", "/api/v1/status", &headers, b"").status
    };
    assert_eq!((0..30).map(cookie_status).collect::<Vec<_>>()[29], 429);
    assert_eq!(post_token(&host, host.admin_token(), "/", &from("203.0.113.3")).status, 303);
}

#[test]
fn an_account_limited_to_some_connections_sees_only_these() {
    let host = Setup::new().guests(["instant"]).start();
    let own = host.add_connection("own", "instant", json!({}), json!({}));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let body = json!({"name": "team", "role": "viewer", "connections": ["own"]});
    let (created, token) = create_token(&host, &body);
    assert_eq!(created["connections"], json!(["own"]));
    let api = host.api_as(&token);
    let own_event = host.create(&own, &failed_test()).event();
    let other_event = host.create(&other, &failed_test()).event();
    let event_without_connection = host.anonymous().get("/hooks/no-such-token/defects").event();
    for id in [&own_event, &other_event, &event_without_connection] {
        let _ = host.event(id);
    }

    let listed_values = |path: &str, list: &str, member: &str| -> Vec<String> {
        let items = api.get(path).expect(200)[list].as_array().expect("a list").clone();
        items.iter().map(|item| item[member].to_string()).collect()
    };
    assert_eq!(listed_values("/connections", "connections", "name"), ["\"own\""]);
    assert_eq!(listed_values("/events", "events", "id"), [format!("\"{own_event}\"")]);
    assert_eq!(listed_values("/defects", "defects", "connection_name"), ["\"own\""]);
    for path in [
        format!("/events/{other_event}"),
        format!("/events/{event_without_connection}"),
        "/events?connection=other".to_owned(),
        "/defects?connection=other".to_owned(),
        format!("/connections/{}", other.id),
        "/connections/other".to_owned(),
    ] {
        api.get(&path).assert_problem(404, "not-found");
    }
}

#[test]
fn an_operator_sees_the_bodies_of_requests_and_a_viewer_does_not() {
    let host = Setup::new().guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let path = format!("{}/unknown", connection.webhook_path);
    let id = host.anonymous().send("PUT", &path, &[], b"words of the body").event();
    let _ = host.event(&id);
    let shows_bodies = |role: &str| {
        let api = host.api_as(&create_token(&host, &json!({"name": role, "role": role})).1);
        let in_event = api.get(&format!("/events/{id}")).body.contains("words of the body");
        (in_event, api.get("/events").body.contains("words of the body"))
    };
    assert_eq!((shows_bodies("viewer"), shows_bodies("operator")), ((false, false), (true, true)));
}

#[test]
fn tokens_are_created_listed_and_revoked_by_the_cli() {
    let host = Setup::new().guests(["instant"]).start();
    let _ = host.add_connection("qa", "instant", json!({}), json!({}));
    let arguments = ["tokens", "create", "ann", "--role", "operator", "--connection", "qa"];
    let created = host.cli(&arguments).output().expect("the binary starts");
    let token = String::from_utf8_lossy(&created.stdout).trim().to_owned();
    assert!(token.starts_with("jackfield_") && !token.contains(' '), "only the token: {token}");
    let (succeeded, printed) = host.run_cli(&["tokens", "list"]);
    assert!(succeeded && printed.contains("ann") && printed.contains("operator"), "{printed}");
    assert!(printed.contains("qa") && !printed.contains(&token), "{printed}");

    let with_token = |arguments: &[&str]| {
        let output = host.cli(arguments).env("JACKFIELD_ADMIN_TOKEN", &token).output();
        let output = output.expect("the binary starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(with_token(&["connections", "pause", "qa"]).0);
    let (succeeded, printed) = with_token(&["connections", "rotate-token", "qa"]);
    assert!(!succeeded && printed.contains("admin") && printed.contains("operator"), "{printed}");
    assert!(host.run_cli(&["tokens", "revoke", "ann"]).0);
    let (succeeded, printed) = with_token(&["connections", "list"]);
    assert!(!succeeded && printed.contains("refused the token"), "{printed}");
}

/// The settings, except `trusted_proxies`, that let a reverse proxy name the account of a request.
const PROXY_SIGN_IN: &str = "proxy_user_header = \"X-Remote-User\"
    proxy_role_header = \"X-Remote-Role\"
    proxy_secret = \"env:JACKFIELD_SECRET_PROXY\"";
const PROXY_SECRET: &str = "the-secret-of-the-reverse-proxy";
const SECRET_HEADER: &str = "x-jackfield-proxy-secret";

#[test]
fn only_a_trusted_proxy_can_name_the_account() {
    let trusting_config = format!("trusted_proxies = [\"127.0.0.1\"]\n{PROXY_SIGN_IN}");
    let setup = Setup::new().env("JACKFIELD_SECRET_PROXY", PROXY_SECRET);
    let host = setup.clone().config(&trusting_config).guests(["instant"]).start();
    let _ = host.add_connection("qa", "instant", json!({}), json!({}));
    let (proxied, secret) = (("x-forwarded-for", "203.0.113.5"), (SECRET_HEADER, PROXY_SECRET));
    let (user, role) = (("x-remote-user", "ann"), ("x-remote-role", "operator"));
    let get =
        |headers: &[(&str, &str)]| host.anonymous().send("GET", "/api/v1/account", headers, b"");
    let account = get(&[proxied, secret, user, role]).expect(200);
    assert_eq!((&account["name"], &account["role"]), (&json!("proxy:ann"), &json!("operator")));

    get(&[user, role, secret]).assert_problem(401, "unauthorized");
    get(&[proxied, role, secret]).assert_problem(401, "unauthorized");
    get(&[proxied, user, secret]).assert_problem(403, "role-too-low");
    get(&[proxied, user, secret, ("x-remote-role", "root")]).assert_problem(403, "role-too-low");
    let twice = get(&[proxied, secret, user, ("x-remote-user", "eve"), role]);
    twice.assert_problem(400, "bad-request");

    // If the server did not check the secret, any program on this machine could name an account.
    get(&[proxied, user, role]).assert_problem(401, "unauthorized");
    let wrong_secret = (SECRET_HEADER, &PROXY_SECRET[..20]);
    get(&[proxied, wrong_secret, user, role]).assert_problem(401, "unauthorized");
    get(&[proxied, wrong_secret, secret, user, role]).assert_problem(400, "bad-request");
    wait_for("the line in the log", 10, || {
        host.output()
            .contains("x-jackfield-proxy-secret does not contain the value of `proxy_secret`")
            .then_some(())
    });
    assert!(!host.output().contains("the token or the session is not valid"), "{}", host.output());

    let pause = |more: &[(&str, &str)]| {
        let headers = [&[proxied, secret, user, role], more].concat();
        host.anonymous().send("POST", "/api/v1/connections/qa/pause", &headers, b"")
    };
    pause(&[]).assert_problem(403, "cross-site-request");
    let csrf = account["csrf"].as_str().expect("a CSRF token");
    pause(&[("x-csrf-token", csrf)]).assert_status(200);
    let of_other_user = [proxied, secret, ("x-remote-user", "otto"), role, ("x-csrf-token", csrf)];
    let resume = "/api/v1/connections/qa/resume";
    let refused = host.anonymous().send("POST", resume, &of_other_user, b"");
    refused.assert_problem(403, "cross-site-request");

    let distrusting_config = format!("trusted_proxies = [\"192.0.2.1\"]\n{PROXY_SIGN_IN}");
    let mut host = setup.config(&distrusting_config).start();
    let headers = [proxied, secret, user, role];
    let refused = host.anonymous().send("GET", "/api/v1/account", &headers, b"");
    refused.assert_problem(401, "unauthorized");

    host.set_env("JACKFIELD_SECRET_PROXY", "guessable-15-ch");
    let line = host.start_refusal();
    assert!(line.contains("proxy_secret") && line.contains("16 characters"), "{line}");
}

#[test]
fn no_csrf_token_or_stored_hash_confirms_a_guess_of_the_admin_token() {
    use data_encoding::BASE64URL_NOPAD;
    use sha2::{Digest as _, Sha256};
    let config = format!("trusted_proxies = [\"127.0.0.1\"]\n{PROXY_SIGN_IN}");
    let host = Setup::new().env("JACKFIELD_SECRET_PROXY", PROXY_SECRET).config(&config).start();
    let headers = [
        ("x-forwarded-for", "203.0.113.5"),
        (SECRET_HEADER, PROXY_SECRET),
        ("x-remote-user", "eve"),
        ("x-remote-role", "viewer"),
    ];
    let account = host.anonymous().send("GET", "/api/v1/account", &headers, b"").expect(200);
    let csrf = account["csrf"].as_str().expect("a CSRF token");
    let sha256 = |text: String| Sha256::digest(text);
    let guessed = sha256(format!("csrf proxy:eve {}", host.admin_token()));
    assert_ne!(csrf, BASE64URL_NOPAD.encode(&guessed));

    let browser = Browser::sign_in(&host, host.admin_token());
    let cookie = browser.cookie.split_once('=').expect("a value").1;
    let hashes = with_database(&host.data_folder(), |database| {
        let mut select = database.prepare("SELECT hash FROM sessions")?;
        select.query_map([], |row| row.get::<_, Vec<u8>>(0))?.collect::<Result<Vec<_>, _>>()
    });
    assert_eq!(hashes.len(), 1);
    assert_ne!(hashes[0], sha256(format!("{cookie} {}", host.admin_token())).to_vec());
}

#[test]
fn an_account_that_signs_in_often_ends_only_its_own_sessions() {
    let host = Setup::new().start();
    let (_, token) = create_token(&host, &json!({"name": "viewer", "role": "viewer"}));
    let admin = Browser::sign_in(&host, host.admin_token());
    let first = Browser::sign_in(&host, &token);
    let others: Vec<_> = (0..20).map(|_| Browser::sign_in(&host, &token)).collect();
    assert_eq!(
        first.get("/connections").status,
        303,
        "the first of twenty-one sessions still works"
    );
    assert_eq!(others.last().expect("a session").get("/connections").status, 200);
    assert_eq!(admin.get("/connections").status, 200);
}

/// The server refuses a large body of a client without an account before the body arrives, or after
/// a few kilobytes.
#[test]
fn the_body_of_a_request_without_an_account_is_not_read() {
    let host = Setup::new().start();
    let form = format!("token={}", "x".repeat(9_000));
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    let large = host.anonymous().send("POST", "/sign-in", &[content_type], form.as_bytes());
    assert_eq!(large.status, 400, "{large:?}");
    for path in ["/connections/new", "/accounts", "/theme", "/api/v1/connections"] {
        let address = host.url().trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the head is sent");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a time-out");
        let mut first_bytes = [0; 12];
        stream.read_exact(&mut first_bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = &first_bytes[9..];
        assert!(status == b"303" || status == b"401", "{path}: {first_bytes:?}");
    }
}

#[test]
fn a_limited_admin_may_not_use_files_environment_variables_or_private_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("other"), "the secret of another team").expect("a file");
    let roots = format!("secret_file_roots = [{:?}]", folder.path());
    let host = Setup::new().config(&roots).guests(["calls"]).start();
    let secrets = json!({"key-header": "a secret of its own"});
    let url = "https://tracker.example";
    host.add_connection("own", "calls", json!({"url": url, "target": url}), secrets);
    let body = json!({"name": "team", "role": "admin", "connections": ["own"]});
    let (_, token) = create_token(&host, &body);
    let api = host.api_as(&token);
    let file_reference = format!("file:{}", folder.path().join("other").display());
    for edit in [
        json!({"secrets": {"key-header": file_reference}}),
        json!({"secrets": {"key-header": "env:JACKFIELD_SECRET_OTHER"}}),
        json!({"webhook_secret": file_reference, "webhook_auth": {"scheme": "bearer"}}),
        json!({"allow_private": true}),
    ] {
        api.json("PATCH", "/connections/own", &edit).assert_problem(403, "role-too-low");
        host.admin().json("PATCH", "/connections/own", &json!({})).assert_status(200);
    }
    let edit = json!({"secrets": {"key-header": "another secret of its own"}});
    api.json("PATCH", "/connections/own", &edit).assert_status(200);
}
