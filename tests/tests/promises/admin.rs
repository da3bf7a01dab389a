//! Connections in the admin API. A refusal names each wrong setting and the allowed values. An edit
//! changes only the settings that it contains. A webhook token is rotated with a grace period. No
//! answer contains the value of a connection's secret.

use jackfield_tests::{
    Connection, Guest, Redmine, Reply, ScriptedServer, Setup, TestHost, failed_test, merge,
    unreachable_url, wait_for,
};
use serde_json::{Value, json};

fn start_host() -> TestHost {
    Setup::new().guests(["instant"]).plugin("redmine", &Guest::example("redmine")).start()
}

fn redmine_settings() -> Value {
    json!({"url": "http://127.0.0.1:9", "project": "qa"})
}

#[test]
fn no_route_of_the_admin_api_is_served_without_the_admin_token() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let mut routes = crate::role_matrix::routes_with_account();
    routes.retain(|(_, path)| path.starts_with("/api/"));
    assert!(routes.len() > 18 && routes.iter().any(|(method, _)| method == "DELETE"), "{routes:?}");
    let unknown_route = [("GET".to_owned(), "/api/v1/nothing".to_owned())];
    for (number, (method, path)) in routes.iter().chain(&unknown_route).enumerate() {
        let method = if method == "ANY" { "POST" } else { method };
        let path = path.replace("{id}", &connection.id).replace(['{', '}', '*'], "");
        for token in ["", "Bearer ", "Bearer wrong", "Basic dGVzdA=="] {
            // Each route has a client address of its own, because too many wrong tokens from one
            // address lead to 429.
            let client = format!("203.0.113.{number}");
            let headers = [("authorization", token), ("x-forwarded-for", client.as_str())];
            let answer = host.anonymous().send(method, &path, &headers, b"{}");
            answer.assert_problem(401, "unauthorized");
        }
    }
    assert_eq!(
        host.connection("qa")["paused"],
        false,
        "a request without the token paused the connection"
    );
    assert_eq!(host.anonymous().get("/healthz").status, 200);
}

#[test]
fn failed_logins_are_logged_and_rate_limited_by_address() {
    let host = Setup::new().config("trusted_proxies = [\"127.0.0.1\"]").start();
    let login = |client: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", client)];
        host.anonymous().send("GET", "/api/v1/connections", &headers, b"")
    };
    let answers: Vec<_> = (0..40).map(|n| login("203.0.113.9", &format!("guess-{n}"))).collect();
    assert!(answers[..20].iter().all(|answer| answer.status == 401), "{answers:?}");
    let refused = answers.last().expect("an answer");
    refused.assert_problem(429, "rate-limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(
        login("203.0.113.9", host.admin_token()).status,
        429,
        "the right token was accepted although its address is limited"
    );
    assert_eq!(login("203.0.113.10", host.admin_token()).status, 200);
    assert!(host.output().contains("203.0.113.9"), "{}", host.output());
    assert!(!host.output().contains("guess-"), "{}", host.output());
}

#[test]
fn a_connection_is_created_shown_edited_and_deleted() {
    let host = start_host();
    let admin = host.admin();
    let body = json!({"name": "qa", "connector": "redmine", "settings": redmine_settings(),
        "secrets": {"api-key": "k3y-of-the-tracker"}});
    let created = admin.json("POST", "/connections", &body).expect(201);
    let connection = Connection::from_json(&created);
    let id = &connection.id;
    let token = connection.webhook_path.trim_start_matches("/hooks/");
    assert!(token.len() >= 43, "the token has fewer than 256 bits: {token}");

    let shown = admin.get(&format!("/connections/{id}"));
    assert!(!shown.body.contains("k3y-of-the-tracker") && !shown.body.contains(token), "{shown:?}");
    let shown = shown.expect(200);
    assert_eq!(shown["secrets_set"], json!(["api-key"]));
    assert!(
        shown.to_string().contains(&token[token.len() - 4..]),
        "the last four characters of the token are not shown: {shown}"
    );
    assert_eq!(shown["settings"]["project"], "qa");

    let edit = json!({"settings": {"priority": "High"}});
    let edited = admin.json("PATCH", &format!("/connections/{id}"), &edit).expect(200);
    assert_eq!(
        edited["settings"]["project"], "qa",
        "the edit changed a setting that it does not contain"
    );
    assert_eq!(edited["settings"]["priority"], "High");
    assert_eq!(
        edited["secrets_set"],
        json!(["api-key"]),
        "the edit removed a secret that it does not contain"
    );
    let edit = json!({"settings": {"priority": null}});
    let edited = admin.json("PATCH", &format!("/connections/{id}"), &edit).expect(200);
    assert_eq!(
        edited["settings"].get("priority"),
        None,
        "the value null did not remove the setting"
    );

    let name_in_use = admin.json("POST", "/connections", &body);
    assert!(
        [409, 422].contains(&name_in_use.status),
        "a second connection with the same name was not refused: {name_in_use:?}"
    );
    assert_eq!(
        admin.get("/connections").expect(200)["connections"].as_array().map(Vec::len),
        Some(1)
    );
    let deleted = admin.send("DELETE", &format!("/connections/{id}"), &[], b"");
    assert!([200, 204].contains(&deleted.status), "{deleted:?}");
    admin.get(&format!("/connections/{id}")).assert_problem(404, "not-found");
    host.create(&connection, &failed_test()).assert_problem(404, "not-found");
}

