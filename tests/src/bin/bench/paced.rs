//! Sends requests to a server at a fixed rate, such as half of the server's maximum rate. Measures
//! each latency from the planned time of the request, even if the request is sent later.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::load::{
    CLIENT_CONNECTIONS, LOAD_GENERATOR_CORE, Load, Outcome, RequestKind, next_serial,
};

/// How long before a planned request a client stops sleeping. From then on, the client checks the
/// clock repeatedly, because a timer can be a millisecond late.
const BUSY_WAIT: Duration = Duration::from_millis(2);

/// Sends `rate` requests per second for this time, from a child process. Panics if a request fails.
pub(crate) fn run(load: &Load, rate: f64, time: Duration) -> Outcome {
    let kind = if load.kind == RequestKind::Create { "create" } else { "count" };
    let program = std::env::current_exe().expect("the program knows its path");
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_GENERATOR_CORE]).arg(program).args(["paced", &load.address, kind]);
    command.args([&rate.to_string(), &time.as_secs().to_string(), &next_serial().to_string()]);
    let output = command.args(&load.base_paths).output().expect("the load starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let outcome = Outcome::parse(&text).unwrap_or_else(|| panic!("no outcome:\n{text}{errors}"));
    assert_eq!(outcome.failed, 0, "requests failed: {outcome:?} of {load:?}");
    outcome
}

/// The main function of the child process. The arguments are `ADDRESS KIND RATE SECONDS SERIAL
/// BASE_PATH…`.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [address, kind, rate, seconds, serial, base_paths @ ..] = arguments else {
        return ExitCode::from(2);
    };
    let kind = if kind == "create" { RequestKind::Create } else { RequestKind::NewCount };
    let load = Load { address: address.clone(), kind, base_paths: base_paths.to_vec() };
    let parse = |text: &String| text.parse::<f64>().expect("a number");
    let (rate, seconds, serial) = (parse(rate), parse(seconds), parse(serial) as u32);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let pace = Pace { interval: Duration::from_secs_f64(1.0 / rate), seconds, serial };
    let outcome = runtime.expect("a runtime").block_on(pace.send_all(Arc::new(load)));
    println!("{}", outcome.to_line());
    ExitCode::SUCCESS
}

/// Determines the planned times of the requests.
#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    /// How long requests are sent.
    seconds: f64,
    /// Makes the requests different from those of other loads.
    serial: u32,
}

impl Pace {
    async fn send_all(self, load: Arc<Load>) -> Outcome {
        let (start, next) =
            (Instant::now() + Duration::from_millis(50), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENT_CONNECTIONS).map(|_| {
            let (load, next) = (Arc::clone(&load), Arc::clone(&next));
            tokio::spawn(async move { self.run_client(&load, start, &next).await })
        });
        let clients: Vec<_> = clients.collect();
        let (mut times, mut failed) = (Vec::new(), 0);
        for client in clients {
            match client.await.expect("the task ends") {
                Ok(client_times) => times.extend(client_times),
                Err(_) => failed += 1,
            }
        }
        times.sort();
        let percentile_ms = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            times
                .get(index.min(times.len().saturating_sub(1)))
                .map_or(0.0, |it| it.as_secs_f64() * 1e3)
        };
        let (requests, seconds) = (times.len() as u64, self.seconds);
        let (p50_ms, p99_ms, p999_ms) =
            (percentile_ms(0.5), percentile_ms(0.99), percentile_ms(0.999));
        Outcome { requests, seconds, p50_ms, p99_ms, p999_ms, failed }
    }

    /// Sends requests over one client connection, each at its planned time or later. Returns their
    /// latencies. All clients share `next`, the number of the next request.
    async fn run_client(
        self,
        load: &Load,
        start: Instant,
        next: &AtomicU64,
    ) -> std::io::Result<Vec<Duration>> {
        let mut stream = TcpStream::connect(&load.address).await?;
        stream.set_nodelay(true)?;
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let offset = self.interval.mul_f64(number as f64);
            if offset.as_secs_f64() > self.seconds {
                return Ok(times);
            }
            let planned = start + offset;
            sleep_until(planned - BUSY_WAIT).await;
            while Instant::now() < planned {
                tokio::task::yield_now().await;
            }
            stream.write_all(&load.request_bytes(self.serial, number)).await?;
            read_answer(&mut stream).await?;
            times.push(planned.elapsed());
        }
    }
}

/// Reads one complete answer. An answer with another status than 200 is an error.
async fn read_answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        if !head.starts_with("http/1.1 200") {
            return Err(std::io::Error::other(text));
        }
        if body.len() >= length {
            return Ok(());
        }
    }
}
