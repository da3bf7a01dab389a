//! Tests Go's garbage collector in a connector. The test checks the events, because the webhook
//! also answers 200 if a create traps and `find` then finds the defect.

use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_tests::{Reply, ScriptedServer, failed_test};
use serde_json::json;

use super::project::{NAME, Project};

const CREATES: usize = 1_000;
const THREADS: usize = 4;
/// The size of the text in each large answer.
const ANSWER_BYTES: usize = 1 << 20;

/// Go code that reads more than 4 MiB, collects garbage twice, and ends with the text that it
/// replaces.
const GO_CREATE: &str = "\
	for range 4 {
		if _, err := tracker.Request(http.MethodGet, \"/large.json\", jackfield.More{}); err != nil {
			return jackfield.Defect{}, err
		}
	}
	runtime.GC()
	runtime.GC()
	created, err := jackfield.Post";
const GO_IMPORTS: &str = "\t\"runtime\"\n\n\thttp \"wit_component/jackfield_connector_http\"\n";

#[test]
fn a_connector_in_go_survives_large_answers_and_garbage_collections() {
    let project = Project::new("go", &[]);
    project.edit("connector.go", "import (\n", &format!("import (\n{GO_IMPORTS}"));
    project.edit("connector.go", "\tcreated, err := jackfield.Post", GO_CREATE);
    project.build();
    let host = super::start_server_with_connector(&project, &format!("{NAME}.wasm"));
    let large = json!({"text": "ä".repeat(ANSWER_BYTES / 2)}).to_string();
    let created = AtomicU32::new(0);
    let tracker = ScriptedServer::start(move |exchange| {
        if !exchange.request.is_post() {
            return Reply::json(200, &large);
        }
        let id = created.fetch_add(1, Ordering::Relaxed) + 1;
        Reply::json(201, &json!({"issue": {"id": id, "subject": "A test failed"}}).to_string())
    });
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection("qa", NAME, settings, secrets);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..CREATES / THREADS {
                    let answer = host.create(&connection, &failed_test());
                    let event = host.event_of(&answer);
                    assert_eq!(event["outcome"], "created", "{event}");
                }
            });
        }
    });
    assert_eq!(tracker.posts(), CREATES);
}
