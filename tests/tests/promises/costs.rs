//! The costs of events, as counts that do not depend on the speed of the machine. If a change needs
//! a higher count, the commit of this change raises the count here.

use std::fs;

use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test};
use serde_json::json;

/// The number of requests whose cost is measured.
const REQUESTS: usize = 50;
/// Allocations of a create without a write, with its event. A tenth more than were counted.
const ALLOCATIONS_OF_A_CREATE: usize = 234;
/// The same for a repeat.
const ALLOCATIONS_OF_A_REPEAT: usize = 86;
/// Instructions of a create without a write, in the debug build. A tenth more than were counted.
const INSTRUCTIONS_OF_A_CREATE: u64 = 2_615_000;
/// The same for a repeat.
const INSTRUCTIONS_OF_A_REPEAT: u64 = 685_000;
/// The same for a count of a project for which the guest runs.
const INSTRUCTIONS_OF_A_COUNT: u64 = 1_455_000;
/// Bytes that `memcpy` and its relatives copy for a create without a write, in the debug build. A
/// tenth more than were counted.
const BYTES_COPIED_BY_A_CREATE: u64 = 812_000;
/// The same for a repeat.
const BYTES_COPIED_BY_A_REPEAT: u64 = 243_000;
/// How often threads wait for each other, or for the next request, in 100 creates that follow each
/// other on one connection. A third more than the most on a busy machine.
const WAITS_OF_100_CREATES: usize = 1_600;
/// The same for repeats.
const WAITS_OF_100_REPEATS: usize = 430;

/// Records these system calls of a server while it answers these requests and stops: one line for
/// each, with the file that it uses.
fn system_calls(calls: &str, requests: impl Fn(&TestHost, &Connection)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace").display().to_string();
    let filter = format!("trace={calls}");
    let strace = ["strace", "-D", "-f", "-y", "-e", &filter, "-o", &trace];
    let setup = Setup::new().run_under(&strace);
    let (mut host, connection) = setup.start_with("instant", json!({}));
    requests(&host, &connection);
    assert!(host.stop().success());
    let trace = fs::read_to_string(&trace).expect("the file of strace");
    trace.lines().map(str::to_owned).collect()
}

/// Counts how often a server syncs the write-ahead log of its database while it answers these
/// requests and stops.
fn syncs(requests: impl Fn(&TestHost, &Connection)) -> usize {
    let calls = system_calls("fdatasync,fsync", requests);
    calls.iter().filter(|call| call.contains("-wal>")).count()
}

/// Counts the allocations of a server while it answers these requests and stops, as its allocator
/// reports them.
fn allocations(requests: impl Fn(&TestHost, &Connection)) -> usize {
    let report = "stats_print:true,stats_print_opts:gdablx";
    let setup = Setup::new().env("_RJEM_MALLOC_CONF", report);
    let (mut host, connection) = setup.start_with("instant", json!({}));
    requests(&host, &connection);
    assert!(host.stop().success());
    let output = host.output();
    // The columns: bytes, fills of the caches, frees of these, and then the requests, with rates.
    let total = output.lines().find_map(|line| line.trim_start().strip_prefix("total:"));
    let total = total.unwrap_or_else(|| panic!("no report of the allocator:\n{output}"));
    let count = total.split_whitespace().nth(5).expect("a sixth column");
    count.parse().expect("a number")
}

/// Runs a server with a tool of valgrind from its start to its end, with these requests, and
/// returns what the tool printed. Valgrind cannot run the server with its pool, and does not know
/// each instruction of new processors.
fn under_valgrind(tool: &[&str], requests: impl Fn(&TestHost, &Connection)) -> String {
    let limited = ["prlimit", "--as=25769803776"];
    let setup = Setup::new().config("compile_for = \"any-cpu\"").run_under(&limited);
    // The compiler is a child process with limits in which valgrind does not start, so the
    // connector is compiled before.
    let (mut host, connection) = setup.start_with("instant", json!({}));
    assert!(host.stop().success());
    host.restart_under(&[&limited[..], &["valgrind"], tool].concat());
    host.await_connector("instant", "ready", None);
    requests(&host, &connection);
    assert!(host.stop().success());
    host.output()
}

/// Counts the instructions of a server.
fn instructions(requests: impl Fn(&TestHost, &Connection)) -> u64 {
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = under_valgrind(&tool, requests);
    let count = output.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.unwrap_or_else(|| panic!("no count of Callgrind:\n{output}"));
    count.trim().parse().expect("a number")
}

/// Counts the bytes that a server copies with `memcpy`, `memmove` and their relatives.
fn copied_bytes(requests: impl Fn(&TestHost, &Connection)) -> u64 {
    let tool = ["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"];
    let output = under_valgrind(&tool, requests);
    let total = output.lines().find_map(|line| line.split_once("Total: "));
    let (_, total) = total.unwrap_or_else(|| panic!("no total of DHAT:\n{output}"));
    let bytes = total.trim().split(' ').next().expect("a number").replace(',', "");
    bytes.parse().expect("a number")
}

fn create(host: &TestHost, connection: &Connection) -> Answer {
    let answer = host.create(connection, &failed_test());
    answer.assert_status(200);
    answer
}