#[test]
fn a_refusal_names_each_wrong_missing_and_unknown_setting_and_what_is_allowed() {
    let host = start_host();
    let refusal_of = |settings: Value, secrets: Value| {
        let body =
            json!({"name": "x", "connector": "redmine", "settings": settings, "secrets": secrets});
        let answer = host.admin().json("POST", "/connections", &body);
        answer.assert_problem(422, "invalid-values");
        answer.body
    };
    let body = refusal_of(
        json!({"url": 7, "colour": "blue", "critical-priorities": {"a": 1}}),
        json!({"password": "x"}),
    );
    for name in ["url", "project", "colour", "critical-priorities", "password", "api-key"] {
        assert!(body.contains(name), "the refusal does not contain `{name}`: {body}");
    }
    for (url, why) in [("ftp://a", "http"), ("http://u:p@a", "password"), ("nonsense", "http")] {
        let mut settings = redmine_settings();
        settings["url"] = json!(url);
        let body = refusal_of(settings, json!({"api-key": "any-k3y"}));
        assert!(body.contains("url") && body.contains(why), "{url}: {body}");
    }
    let body = refusal_of(
        json!({"url": "http://127.0.0.1:9", "project": "NO SPACES"}),
        json!({"api-key": "any-k3y"}),
    );
    assert!(
        body.contains("project") && body.contains("a-z"),
        "the message does not contain the pattern: {body}"
    );
    let mut settings = redmine_settings();
    settings["api-key"] = json!("k3y-in-the-wrong-place");
    let body = refusal_of(settings, json!({}));
    assert!(body.contains("api-key") && !body.contains("k3y-in"), "{body}");
    assert_eq!(host.admin().get("/connections").expect(200)["connections"], json!([]));
}

