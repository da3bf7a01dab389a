//! The costs of events, measured as counts that do not depend on the speed of the machine. A change
//! that needs a higher limit raises the limit here in the same commit.

use std::fs;

use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test};
use serde_json::json;

/// The number of requests of one measurement.
const REQUESTS: usize = 50;
// The limits of allocations, instructions and copied bytes are 10 % above the measured numbers.
// Instructions and copied bytes are measured in the debug build. The measured creates write nothing
// to a tracker, and include the storage of their events.

/// The most allocations for a create.
const CREATE_ALLOCATIONS_MAX: usize = 234;
/// The most allocations for a repeat.
const REPEAT_ALLOCATIONS_MAX: usize = 86;
/// The most CPU instructions for a create.
const CREATE_INSTRUCTIONS_MAX: u64 = 2_495_000;
/// The most CPU instructions for a repeat.
const REPEAT_INSTRUCTIONS_MAX: u64 = 685_000;
/// The most CPU instructions for a request for counts, if the guest runs to answer it.
const COUNT_INSTRUCTIONS_MAX: u64 = 1_305_000;
/// The most bytes that `memcpy` and similar functions copy for a create.
const CREATE_BYTES_COPIED_MAX: u64 = 812_000;
/// The most bytes that `memcpy` and similar functions copy for a repeat.
const REPEAT_BYTES_COPIED_MAX: u64 = 243_000;
/// The most waits of threads, for each other or for the next request, in 100 creates that follow
/// each other on one TCP connection. The limit is a third above the highest number on a busy
/// machine.
const CREATE_WAITS_PER_100_MAX: usize = 1_600;
/// The most waits of threads in 100 repeats on one TCP connection, with the same margin.
const REPEAT_WAITS_PER_100_MAX: usize = 430;

/// Checks that an event costs at most `limit` by this measurement. On a busy machine, fewer events
/// share a batch of the store, so each costs more. One of three measurements within the limit is
/// enough: a change of the code costs the same each time.
fn assert_costs(what: &str, limit: u64, measure: impl Fn() -> u64) {
    let mut costs = (0..3).map(|_| measure()).inspect(|cost| println!("{cost} {what}"));
    assert!(costs.any(|cost| cost <= limit), "three times more than {limit} {what}");
}

/// Records these system calls of a server while it answers the requests and stops. Returns one line
/// of strace for each call, with the path of the file that the call uses.
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
fn count_syncs(requests: impl Fn(&TestHost, &Connection)) -> usize {
    let calls = system_calls("fdatasync,fsync", requests);
    calls.iter().filter(|call| call.contains("-wal>")).count()
}

/// Counts the allocations of a server while it answers these requests and stops, as its allocator
/// reports them.
fn count_allocations(requests: impl Fn(&TestHost, &Connection)) -> usize {
    let report = "stats_print:true,stats_print_opts:gdablx";
    let setup = Setup::new().env("_RJEM_MALLOC_CONF", report);
    let (mut host, connection) = setup.start_with("instant", json!({}));
    requests(&host, &connection);
    assert!(host.stop().success());
    let output = host.output();
    // The columns of jemalloc: bytes, `nmalloc` and its rate, `ndalloc` and its rate, `nrequests`.
    let total = output.lines().find_map(|line| line.trim_start().strip_prefix("total:"));
    let total = total.unwrap_or_else(|| panic!("no report of the allocator:\n{output}"));
    let count = total.split_whitespace().nth(5).expect("a sixth column");
    count.parse().expect("a number")
}

/// Runs a server under a tool of valgrind while it answers the requests and stops. Returns what the
/// tool printed. The limit on the address space disables the server's pool, which valgrind cannot
/// run. `compile_for` is `any-cpu`, because valgrind does not support all instructions of new
/// processors.
fn under_valgrind(tool: &[&str], requests: impl Fn(&TestHost, &Connection)) -> String {
    let limited = ["prlimit", "--as=25769803776"];
    let setup = Setup::new().config("compile_for = \"any-cpu\"").run_under(&limited);
    // Valgrind does not start within the limits of the compiler's process, so this first start
    // compiles the connector without valgrind.
    let (mut host, connection) = setup.start_with("instant", json!({}));
    assert!(host.stop().success());
    host.restart_under(&[&limited[..], &["valgrind"], tool].concat());
    host.await_connector("instant", "ready", None);
    requests(&host, &connection);
    assert!(host.stop().success());
    host.output()
}

/// Counts the CPU instructions of a server while it answers the requests and stops.
fn count_instructions(requests: impl Fn(&TestHost, &Connection)) -> u64 {
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = under_valgrind(&tool, requests);
    let count = output.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.unwrap_or_else(|| panic!("no count of Callgrind:\n{output}"));
    count.trim().parse().expect("a number")
}