#[test]
fn a_create_without_a_write_syncs_the_database_once_and_a_repeat_never() {
    let one = syncs(|host, connection| drop(create(host, connection)));
    let creates = syncs(|host, connection| {
        for _ in 0..=REQUESTS {
            create(host, connection);
        }
    });
    assert_eq!(
        creates - one,
        REQUESTS,
        "a create must sync only its outcome, not its claim or its event"
    );
    let repeats = syncs(|host, connection| {
        let test = failed_test();
        for _ in 0..=REQUESTS {
            host.create(connection, &test).assert_status(200);
        }
    });
    assert_eq!(repeats, one);
}

#[test]
fn a_create_and_a_repeat_allocate_no_more_than_they_did() {
    let requests = |count: usize, is_repeat: bool| {
        allocations(|host, connection| {
            let same = failed_test();
            for _ in 0..count {
                let test = if is_repeat { &same } else { &failed_test() };
                host.create(connection, test).assert_status(200);
            }
        })
    };
    // The first requests fill caches.
    for (is_repeat, most) in [(false, ALLOCATIONS_OF_A_CREATE), (true, ALLOCATIONS_OF_A_REPEAT)] {
        let each =
            (requests(6 * REQUESTS, is_repeat) - requests(REQUESTS, is_repeat)) / (5 * REQUESTS);
        assert!(each <= most, "{each} allocations instead of {most}; repeat: {is_repeat}");
    }
}

#[test]
fn an_event_takes_no_more_instructions_than_it_did() {
    let run = |creates: usize, repeats: usize, counts: usize| {
        instructions(|host, connection| {
            let (client, same, path) = (host.anonymous(), failed_test(), connection.create_path());
            for _ in 0..=repeats {
                client.json("POST", &path, &same).assert_status(200);
            }
            for _ in 0..creates {
                client.json("POST", &path, &failed_test()).assert_status(200);
            }
            for _ in 0..counts {
                let project = uuid::Uuid::new_v4();
                let kpis =
                    format!("{}/kpis/project/{project}/defectstatus", connection.webhook_path);
                client.get(&kpis).assert_status(200);
            }
        })
    };
    let few = run(10, 10, 10);
    for (event, more, most) in [
        ("create", run(10 + REQUESTS * 2, 10, 10), INSTRUCTIONS_OF_A_CREATE),
        ("repeat", run(10, 10 + REQUESTS * 2, 10), INSTRUCTIONS_OF_A_REPEAT),
        ("count", run(10, 10, 10 + REQUESTS * 2), INSTRUCTIONS_OF_A_COUNT),
    ] {
        let each = (more - few) / (2 * REQUESTS as u64);
        println!("{each} instructions for a {event}");
        assert!(each <= most, "{each} instructions for a {event} instead of {most}");
    }
}

#[test]
fn a_create_and_a_repeat_copy_no_more_bytes_than_they_did() {
    let run = |creates: usize, repeats: usize| {
        copied_bytes(|host, connection| {
            let (client, same, path) = (host.anonymous(), failed_test(), connection.create_path());
            for _ in 0..=repeats {
                client.json("POST", &path, &same).assert_status(200);
            }
            for _ in 0..creates {
                client.json("POST", &path, &failed_test()).assert_status(200);
            }
        })
    };
    let few = run(10, 10);
    for (event, more, most) in [
        ("create", run(10 + REQUESTS * 2, 10), BYTES_COPIED_BY_A_CREATE),
        ("repeat", run(10, 10 + REQUESTS * 2), BYTES_COPIED_BY_A_REPEAT),
    ] {
        let each = (more - few) / (2 * REQUESTS as u64);
        println!("{each} bytes copied for a {event}");
        assert!(each <= most, "{each} bytes copied for a {event} instead of {most}");
    }
}

#[test]
fn a_create_asks_the_system_for_no_random_numbers() {
    let count = |creates: usize| {
        let calls = system_calls("getrandom", |host, connection| {
            for _ in 0..creates {
                create(host, connection);
            }
        });
        calls.len()
    };
    // The generator of each thread is seeded now and then.
    let more = count(6 * REQUESTS).saturating_sub(count(REQUESTS));
    assert!(more < REQUESTS, "{more} more for {} creates", 5 * REQUESTS);
}

#[test]
fn the_threads_wait_no_more_often_for_an_event_than_they_did() {
    let (host, connection) = Setup::new().start_with("instant", json!({}));
    let (client, path, same) = (host.anonymous(), connection.create_path(), failed_test());
    client.json("POST", &path, &same).assert_status(200);
    let waits = |is_repeat: bool| {
        let before = host.waits();
        for _ in 0..REQUESTS {
            let test = if is_repeat { &same } else { &failed_test() };
            client.json("POST", &path, test).assert_status(200);
        }
        let waits = usize::try_from(host.waits() - before).expect("a count");
        waits * 100 / REQUESTS
    };
    for (is_repeat, most) in [(false, WAITS_OF_100_CREATES), (true, WAITS_OF_100_REPEATS)] {
        // Other work on the machine only adds to the count.
        let least = (0..10).map(|_| waits(is_repeat)).min().unwrap_or_default();
        assert!(least <= most, "{least} waits instead of {most}; repeat: {is_repeat}");
    }
}
