//! The harness keeps its own promises: a Redmine that counts, a peer that breaks on command, guests
//! that differ by their stamp.

use jackfield_tests::{Client, Gate, Guest, Peer, Redmine, Reply, Response, root};

#[test]
fn redmine_is_real_and_projects_are_apart() {
    let redmine = Redmine::shared();
    let (one, other) = (redmine.project(), redmine.project());
    let made = one.add(5);
    one.add(1);
    one.close(made);
    assert_eq!(one.issues().len(), 2);
    assert_eq!(other.issues().len(), 0);
    assert_eq!(redmine.client().get("/users/current.json").expect(200)["user"]["login"], "admin");
}

#[test]
fn a_peer_breaks_where_it_is_told_to() {
    let behind = Peer::start(|_| Reply::Answer(Response::json(201, "{}")));
    let front = Peer::before(&behind.address().to_string());
    let client = Client::new(&front.url(), &[]);
    let _ = client.send("POST", "/a", &[], b"body").expect(201);
    assert_eq!(behind.requests()[0].body, b"body");

    front.script(|exchange| Reply::Reset(exchange.forward()[..10].to_vec()));
    assert!(client.attempt("POST", "/b", &[], b"").is_none());
    assert_eq!((front.forwarded(), behind.requests().len()), (2, 2));

    let gate = Gate::default();
    let held = gate.clone();
    front.script(move |exchange| {
        held.pass();
        exchange.pass()
    });
    let aside = std::thread::spawn(move || client.get("/c"));
    gate.await_held(1);
    assert_eq!(behind.requests().len(), 2);
    gate.open();
    assert_eq!(aside.join().expect("an answer").status, 201);
}

#[test]
fn guests_differ_by_their_stamp() {
    let guest = Guest::named("instant");
    assert_ne!(guest.clone().build(1).sha256(), guest.clone().build(2).sha256());
    assert!(guest.clone().with_core("many-memories", 3).bytes.len() > guest.bytes.len());
}

/// Each test that SECURITY.md names is there, in the file that it says.
#[test]
fn the_table_of_attacks_names_tests_that_exist() {
    let root = root();
    let text = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut words = held_by.split('`').skip(1).step_by(2).peekable();
        while let Some(file) = words.next_if(|word| word.ends_with(".rs")) {
            let inside = file.contains('/');
            let folder = if inside { "host/src" } else { "tests/tests/promises" };
            let source = std::fs::read_to_string(root.join(folder).join(file));
            let source = source.unwrap_or_else(|_| panic!("no file {file}: {row}"));
            while let Some(test) = words.next_if(|word| !word.ends_with(".rs")) {
                let begins = format!("fn {}", test.trim_end_matches('…'));
                assert!(source.contains(&begins), "{file} has no test {test}: {row}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} tests are named");
}
