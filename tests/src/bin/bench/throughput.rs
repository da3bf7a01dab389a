//! Measures the requests per second of Jackfield and of the native handler, in alternating rounds.
//! The measurement `peers` also measures other servers, such as `wasmtime serve` and fastify, in
//! the same rounds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use jackfield_tests::TestHost;

use crate::load::{CLIENT_CONNECTIONS, Load, RequestKind};
use crate::report::{Figure, Unit};
use crate::rounds::{Contender, Effort, Rounds, run_alternating_rounds};
use crate::servers::{Peer, add_connection, read_guest, setup_on_server_core, webhook_load};

// The next constants are the names of the contenders that are Jackfield.
/// Create Defect, with 64 client connections.
const CREATE: &str = "create, durable";
/// Create Defect at a server whose syncs do nothing.
const CREATE_NO_SYNCS: &str = "create, no syncs";
/// Create Defect, with one client connection.
const CREATE_ONE_CLIENT: &str = "create at 1 connection";
/// Create Defect, always for the same failed test.
const REPEAT: &str = "repeat";
/// Defect KPIs that the server answers from its cache.
const KPI_FROM_CACHE: &str = "KPI from cache";
/// Defect KPIs that are not in the cache, so that the guest `instant` runs. It answers at once.
const KPI_INSTANT: &str = "KPI, instant guest";
/// Defect KPIs that are not in the cache, so that the guest `realistic` runs.
const KPI_REALISTIC: &str = "KPI, realistic guest";

/// The size of a page in the write-ahead log of the database.
const PAGE_BYTES: usize = 4_096;
/// How many pages are written and synced to measure the time of a sync.
const MEASURED_SYNCS: usize = 101;

/// The names of the chart's bars that show Jackfield.
pub(crate) const JACKFIELD_BARS: [&str; 6] =
    [CREATE, CREATE_NO_SYNCS, REPEAT, KPI_FROM_CACHE, KPI_INSTANT, KPI_REALISTIC];

/// The peers. The first name is the contender for Create Defect, if the peer gets creates; the
/// second name is the contender for Defect KPIs.
type Peers = Vec<(Option<&'static str>, &'static str, Peer)>;

pub(crate) fn run(effort: Effort, with_peers: bool) -> Vec<Figure> {
    let measurement = if with_peers { "peers" } else { "throughput" };
    let servers = MeasuredServers::start(with_peers);
    let mut syncs = Vec::new();
    let rounds = run_alternating_rounds(&servers.contenders(), effort, || {
        syncs.push(measure_sync_ms(servers.durable.folder()));
    });
    let mut figures = jackfield_figures(measurement, &rounds, &syncs);
    figures.extend(peer_figures(measurement, &rounds, &servers.peers));
    let names = servers.contenders().into_iter().map(|contender| contender.name);
    figures.extend(names.map(|name| rounds.rate_figure(measurement, name)));
    figures
}

struct MeasuredServers {
    native: Peer,
    /// A Jackfield server with its normal syncs.
    durable: TestHost,
    /// A Jackfield server whose syncs do nothing. It runs until this field is dropped.
    _no_syncs: TestHost,
    /// The loads of the Jackfield servers, each with the name of a contender.
    jackfield_loads: Vec<(&'static str, Load)>,
    peers: Peers,
}

impl MeasuredServers {
    fn start(with_peers: bool) -> Self {
        let guests = ["instant", "realistic"];
        let start = |setup: jackfield_tests::Setup| {
            guests
                .into_iter()
                .fold(setup, |setup, name| setup.plugin(name, &read_guest(name)))
                .start()
        };
        let durable = start(setup_on_server_core());
        let no_syncs = start(setup_on_server_core().env("LD_PRELOAD", &eatmydata_path()));
        let create = [add_connection(&durable, "instant", "instant")];
        let realistic = [add_connection(&durable, "realistic", "realistic")];
        let create_no_syncs = [add_connection(&no_syncs, "instant", "instant")];
        let jackfield_loads = vec![
            (CREATE, webhook_load(&durable, &create, RequestKind::Create)),
            (CREATE_NO_SYNCS, webhook_load(&no_syncs, &create_no_syncs, RequestKind::Create)),
            (REPEAT, webhook_load(&durable, &create, RequestKind::Repeat)),
            (KPI_FROM_CACHE, webhook_load(&durable, &create, RequestKind::Count)),
            (KPI_INSTANT, webhook_load(&durable, &create, RequestKind::NewCount)),
            (KPI_REALISTIC, webhook_load(&durable, &realistic, RequestKind::NewCount)),
        ];
        let peers = if with_peers { start_peers() } else { Vec::new() };
        Self { native: Peer::native(), durable, _no_syncs: no_syncs, jackfield_loads, peers }
    }

