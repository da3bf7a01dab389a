//! Puts one server under load: wrk runs on its own core, with a script that varies each request.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The core of the load generator; the servers run on core 0.
pub(crate) const LOAD_CORE: &str = "1";
/// Number of connections for which the goals are defined.
pub(crate) const CONNECTIONS: usize = 64;

/// The requests that are sent to one server.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The address of the server, `host:port`.
    pub(crate) address: String,
    pub(crate) kind: Kind,
    /// The paths below which requests are sent, one after the other; an empty path for a peer.
    pub(crate) bases: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Create Defect, each time for a new failed test.
    Create,
    /// Create Defect, always for the same failed test.
    Repeat,
    /// Defect KPIs of a project that no earlier request named.
    NewCount,
    /// Defect KPIs, always of the same project.
    Count,
}

/// The measured result of a load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// Number of requests that got no answer, or another status than 2xx.
    pub(crate) failed: u64,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Reads the outcome from the line that begins with `RESULT`.
    pub(crate) fn read(output: &str) -> Option<Self> {
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

    /// Formats the line that [`Outcome::read`] reads.
    pub(crate) fn line(&self) -> String {
        let Self { requests, seconds, p50_ms, p99_ms, p999_ms, failed } = self;
        let [us, p50, p99, p999] =
            [seconds * 1e6, p50_ms * 1e3, p99_ms * 1e3, p999_ms * 1e3].map(f64::round);
        format!("RESULT {requests} {us} {p50} {p99} {p999} {failed}")
    }
}

impl Load {
    /// Sends requests for this time, each connection as fast as it gets answers.
    ///
    /// # Panics
    /// If wrk fails, or if a request fails: a figure with failures would mean nothing.
    pub(crate) fn run(&self, connections: usize, time: Duration) -> Outcome {
        let outcome = self.attempt(connections, time, Some(LOAD_CORE));
        assert_eq!(outcome.failed, 0, "requests failed: {outcome:?} of {self:?}");
        assert!(outcome.requests > 0, "no request was answered: {self:?}");
        outcome
    }

    /// Like [`Self::run`], but requests may fail. Without a core, wrk runs on any core.
    pub(crate) fn attempt(
        &self,
        connections: usize,
        time: Duration,
        core: Option<&str>,
    ) -> Outcome {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("load.lua");
        std::fs::write(&script, self.script()).expect("the script is written");
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
        Outcome::read(&text).unwrap_or_else(|| panic!("wrk failed:\n{text}{errors}"))
    }

    /// Returns wrk's script for these requests; each script has its own `serial`.
    fn script(&self) -> String {
        let serial = serial();
        let quoted: Vec<_> = self.bases.iter().map(|base| format!("\"{base}\"")).collect();
        let (host, bases) = (&self.address, quoted.join(","));
        let request = match self.kind {
            Kind::Create | Kind::Repeat => POST,
            Kind::NewCount | Kind::Count => GET,
        };
        let new = matches!(self.kind, Kind::Create | Kind::NewCount);
        format!(
            "local host, serial, new, bases = \"{host}\", {serial}, {new}, {{{bases}}}\n\
             local n = 0\n{request}{DONE}"
        )
    }

    /// Returns one request as bytes. Other requests have another `serial` or `number`.
    pub(crate) fn request(&self, serial: u32, number: u64) -> Vec<u8> {
        let (host, base) = (&self.address, &self.bases[number as usize % self.bases.len()]);
        let id = format!("{serial:08x}-0000-4000-8000-{number:012x}");
        let text = match self.kind {
            Kind::Create | Kind::Repeat => {
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
            Kind::NewCount | Kind::Count => format!(
                "GET {base}/api/kpis/project/{id}/defectstatus HTTP/1.1\r\nHost: {host}\r\n\r\n"
            ),
        };
        text.into_bytes()
    }
}

/// Returns a new number for each load, so that no two loads have requests in common.
pub(crate) fn serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const POST: &str = r#"
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

const GET: &str = r#"
local same = "ffffffff-0000-4000-8000-000000000001"
request = function()
  n = n + 1
  local id = new and string.format("%08x-0000-4000-8000-%012x", serial, n) or same
  return "GET " .. bases[n % #bases + 1] .. "/api/kpis/project/" .. id ..
    "/defectstatus HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
end
"#;

const DONE: &str = r#"
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
    fn an_outcome_survives_its_line() {
        let line = "RESULT 300 1500000 500 1200 7000 2";
        let outcome = Outcome::read(&format!("Running\n{line}\n")).unwrap();
        assert_eq!(outcome.line(), line);
        assert!((outcome.per_second() - 200.0).abs() < 1e-9);
        assert!(Outcome::read("RESULT 1 2").is_none());
    }

    #[test]
    fn each_create_has_a_failed_test_of_its_own() {
        let load =
            Load { address: "h:1".to_owned(), kind: Kind::Create, bases: vec![String::new()] };
        let (one, other) = (load.request(serial(), 1), load.request(serial(), 1));
        assert_ne!(one, other);
        let text = String::from_utf8(one).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
