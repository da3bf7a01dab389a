//! Environment variables may name a proxy. No command sends a token through such a proxy. The
//! server uses the proxies of `HTTP_PROXY` and `HTTPS_PROXY` for trackers, and ignores `ALL_PROXY`.

use jackfield_tests::{Reply, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::json;

/// The environment variables from which an HTTP client may read the URL of a proxy.
const PROXY_VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];

/// Starts a proxy that answers every request itself, as a proxy that steals tokens would.
fn start_proxy() -> ScriptedServer {
    ScriptedServer::start(|_| Reply::json(200, r#"{"connections": []}"#))
}

/// Runs a command with this variable for a proxy, and without any other variable about proxies.
/// Returns whether the command succeeded.
fn run_with_proxy(
    host: &TestHost,
    variable: &str,
    proxy: &ScriptedServer,
    arguments: &[&str],
) -> bool {
    let mut command = host.cli(arguments);
    for other in PROXY_VARIABLES.iter().chain(&["NO_PROXY", "no_proxy"]) {
        command.env_remove(other);
    }
    command.env(variable, proxy.url()).output().expect("the binary starts").status.success()
}

#[test]
fn no_command_sends_a_token_through_a_proxy() {
    let (host, proxy) = (Setup::new().guests(["instant"]).start(), start_proxy());
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let webhook = format!("{}{}", host.url(), connection.webhook_path);
    let other_server = "jackfield.invalid/hooks/t0ken";
    for variable in PROXY_VARIABLES {
        for arguments in [
            ["connections", "list"].as_slice(),
            &["trigger", "create-defect", "--url", &webhook],
            &["trigger", "kpis", "--connection", "qa"],
            &["doctor"],
        ] {
            let succeeded = run_with_proxy(&host, variable, &proxy, arguments);
            assert!(succeeded || arguments == ["doctor"], "{variable} {arguments:?}");
        }
        for scheme in ["http", "https"] {
            let (server, url) =
                (format!("{scheme}://jackfield.invalid"), format!("{scheme}://{other_server}"));
            for arguments in [
                ["connections", "list", "--server", &server].as_slice(),
                &["trigger", "create-defect", "--url", &url],
            ] {
                assert!(
                    !run_with_proxy(&host, variable, &proxy, arguments),
                    "{variable} {arguments:?}"
                );
            }
        }
        assert_eq!(proxy.requests().len(), 0, "{variable}: {:?}", proxy.requests());
    }
}

#[test]
fn the_server_uses_only_http_proxy_and_https_proxy_for_trackers() {
    for (variable, is_used) in [("ALL_PROXY", false), ("all_proxy", false), ("HTTP_PROXY", true)] {
        let proxy = start_proxy();
        let (host, connection) = Setup::new().env(variable, &proxy.url()).start_with_guest(
            "calls",
            json!({"url": "http://tracker.invalid", "target": "http://tracker.invalid/x", "via": "http"}),
        );
        let defect = host.create(&connection, &failed_test()).expect(200);
        let (key, received) = (&defect["id"], proxy.requests().len());
        assert_eq!(
            (key == "200", received == 1),
            (is_used, is_used),
            "{variable}: {key} {received}"
        );
        assert_eq!(host.output().contains("ALL_PROXY is ignored"), !is_used, "{variable}");
    }
}

#[test]
fn a_proxy_receives_its_user_and_password_and_try_names_the_proxy() {
    let proxy = start_proxy();
    let url = format!("http://DOM%5Cuser:p%40ss%23word@{}", proxy.address());
    let settings = json!({"url": "http://tracker.invalid", "target": "http://tracker.invalid/x"});
    let (host, connection) =
        Setup::new().env("HTTP_PROXY", &url).start_with_guest("calls", settings);
    assert_eq!(host.create(&connection, &failed_test()).expect(200)["id"], "200");
    let request = proxy.last_request();
    let credentials = data_encoding::BASE64.encode(b"DOM\\user:p@ss#word");
    assert_eq!(
        request.header("proxy-authorization"),
        Some(format!("Basic {credentials}").as_str())
    );
    let (_, printed) = host.run_cli(&["connections", "try", "qa", "--json"]);
    let expected_note = format!("through the proxy http://{} (HTTP_PROXY)", proxy.address());
    assert!(printed.contains(&expected_note) && !printed.contains("word"), "{printed}");
    // If the proxy refuses the password, the error names the variable of the proxy, and not the
    // tracker.
    proxy.set_script(|_| Reply::json(407, "{}"));
    let defect = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(defect["id"], "unreachable", "{defect}");
    let refused = host.event_of(&host.create(&connection, &failed_test())).to_string();
    assert!(refused.contains("refused the user and password of its variable"), "{refused}");
}

#[test]
fn hosts_in_no_proxy_are_reached_directly_as_with_curl() {
    for (no_proxy, is_used) in [("*.corp.invalid", false), ("corp.invalid:81", true)] {
        let proxy = start_proxy();
        let url = "http://tracker.corp.invalid";
        let settings = json!({"url": url, "target": format!("{url}/x")});
        let setup = Setup::new().env("HTTP_PROXY", &proxy.url()).env("NO_PROXY", no_proxy);
        let (host, connection) = setup.start_with_guest("calls", settings);
        let defect = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(defect["id"] == "200", is_used, "{no_proxy}: {defect}");
    }
}