#[test]
fn each_invalid_request_to_the_admin_api_is_answered_with_its_problem_code() {
    let host = start_host();
    let admin = host.admin();
    for body in ["", "{", "[]", "null", "{\"name\":7}", "{\"name\":\"x\"}", &"[".repeat(20_000)] {
        let answer = admin.send(
            "POST",
            "/connections",
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        assert!([400, 422].contains(&answer.status), "{body:.40}: {answer:?}");
        let code = if answer.status == 400 { "bad-request" } else { "invalid-values" };
        answer.assert_problem(answer.status, code);
    }
    let unknown = json!({"name": "x", "connector": "nowhere", "settings": {}, "secrets": {}});
    let answer = admin.json("POST", "/connections", &unknown);
    assert!((400..500).contains(&answer.status) && answer.body.contains("nowhere"), "{answer:?}");
    let id = uuid::Uuid::new_v4();
    for (method, path) in [
        ("GET", format!("/connections/{id}")),
        ("PATCH", format!("/connections/{id}")),
        ("DELETE", format!("/connections/{id}")),
        ("POST", format!("/connections/{id}/pause")),
        ("POST", format!("/connections/{id}/try")),
        ("GET", "/connectors/nowhere".to_owned()),
        ("GET", format!("/events/{id}")),
        ("GET", format!("/defects/{id}")),
        ("GET", "/connections/no-uuid".to_owned()),
        ("GET", "/nothing".to_owned()),
    ] {
        admin.json(method, &path, &json!({})).assert_problem(404, "not-found");
    }
    assert_eq!(admin.send("PUT", "/connections", &[], b"").status, 405);
}

#[test]
fn a_webhook_token_is_rotated_with_a_grace_period() {
    let host = start_host();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let rotate = |grace_s: u32| {
        let path = format!("/connections/{}/rotate-token", connection.id);
        let rotated = host.admin().json("POST", &path, &json!({"grace_s": grace_s})).expect(200);
        Connection::from_json(&rotated)
    };
    let second = rotate(3_600);
    assert_ne!(second.webhook_path, connection.webhook_path);
    host.create(&connection, &failed_test()).assert_status(200);
    host.create(&second, &failed_test()).assert_status(200);
    let third = rotate(1);
    host.create(&second, &failed_test()).assert_status(200);
    wait_for("the grace period to end", 10, || {
        (host.create(&second, &failed_test()).status == 404).then_some(())
    });
    let second = third;
    let third = rotate(0);
    wait_for("the old token to expire", 10, || {
        (host.create(&second, &failed_test()).status == 404).then_some(())
    });
    host.create(&third, &failed_test()).assert_status(200);
}

#[test]
fn the_report_of_a_try_names_the_step_that_failed() {
    let (host, redmine) = (start_host(), Redmine::shared());
    let project = redmine.project();
    let try_connection = |name: &str, settings: Value, key: &str| {
        let connection = host.add_connection(name, "redmine", settings, json!({"api-key": key}));
        let path = format!("/connections/{}/try", connection.id);
        host.admin().send("POST", &path, &[], b"").expect(200)
    };
    let failed_step = |report: &Value| {
        let steps = report["steps"].as_array().expect("steps").clone();
        let failed = steps.into_iter().find(|step| !step["error"].is_null());
        failed.map(|step| step["name"].as_str().expect("a name").to_owned())
    };
    let good = try_connection("good", project.settings(&redmine.url), &redmine.key);
    assert_eq!(failed_step(&good), None, "{good}");
    assert!(
        good["reached"].as_str().is_some_and(|line| line.contains("admin")),
        "the report does not name the tracker's user: {good}"
    );

    let refused = try_connection("closed", project.settings(&unreachable_url()), "any-k3y");
    assert_eq!(failed_step(&refused).as_deref(), Some("connect"), "{refused}");
    let unknown_name =
        try_connection("name", project.settings("http://no-such-host.invalid"), "any-k3y");
    assert_eq!(failed_step(&unknown_name).as_deref(), Some("dns"), "{unknown_name}");
    let without_tls = ScriptedServer::start(|_| Reply::new(200, ""));
    let tls = try_connection(
        "tls",
        project.settings(&without_tls.url().replace("http:", "https:")),
        "any-k3y",
    );
    assert_eq!(failed_step(&tls).as_deref(), Some("tls"), "{tls}");
    let wrong_key = try_connection("key", project.settings(&redmine.url), "wrong");
    assert_eq!(failed_step(&wrong_key).as_deref(), Some("credentials"), "{wrong_key}");
    let project =
        try_connection("project", json!({"url": redmine.url, "project": "nowhere"}), &redmine.key);
    assert_eq!(failed_step(&project).as_deref(), Some("check"), "{project}");
}

#[test]
fn a_connection_shows_its_last_success_and_its_last_error() {
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let (host, connection) = Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let show = || host.connection(&connection.id);
    host.create(&connection, &failed_test()).assert_status(200);
    wait_for("the success to be shown", 10, || show()["last_success_at"].is_string().then_some(()));
    tracker.set_script(|_| Reply::json(422, "no such field"));
    host.create(&connection, &failed_test()).assert_problem(422, "rejected");
    wait_for("the error to be shown", 10, || {
        show()["last_error"].to_string().contains("no such field").then_some(())
    });
}

/// If a setting is wrong, the connector's error names the setting, so that a form can show the
/// error beside the field of this setting.
#[test]
fn an_error_about_a_setting_names_the_setting_in_problem_run_and_try() {
    let redmine = Redmine::shared();
    let project = redmine.project();
    let host = start_host();
    let settings = merge(project.settings(&redmine.url), json!({"priority": "Nope"}));
    let connection = host.add_connection("qa", "redmine", settings, redmine.secrets());
    let answer = host.create(&connection, &failed_test());
    let run = host.run_of(&answer);
    let detail = answer.problem(422, "rejected");
    assert!(detail.contains(": a setting does not fit: "), "no setting was refused: {detail}");
    let errors = &answer.json()["errors"];
    assert_eq!(errors[0]["name"], "priority", "{errors}");
    assert!(errors[0]["why"].to_string().contains("does not exist"), "{errors}");
    assert_eq!(run["setting"], "priority", "{run}");

    let try_step = || {
        let report = host.admin().json("POST", "/connections/qa/try", &json!({})).expect(200);
        report["steps"].as_array().expect("steps").last().expect("a step").clone()
    };
    let step = try_step();
    assert_eq!((&step["name"], &step["setting"]), (&json!("check"), &json!("priority")));
    let edit = json!({"secrets": {"api-key": "0123456789abcdef0123456789abcdef01234567"}});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let step = try_step();
    assert_eq!((&step["name"], &step["setting"]), (&json!("credentials"), &json!("api-key")));
}
