//! The host charges the memory that it uses for a run to this run, before it uses the memory. So
//! during one run, the server's memory grows by at most a little more than the run's memory limit.
//! During several runs, it grows by at most a little more than `memory_bytes_host`.

use jackfield_tests::{
    Answer, Connection, Reply, Response, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// The default of `limits.memory_bytes`, the memory limit of a run.
const RUN_LIMIT: u64 = 128 * MIB;
/// By how many bytes the rise of the server's memory may exceed the limit that a test checks.
const OVERHEAD_MAX: u64 = 32 * MIB;

/// So high that it ends no run of these tests.
const HIGH_CPU_LIMIT: &str = "[limits]\ncpu_ms = 60000\n";

/// Each case names what the guest `hoard` makes the host store, and how many MiB of its own memory
/// the guest fills before that.
const HOARD_CASES: [(&str, u64); 10] = [
    ("answers", 0),
    ("answers", 70),
    ("request", 32),
    ("request", 60),
    ("request", 100),
    ("log", 110),
    ("unsent bodies", 100),
    ("fields", 100),
    ("methods", 60),
    ("prints", 120),
];

/// Creates a connection that uses the guest `hoard`. The guest fills `fill` MiB of its own memory,
/// and then makes the host store `what`.
fn add_hoard_connection(
    host: &TestHost,
    tracker: &ScriptedServer,
    what: &str,
    fill: u64,
    secrets: Value,
) -> Connection {
    let name = format!("{what} {fill} {}", secrets.as_object().map_or(0, |secrets| secrets.len()));
    let fill = (fill * MIB).to_string();
    host.add_connection(
        &name,
        "hoard",
        json!({"url": tracker.url(), "what": what, "fill": fill}),
        secrets,
    )
}

fn repeat_pattern(bytes: u64, pattern: &str) -> Vec<u8> {
    pattern.bytes().cycle().take(bytes as usize).collect()
}

#[test]
fn a_run_stays_within_its_memory_limit_whatever_it_makes_the_host_store() {
    let host = Setup::new().config(HIGH_CPU_LIMIT).guests(["hoard"]).start();
    let tracker =
        ScriptedServer::start(|_| Reply::new(200, repeat_pattern(8 * MIB - 10, "some text, ")));
    host.create(&add_hoard_connection(&host, &tracker, "nothing", 0, json!({})), &failed_test());
    for (what, fill) in HOARD_CASES {
        let connection = add_hoard_connection(&host, &tracker, what, fill, json!({}));
        let attack = || host.create(&connection, &failed_test());
        let (answer, memory_rise) = host.rise_of_peak(attack);
        println!(
            "{what}, {fill} MiB filled: {} MiB, {} {}",
            memory_rise / MIB,
            answer.status,
            answer.body
        );
        assert!([200, 502].contains(&answer.status), "{what}: {answer:?}");
        assert!(
            memory_rise <= RUN_LIMIT + OVERHEAD_MAX,
            "{what}, {fill} MiB filled: memory rose by {} MiB",
            memory_rise / MIB
        );
        wait_for("the memory to be released", 30, || {
            (host.resident_bytes() < RUN_LIMIT).then_some(())
        });
    }
}

/// Each answer of the tracker is compressed and contains the connection's long secret many times.
#[test]
fn thirty_large_answers_are_complete_and_redacted_within_the_memory_limit() {
    let host = Setup::new().config(HIGH_CPU_LIMIT).guests(["hoard"]).start();
    let secret: String = (0..1_000).map(|n| format!("{n:04}")).collect();
    let echo = format!("{} {secret} ", "x".repeat(100_000));
    let body = repeat_pattern(8 * MIB - 10, &echo);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &body).expect("writing to memory does not fail");
    let compressed = encoder.finish().expect("writing to memory does not fail");
    let answer = Response::new(200, compressed).with_header("content-encoding", "gzip");
    let tracker = ScriptedServer::start(move |_| Reply::Answer(answer.clone()));
    host.create(&add_hoard_connection(&host, &tracker, "nothing", 0, json!({})), &failed_test());
    let connection = add_hoard_connection(&host, &tracker, "answers", 0, json!({"key": secret}));
    let (answer, memory_rise) = host.rise_of_peak(|| host.create(&connection, &failed_test()));
    println!("{} MiB, {}", memory_rise / MIB, answer.body);
    let redacted = String::from_utf8_lossy(&body).replace(&secret, "[secret]");
    let expected = format!("30 answers, {} bytes", 30 * redacted.len());
    assert!(answer.expect(200)["description"] == expected.as_str(), "{}", answer.body);
    assert!(memory_rise <= RUN_LIMIT + OVERHEAD_MAX, "memory rose by {} MiB", memory_rise / MIB);
    let files =
        std::fs::read_dir(host.data("spool")).expect("the folder of spooled bodies").count();
    assert_eq!(files, 0, "spooled bodies are visible as files in the folder");
}