    fn contenders(&self) -> Vec<Contender> {
        let contender = |connections| move |(name, load)| Contender { name, load, connections };
        let native = [
            ("native", self.native.load(RequestKind::Create)),
            ("native KPI", self.native.load(RequestKind::NewCount)),
        ];
        let jackfield = self.jackfield_loads.iter().cloned();
        let peers = self.peers.iter().flat_map(|(create, count, peer)| {
            let create = create.map(|name| (name, peer.load(RequestKind::Create)));
            create.into_iter().chain([(*count, peer.load(RequestKind::NewCount))])
        });
        let all =
            native.into_iter().chain(jackfield).chain(peers).map(contender(CLIENT_CONNECTIONS));
        let create =
            self.jackfield_loads.iter().take(1).map(|(_, load)| (CREATE_ONE_CLIENT, load.clone()));
        all.chain(create.map(contender(1))).collect()
    }
}

fn start_peers() -> Peers {
    vec![
        (None, "wasmtime serve KPI", Peer::wasmtime_serve(&[])),
        (None, "wasmtime serve, tuned KPI", Peer::wasmtime_serve_tuned()),
        (None, "Extism KPI", Peer::extism()),
        (Some("fastify"), "fastify KPI", Peer::fastify()),
        (Some("FastAPI"), "FastAPI KPI", Peer::fastapi()),
    ]
}

/// Compares Jackfield with the native handler, and with the time of a sync. `syncs` are the times
/// of a sync after each round, in milliseconds.
fn jackfield_figures(measurement: &'static str, rounds: &Rounds, syncs: &[f64]) -> Vec<Figure> {
    let create_rounds = rounds.outcomes_of(CREATE_ONE_CLIENT).iter();
    let ratios = create_rounds.zip(syncs).map(|(create, sync)| create.p50_ms / sync).collect();
    let mut figures = vec![
        rounds.ratio_figure(measurement, CREATE, "native"),
        rounds.ratio_figure(measurement, CREATE_NO_SYNCS, "native"),
        rounds.ratio_figure(measurement, REPEAT, "native"),
    ];
    for name in [KPI_FROM_CACHE, KPI_INSTANT, KPI_REALISTIC] {
        figures.push(rounds.ratio_figure(measurement, name, "native KPI"));
    }
    figures.push(rounds.ratio_figure(measurement, CREATE, CREATE_NO_SYNCS));
    figures.push(Figure::from_rounds(
        measurement,
        format!("{CREATE_ONE_CLIENT} / one sync of the disk"),
        Unit::Ratio,
        ratios,
    ));
    figures.push(Figure::from_rounds(
        measurement,
        "one sync of the disk",
        Unit::Milliseconds,
        syncs.to_vec(),
    ));
    figures
}

/// Compares each peer with the native handler, and Jackfield with the peers.
fn peer_figures(measurement: &'static str, rounds: &Rounds, peers: &Peers) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (create, count, _) in peers {
        figures.extend(create.map(|name| rounds.ratio_figure(measurement, name, "native")));
        figures.push(rounds.ratio_figure(measurement, count, "native KPI"));
    }
    for (_, count, _) in peers {
        figures.push(rounds.ratio_figure(measurement, KPI_INSTANT, count));
    }
    if !peers.is_empty() {
        figures.push(rounds.ratio_figure(measurement, REPEAT, "fastify"));
        figures.push(rounds.ratio_figure(measurement, KPI_FROM_CACHE, "fastify KPI"));
    }
    figures
}

/// Measures how long it takes to write and sync one page of an existing file, as the database does
/// in its write-ahead log. Returns the median in milliseconds.
fn measure_sync_ms(folder: &Path) -> f64 {
    let file = File::create(folder.join("sync")).expect("the file is created");
    file.write_all_at(&[0; PAGE_BYTES * MEASURED_SYNCS], 0).expect("the file is written");
    file.sync_all().expect("the file is synced");
    let sync = |number: usize| {
        let start = Instant::now();
        file.write_all_at(&[1; PAGE_BYTES], (number * PAGE_BYTES) as u64)
            .expect("the page is written");
        file.sync_data().expect("the page is synced");
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..MEASURED_SYNCS).map(sync).collect();
    times.sort_by(f64::total_cmp);
    times[MEASURED_SYNCS / 2]
}

/// Returns the path of the library that makes syncs do nothing.
fn eatmydata_path() -> String {
    let listed = Command::new("dpkg").args(["-L", "libeatmydata1"]).output().expect("dpkg runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let library = text.lines().find(|path| path.ends_with("/libeatmydata.so"));
    library.expect("apt-get install libeatmydata1").to_owned()
}
