//! Puts one server under load with the program wrk. A Lua script builds the requests of wrk.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The number of the core on which the load is generated, unless wrk may use all cores.
pub(crate) const LOAD_GENERATOR_CORE: &str = "1";
/// Number of client connections of most loads.
pub(crate) const CLIENT_CONNECTIONS: usize = 64;

/// The requests that are sent to one server.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The address of the server, `host:port`.
    pub(crate) address: String,
    pub(crate) kind: RequestKind,
    /// The webhook paths of Jackfield's connections, which the requests use in turn. For another
    /// server than Jackfield, the list contains one empty path.
    pub(crate) base_paths: Vec<String>,
}

/// The webhook that a load requests, and whether each request is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Create Defect, each time for a new failed test.
    Create,
    /// Create Defect, always for the same failed test.
    Repeat,
    /// Defect KPIs of a project that no earlier request named.
    NewCount,
    /// Defect KPIs, always of the same project. So Jackfield can answer with cached counts.
    Count,
}

/// What was measured during one load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Number of requests that were answered.
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// Number of failed requests. A request fails if it gets no answer or an error status: from
    /// 400 with wrk, any other than 200 with [`crate::paced`].
    pub(crate) failed: u64,
}

impl Outcome {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Parses the line of a program's output that begins with `RESULT`.
    pub(crate) fn parse(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix("RESULT "))?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [requests, microseconds, p50, p99, p999, failed] = numbers.try_into().ok()?;
        Some(Self {
            requests: requests as u64,
            seconds: microseconds / 1e6,
            p50_ms: p50 / 1e3,
            p99_ms: p99 / 1e3,
            p999_ms: p999 / 1e3,
            failed: failed as u64,
        })
    }

    /// Formats the line that [`Outcome::parse`] parses.
    pub(crate) fn to_line(self) -> String {
        let Self { requests, seconds, p50_ms, p99_ms, p999_ms, failed } = self;
        let [us, p50, p99, p999] =
            [seconds * 1e6, p50_ms * 1e3, p99_ms * 1e3, p999_ms * 1e3].map(f64::round);
        format!("RESULT {requests} {us} {p50} {p99} {p999} {failed}")
    }
}

impl Load {
    /// Sends requests for this time with wrk. Each client connection sends its next request when it
    /// has received an answer.
    ///
    /// # Panics
    /// If wrk fails, a request fails, or no request is answered.
    pub(crate) fn run(&self, connections: usize, time: Duration) -> Outcome {
        let outcome = self.run_allowing_failures(connections, time, Some(LOAD_GENERATOR_CORE));
        assert_eq!(outcome.failed, 0, "requests failed: {outcome:?} of {self:?}");
        assert!(outcome.requests > 0, "no request was answered: {self:?}");
        outcome
    }

    /// Sends requests like [`Self::run`], but counts failed requests instead of panicking. If
    /// `core` is `None`, wrk may use all cores.
    pub(crate) fn run_allowing_failures(
        &self,
        connections: usize,
        time: Duration,
        core: Option<&str>,
    ) -> Outcome {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("load.lua");
        std::fs::write(&script, self.lua_script()).expect("the script is written");
        let mut command = match core {
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", core, "wrk"]);
                taskset
            }
            None => Command::new("wrk"),
        };
        command.args(["--threads", "1", "--connections", &connections.to_string()]);
        command.args(["--timeout", "30s", "--duration", &format!("{}s", time.as_secs().max(1))]);
        command.arg("--script").arg(&script).arg(format!("http://{}", self.address));
        let output = command.output().expect("wrk starts: apt-get install wrk");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        Outcome::parse(&text).unwrap_or_else(|| panic!("wrk failed:\n{text}{errors}"))
    }

    /// Returns the script with which wrk builds the requests of this load.
    fn lua_script(&self) -> String {
        let serial = next_serial();
        let quoted: Vec<_> = self.base_paths.iter().map(|base| format!("\"{base}\"")).collect();
        let (host, bases) = (&self.address, quoted.join(","));
        let request = match self.kind {
            RequestKind::Create | RequestKind::Repeat => CREATE_SCRIPT,
            RequestKind::NewCount | RequestKind::Count => COUNT_SCRIPT,
        };
        let new = matches!(self.kind, RequestKind::Create | RequestKind::NewCount);
        format!(
            "local host, serial, new, bases = \"{host}\", {serial}, {new}, {{{bases}}}\n\
             local n = 0\n{request}{RESULT_SCRIPT}"
        )
    }

    /// Returns the bytes of one request. Two requests are different if their `serial` or their
    /// `number` is different.
    pub(crate) fn request_bytes(&self, serial: u32, number: u64) -> Vec<u8> {
        let (host, base) =
            (&self.address, &self.base_paths[number as usize % self.base_paths.len()]);
        let id = format!("{serial:08x}-0000-4000-8000-{number:012x}");
        let text = match self.kind {
            RequestKind::Create | RequestKind::Repeat => {
                let body = format!(
                    "{{\"testExecutionId\":\"{id}\",\"testCaseId\":\"{id}\",\"variationId\":null,\
                     \"linkToTestCaseLog\":\"https://tm.example/QA/testexecution-results/1/2\"}}"
                );
                format!(
                    "POST {base}/defects HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\
                     \r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            RequestKind::NewCount | RequestKind::Count => format!(
                "GET {base}/api/kpis/project/{id}/defectstatus HTTP/1.1\r\nHost: {host}\r\n\r\n"
            ),
        };
        text.into_bytes()
    }
}

/// Returns another number at each call, so that two loads never name the same new failed test or
/// project.
pub(crate) fn next_serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const CREATE_SCRIPT: &str = r#"
local same = "ffffffff-0000-4000-8000-000000000001"
request = function()
  n = n + 1
  local id = new and string.format("%08x-0000-4000-8000-%012x", serial, n) or same
  local body = '{"testExecutionId":"' .. id .. '","testCaseId":"' .. id ..
    '","variationId":null,"linkToTestCaseLog":"https://tm.example/QA/testexecution-results/1/2"}'
  return "POST " .. bases[n % #bases + 1] .. "/defects HTTP/1.1\r\nHost: " .. host ..
    "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end
"#;

const COUNT_SCRIPT: &str = r#"
local same = "ffffffff-0000-4000-8000-000000000001"
request = function()
  n = n + 1
  local id = new and string.format("%08x-0000-4000-8000-%012x", serial, n) or same
  return "GET " .. bases[n % #bases + 1] .. "/api/kpis/project/" .. id ..
    "/defectstatus HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
end
"#;

/// The Lua function that prints the line that [`Outcome::parse`] parses.
const RESULT_SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_outcome_is_parsed_again() {
        let line = "RESULT 300 1500000 500 1200 7000 2";
        let outcome = Outcome::parse(&format!("Running\n{line}\n")).unwrap();
        assert_eq!(outcome.to_line(), line);
        assert!((outcome.requests_per_second() - 200.0).abs() < 1e-9);
        assert!(Outcome::parse("RESULT 1 2").is_none());
    }

    #[test]
    fn two_loads_create_defects_of_different_failed_tests() {
        let load = Load {
            address: "h:1".to_owned(),
            kind: RequestKind::Create,
            base_paths: vec![String::new()],
        };
        let (one, other) =
            (load.request_bytes(next_serial(), 1), load.request_bytes(next_serial(), 1));
        assert_ne!(one, other);
        let text = String::from_utf8(one).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
