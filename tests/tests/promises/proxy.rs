//! Proxy variables: no command sends a token through a proxy, and `ALL_PROXY` does not switch the
//! address rules of the server off.

use jackfield_tests::{Reply, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::json;

/// Each variable that a client may take a proxy from.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];

/// A proxy that answers everything, as one that steals tokens would.
fn proxy() -> ScriptedServer {
    ScriptedServer::start(|_| Reply::json(200, r#"{"connections": []}"#))
}

fn run_with(host: &TestHost, variable: &str, proxy: &ScriptedServer, words: &[&str]) -> bool {
    let mut command = host.cli(words);
    for other in VARIABLES.iter().chain(&["NO_PROXY", "no_proxy"]) {
        command.env_remove(other);
    }
    command.env(variable, proxy.url()).output().expect("the binary starts").status.success()
}

#[test]
fn no_command_sends_a_token_through_a_proxy() {
    let (host, proxy) = (Setup::new().guests(["instant"]).start(), proxy());
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    let webhook = format!("{}{}", host.url(), connection.webhook_path);
    let elsewhere = "jackfield.invalid/hooks/t0ken";
    for variable in VARIABLES {
        for words in [
            ["connections", "list"].as_slice(),
            &["trigger", "create-defect", "--url", &webhook],
            &["trigger", "kpis", "--connection", "qa"],
            &["doctor"],
        ] {
            let succeeded = run_with(&host, variable, &proxy, words);
            assert!(succeeded || words == ["doctor"], "{variable} {words:?}");
        }
        for scheme in ["http", "https"] {
            let (server, url) =
                (format!("{scheme}://jackfield.invalid"), format!("{scheme}://{elsewhere}"));
            for words in [
                ["connections", "list", "--server", &server].as_slice(),
                &["trigger", "create-defect", "--url", &url],
            ] {
                assert!(!run_with(&host, variable, &proxy, words), "{variable} {words:?}");
            }
        }
        assert_eq!(proxy.requests().len(), 0, "{variable}: {:?}", proxy.requests());
    }
}

#[test]
fn only_http_proxy_and_https_proxy_are_for_trackers() {
    for (variable, is_used) in [("ALL_PROXY", false), ("all_proxy", false), ("HTTP_PROXY", true)] {
        let proxy = proxy();
        let (host, connection) = Setup::new().env(variable, &proxy.url()).start_with(
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
