//! Tests of the code that the other tests share. Another test checks that every test that
//! SECURITY.md names exists.

use std::path::Path;

use jackfield_tests::{Client, Gate, Guest, Redmine, Reply, ScriptedServer, root};
use proc_macro2::{TokenStream, TokenTree};

#[test]
fn redmine_projects_do_not_share_issues() {
    let redmine = Redmine::shared();
    let (project, other_project) = (redmine.project(), redmine.project());
    let issue = project.add(5);
    project.add(1);
    project.close(issue);
    assert_eq!(project.issues().len(), 2);
    assert_eq!(other_project.issues().len(), 0);
    assert_eq!(redmine.client().get("/users/current.json").expect(200)["user"]["login"], "admin");
}

#[test]
fn a_scripted_server_can_forward_reset_and_hold_requests() {
    let server = ScriptedServer::start(|_| Reply::json(201, "{}"));
    let proxy = ScriptedServer::proxy_to(&server.address().to_string());
    // The proxy closes the TCP connection after an answer, so the client must not use it again.
    let client = Client::new(&proxy.url(), &[("connection", "close")]);
    client.send("POST", "/a", &[], b"body").assert_status(201);
    assert_eq!(server.requests()[0].body, b"body");

    proxy.set_script(|exchange| Reply::Reset(exchange.forward()[..10].to_vec()));
    assert!(client.attempt("POST", "/b", &[], b"").is_none());
    assert_eq!((proxy.forwarded(), server.requests().len()), (2, 2));

    let count_requests_while_held = |gate: &Gate| {
        let (client, before) = (client.clone(), server.requests().len());
        let request = std::thread::spawn(move || client.get("/c"));
        gate.await_held(1);
        let count = server.requests().len() - before;
        gate.open();
        assert_eq!(request.join().expect("an answer").status, 201);
        count
    };
    proxy.forward_all();
    assert_eq!(count_requests_while_held(&proxy.hold_requests(|_| true)), 0);
    proxy.forward_all();
    assert_eq!(count_requests_while_held(&proxy.hold_answers(|_| true)), 1);
}

#[test]
fn guests_with_different_build_numbers_differ() {
    let guest = Guest::named("instant");
    assert_ne!(guest.clone().with_build(1).sha256(), guest.clone().with_build(2).sha256());
    assert!(guest.clone().with_core_module("many-memories", 3).bytes.len() > guest.bytes.len());
}

/// SECURITY.md names each file by its path below `tests/tests/promises` or `host/src`.
#[test]
fn each_test_that_security_md_names_exists() {
    let root = root();
    let text = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let mut count = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let last_column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut names = last_column.split('`').skip(1).step_by(2).peekable();
        while let Some(file) = names.next_if(|name| name.ends_with(".rs")) {
            let source =
                read_source(&root, file).unwrap_or_else(|| panic!("no file {file}: {row}"));
            let tests = test_names_in(&source);
            while let Some(name) = names.next_if(|name| !name.ends_with(".rs")) {
                let has_name = |test: &String| match name.strip_suffix('…') {
                    Some(prefix) => test.starts_with(prefix),
                    None => test == name,
                };
                assert!(tests.iter().any(has_name), "no test {name} in {file}: {row}");
                count += 1;
            }
        }
    }
    assert!(count > 20, "SECURITY.md names only {count} tests");
}

/// Returns the names of the functions that run as tests. Such a function has the attribute `test`,
/// and is neither ignored nor in a comment.
fn test_names_in(source: &str) -> Vec<String> {
    fn collect_tests(tokens: TokenStream, tests: &mut Vec<String>) {
        let (mut is_test, mut is_ignored) = (false, false);
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let Some(TokenTree::Group(attribute)) = tokens.next() else { continue };
                    let text = attribute.stream().to_string();
                    let name = text.split(['(', '=']).next().unwrap_or_default().trim().to_owned();
                    is_ignored |= name == "ignore" || (name == "cfg" && !text.contains("test"));
                    is_test |= name == "test" || name.ends_with(":: test");
                }
                TokenTree::Ident(word) if word == "fn" => {
                    if let Some(TokenTree::Ident(name)) = tokens.peek()
                        && is_test
                        && !is_ignored
                    {
                        tests.push(name.to_string());
                    }
                    (is_test, is_ignored) = (false, false);
                }
                TokenTree::Group(group) => collect_tests(group.stream(), tests),
                _ => {}
            }
        }
    }
    let mut tests = Vec::new();
    collect_tests(source.parse().expect("Rust"), &mut tests);
    tests
}

#[test]
fn only_functions_that_run_as_tests_are_counted() {
    let source = r##"
        // #[test] fn commented() {}
        /* #[test] fn commented_too() {} */
        const TEXT: &str = r#"#[test] fn in_a_text() {}"#;
        fn helper() {}
        #[test] #[ignore = "slow"] fn ignored() {}
        #[ignore] #[tokio::test] async fn ignored_too() {}
        #[cfg(test)] mod tests {
            fn helper_too() {}
            #[test]
            #[should_panic]
            fn runs() {}
            #[tokio::test(start_paused = true)]
            async fn runs_too() {}
        }
    "##;
    assert_eq!(test_names_in(source), ["runs", "runs_too"]);
}

fn read_source(root: &Path, file: &str) -> Option<String> {
    let folders = ["tests/tests/promises", "host/src"];
    let mut paths = folders.into_iter().map(|folder| root.join(folder).join(file));
    paths.find_map(|path| std::fs::read_to_string(path).ok())
}