/// Counts the bytes that a server copies with `memcpy`, `memmove` and similar functions.
fn count_copied_bytes(requests: impl Fn(&TestHost, &Connection)) -> u64 {
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
    let syncs_of_one_create = count_syncs(|host, connection| drop(create(host, connection)));
    let creates = count_syncs(|host, connection| {
        for _ in 0..=REQUESTS {
            create(host, connection);
        }
    });
    assert_eq!(
        creates - syncs_of_one_create,
        REQUESTS,
        "a create must sync only its outcome, not its claim or its event"
    );
    let repeats = count_syncs(|host, connection| {
        let test = failed_test();
        for _ in 0..=REQUESTS {
            host.create(connection, &test).assert_status(200);
        }
    });
    assert_eq!(repeats, syncs_of_one_create);
}

#[test]
fn a_create_and_a_repeat_stay_within_their_limits_of_allocations() {
    let requests = |count: usize, is_repeat: bool| {
        count_allocations(|host, connection| {
            let repeated_test = failed_test();
            for _ in 0..count {
                let test = if is_repeat { &repeated_test } else { &failed_test() };
                host.create(connection, test).assert_status(200);
            }
        })
    };
    // The first requests fill caches, so their allocations are subtracted.
    for (event, is_repeat, limit) in
        [("create", false, CREATE_ALLOCATIONS_MAX), ("repeat", true, REPEAT_ALLOCATIONS_MAX)]
    {
        assert_costs(&format!("allocations for a {event}"), limit as u64, || {
            let more = requests(6 * REQUESTS, is_repeat) - requests(REQUESTS, is_repeat);
            (more / (5 * REQUESTS)) as u64
        });
    }
}

#[test]
fn an_event_stays_within_its_limit_of_instructions() {
    let run = |creates: usize, repeats: usize, counts: usize| {
        count_instructions(|host, connection| {
            let (client, repeated_test, path) =
                (host.anonymous(), failed_test(), connection.create_path());
            for _ in 0..=repeats {
                client.json("POST", &path, &repeated_test).assert_status(200);
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
    let (more, few) = (REQUESTS * 2, run(10, 10, 10));
    for (event, (creates, repeats, counts), limit) in [
        ("create", (more, 0, 0), CREATE_INSTRUCTIONS_MAX),
        ("repeat", (0, more, 0), REPEAT_INSTRUCTIONS_MAX),
        ("count", (0, 0, more), COUNT_INSTRUCTIONS_MAX),
    ] {
        assert_costs(&format!("instructions for a {event}"), limit, || {
            (run(10 + creates, 10 + repeats, 10 + counts) - few) / more as u64
        });
    }
}

#[test]
fn a_create_and_a_repeat_stay_within_their_limits_of_copied_bytes() {
    let run = |creates: usize, repeats: usize| {
        count_copied_bytes(|host, connection| {
            let (client, repeated_test, path) =
                (host.anonymous(), failed_test(), connection.create_path());
            for _ in 0..=repeats {
                client.json("POST", &path, &repeated_test).assert_status(200);
            }
            for _ in 0..creates {
                client.json("POST", &path, &failed_test()).assert_status(200);
            }
        })
    };
    let (more, few) = (REQUESTS * 2, run(10, 10));
    for (event, (creates, repeats), limit) in [
        ("create", (more, 0), CREATE_BYTES_COPIED_MAX),
        ("repeat", (0, more), REPEAT_BYTES_COPIED_MAX),
    ] {
        assert_costs(&format!("bytes copied for a {event}"), limit, || {
            (run(10 + creates, 10 + repeats) - few) / more as u64
        });
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
    // The random number generator of each thread is seeded from time to time.
    let more = count(6 * REQUESTS).saturating_sub(count(REQUESTS));
    assert!(more < REQUESTS, "{more} more for {} creates", 5 * REQUESTS);
}

#[test]
fn an_event_stays_within_its_limit_of_waits_of_threads() {
    let (host, connection) = Setup::new().start_with("instant", json!({}));
    let (client, path, repeated_test) = (host.anonymous(), connection.create_path(), failed_test());
    client.json("POST", &path, &repeated_test).assert_status(200);
    let waits = |is_repeat: bool| {
        let before = host.waits();
        for _ in 0..REQUESTS {
            let test = if is_repeat { &repeated_test } else { &failed_test() };
            client.json("POST", &path, test).assert_status(200);
        }
        let waits = usize::try_from(host.waits() - before).expect("a count");
        waits * 100 / REQUESTS
    };
    for (is_repeat, limit) in [(false, CREATE_WAITS_PER_100_MAX), (true, REPEAT_WAITS_PER_100_MAX)]
    {
        // Other work on the machine only adds waits, so the lowest count is compared.
        let least = (0..10).map(|_| waits(is_repeat)).min().unwrap_or_default();
        assert!(least <= limit, "{least} waits instead of {limit}; repeat: {is_repeat}");
    }
}