#[test]
fn a_full_spool_refuses_further_bodies_and_names_its_limit() {
    let host = Setup::new().config("spool_bytes_max = 67108864").config(HIGH_CPU_LIMIT);
    let mut host = host.guests(["hoard"]).start();
    std::fs::create_dir_all(host.data("spool")).expect("a folder");
    std::fs::write(host.data("spool/left-by-a-crash"), "x").expect("a file");
    host.restart();
    assert!(!host.data("spool/left-by-a-crash").exists(), "the start did not delete the old file");
    host.await_connector("hoard", "ready", None);
    let tracker =
        ScriptedServer::start(|_| Reply::new(200, repeat_pattern(8 * MIB - 10, "some text, ")));
    let connection = add_hoard_connection(&host, &tracker, "answers", 0, json!({}));
    let description = |answer: &Answer| answer.expect(200)["description"].to_string();
    for _ in 0..2 {
        // A run may use a quarter of the spool: 16 MiB. Of its 30 answers, which it requests at the
        // same time, at most two fit. Fewer fit if incomplete answers use a part of the 16 MiB.
        let answer = host.create(&connection, &failed_test());
        assert!(
            ["\"0 a", "\"1 a", "\"2 a"].contains(&&description(&answer)[..4]),
            "{}",
            description(&answer)
        );
        let log = host.run_of(&answer)["log"].to_string();
        assert!(log.contains("`spool_bytes_max` = 67108864"), "{log}");
    }
    tracker.set_script(|_| Reply::new(200, repeat_pattern(MIB, "in memory, ")));
    let answer = host.create(&connection, &failed_test());
    assert!(description(&answer).starts_with("\"30 answers"), "{}", description(&answer));
}

/// Each run stays within its own limit, but all runs together would need more than
/// `memory_bytes_host`.
#[test]
fn all_runs_together_stay_within_memory_bytes_host_and_further_runs_get_503() {
    const HOST_LIMIT: u64 = 256 * MIB;
    let setup =
        Setup::new().config(&format!("memory_bytes_host = {HOST_LIMIT}")).config(HIGH_CPU_LIMIT);
    let host = setup.guests(["hoard", "good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let good = host.add_connection("good", "good", json!({"url": tracker.url()}), json!({}));
    let hoards: Vec<_> = (0..3)
        .map(|n| add_hoard_connection(&host, &tracker, "request", 100 + n, json!({})))
        .collect();
    host.create(&good, &failed_test()).assert_status(200);
    host.create(&hoards[0], &failed_test());
    let gate = tracker.hold_requests(|request| request.body.len() > 1_000);
    let (answers, memory_rise) = host.rise_of_peak(|| {
        let clicks: Vec<_> = hoards
            .iter()
            .flat_map(|connection| (0..3).map(move |_| connection))
            .map(|connection| host.create_in_background(connection, &failed_test()))
            .collect();
        wait_for("the first run to be refused", 60, || {
            clicks.iter().any(jackfield_tests::Click::is_finished).then_some(())
        });
        gate.open();
        clicks.into_iter().map(jackfield_tests::Click::answer).collect::<Vec<Answer>>()
    });
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    println!("{} MiB, {} of {} refused", memory_rise / MIB, refused.len(), answers.len());
    for answer in &refused {
        let detail = answer.problem(503, "overloaded");
        assert!(detail.contains("memory_bytes_host"), "{detail}");
        assert!(answer.header("retry-after").is_some());
    }
    assert!(!refused.is_empty() && refused.len() < answers.len());
    assert!(memory_rise <= HOST_LIMIT + OVERHEAD_MAX, "memory rose by {} MiB", memory_rise / MIB);
    host.create(&good, &failed_test()).assert_status(200);
}

/// The host searches each answer for each secret, in many encodings.
#[test]
fn long_secrets_need_little_memory() {
    let host = Setup::new().config(HIGH_CPU_LIMIT).guests(["hoard"]).start();
    let tracker = ScriptedServer::start(|_| Reply::new(200, "ok"));
    let secret = |n: u32| (n * 10_000..n * 10_000 + 900).map(|n| format!("{n:04}")).collect();
    host.create(&add_hoard_connection(&host, &tracker, "request", 1, json!({})), &failed_test());
    let ((), memory_rise) = host.rise_of_peak(|| {
        for n in 1..6 {
            let secret: String = secret(n);
            let connection = add_hoard_connection(
                &host,
                &tracker,
                "request",
                u64::from(n),
                json!({"key": secret}),
            );
            host.create(&connection, &failed_test()).assert_status(200);
        }
    });
    println!("{} MiB for 5 long secrets", memory_rise / MIB);
    assert!(memory_rise <= OVERHEAD_MAX, "5 long secrets used {} MiB", memory_rise / MIB);
}

#[test]
fn output_in_single_bytes_is_charged_to_its_run_and_truncated() {
    let host = Setup::new().config(HIGH_CPU_LIMIT).guests(["hoard"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let connection = add_hoard_connection(&host, &tracker, "prints", 0, json!({}));
    let (before, answer) = (host.cpu_ms(), host.create(&connection, &failed_test()));
    let spent = host.cpu_ms() - before;
    answer.assert_status(200);
    let run = host.run_of(&answer);
    let charged = run["usage"]["cpu_ms"].as_u64().expect("a number");
    println!("{spent} ms of CPU, {charged} ms charged");
    assert!(
        charged * 10 >= spent * 7,
        "the server used {spent} ms of CPU, but charged {charged} ms"
    );
    let first = run["log"][0]["message"].as_str().expect("a line").len();
    assert!((65_000..=65_536).contains(&first), "{first} bytes of the line are kept");
    assert!(run["log"][1]["message"].as_str().expect("a line").contains("limits.log_bytes"));
}
