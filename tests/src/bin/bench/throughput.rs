//! Measures the requests per second of Jackfield and of a native handler, in alternating rounds.
//! The measurement `peers` also measures other servers (peers), in the same rounds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use jackfield_tests::TestHost;

use crate::load::{CONNECTIONS, Load, RequestKind};
use crate::report::{Figure, Unit};
use crate::rounds::{Contender, Effort, Rounds, alternate};
use crate::servers::{Peer, add_connection, guest, load, pinned};

const CREATE: &str = "create, durable";
const NO_SYNCS: &str = "create, no syncs";
const ONE_CONNECTION: &str = "create at 1 connection";
const REPEAT: &str = "repeat";
const CACHED: &str = "KPI from cache";
const INSTANT: &str = "KPI, instant guest";
const REALISTIC: &str = "KPI, realistic guest";

/// The size of a page in the database's write-ahead log, bytes.
const PAGE_BYTES: usize = 4_096;
/// The number of pages that are written and synced to measure a sync.
const SYNCS: usize = 101;

/// The names of the chart's bars that show Jackfield.
pub(crate) const JACKFIELD_BARS: [&str; 6] = [CREATE, NO_SYNCS, REPEAT, CACHED, INSTANT, REALISTIC];

/// For each peer: the name of its figure for Create Defect, the name of its figure for Defect KPIs,
/// and the peer. If the first name is `None`, only Defect KPIs are measured.
type Peers = Vec<(Option<&'static str>, &'static str, Peer)>;

pub(crate) fn run(effort: Effort, with_peers: bool) -> Vec<Figure> {
    let measurement = if with_peers { "peers" } else { "throughput" };
    let servers = Servers::start(with_peers);
    let mut syncs = Vec::new();
    let rounds = alternate(&servers.contenders(), effort, || {
        syncs.push(sync_ms(servers.durable.folder()));
    });
    let mut figures = jackfield_figures(measurement, &rounds, &syncs);
    figures.extend(peer_figures(measurement, &rounds, &servers.peers));
    let names = servers.contenders().into_iter().map(|contender| contender.name);
    figures.extend(names.map(|name| rounds.rate(measurement, name)));
    figures
}

/// All servers that are put under load.
struct Servers {
    native: Peer,
    durable: TestHost,
    /// A server whose syncs do nothing. It runs until this field is dropped.
    _no_syncs: TestHost,
    loads: Vec<(&'static str, Load)>,
    peers: Peers,
}

impl Servers {
    fn start(with_peers: bool) -> Self {
        let guests = ["instant", "realistic"];
        let start = |setup: jackfield_tests::Setup| {
            guests.into_iter().fold(setup, |setup, name| setup.plugin(name, &guest(name))).start()
        };
        let durable = start(pinned());
        let no_syncs = start(pinned().env("LD_PRELOAD", &eatmydata_path()));
        let create = [add_connection(&durable, "instant", "instant")];
        let realistic = [add_connection(&durable, "realistic", "realistic")];
        let create_no_syncs = [add_connection(&no_syncs, "instant", "instant")];
        let loads = vec![
            (CREATE, load(&durable, &create, RequestKind::Create)),
            (NO_SYNCS, load(&no_syncs, &create_no_syncs, RequestKind::Create)),
            (REPEAT, load(&durable, &create, RequestKind::Repeat)),
            (CACHED, load(&durable, &create, RequestKind::Count)),
            (INSTANT, load(&durable, &create, RequestKind::NewCount)),
            (REALISTIC, load(&durable, &realistic, RequestKind::NewCount)),
        ];
        let peers = if with_peers { start_peers() } else { Vec::new() };
        Self { native: Peer::native(), durable, _no_syncs: no_syncs, loads, peers }
    }

    fn contenders(&self) -> Vec<Contender> {
        let contender = |connections| move |(name, load)| Contender { name, load, connections };
        let native = [
            ("native", self.native.load(RequestKind::Create)),
            ("native KPI", self.native.load(RequestKind::NewCount)),
        ];
        let jackfield = self.loads.iter().cloned();
        let peers = self.peers.iter().flat_map(|(create, count, peer)| {
            let create = create.map(|name| (name, peer.load(RequestKind::Create)));
            create.into_iter().chain([(*count, peer.load(RequestKind::NewCount))])
        });
        let all = native.into_iter().chain(jackfield).chain(peers).map(contender(CONNECTIONS));
        let create = self.loads.iter().take(1).map(|(_, load)| (ONE_CONNECTION, load.clone()));
        all.chain(create.map(contender(1))).collect()
    }
}

fn start_peers() -> Peers {
    vec![
        (None, "wasmtime serve KPI", Peer::serve(&[])),
        (None, "wasmtime serve, tuned KPI", Peer::serve_tuned()),
        (None, "Extism KPI", Peer::extism()),
        (Some("fastify"), "fastify KPI", Peer::fastify()),
        (Some("FastAPI"), "FastAPI KPI", Peer::fastapi()),
    ]
}

fn jackfield_figures(measurement: &'static str, rounds: &Rounds, syncs: &[f64]) -> Vec<Figure> {
    let create_rounds = rounds.of(ONE_CONNECTION).iter();
    let ratios = create_rounds.zip(syncs).map(|(create, sync)| create.p50_ms / sync).collect();
    let mut figures = vec![
        rounds.ratio(measurement, CREATE, "native"),
        rounds.ratio(measurement, NO_SYNCS, "native"),
        rounds.ratio(measurement, REPEAT, "native"),
    ];
    for name in [CACHED, INSTANT, REALISTIC] {
        figures.push(rounds.ratio(measurement, name, "native KPI"));
    }
    figures.push(rounds.ratio(measurement, CREATE, NO_SYNCS));
    figures.push(Figure::of(
        measurement,
        format!("{ONE_CONNECTION} / one sync of the disk"),
        Unit::Ratio,
        ratios,
    ));
    figures.push(Figure::of(
        measurement,
        "one sync of the disk",
        Unit::Milliseconds,
        syncs.to_vec(),
    ));
    figures
}

/// Compares each peer with the native handler and with Jackfield.
fn peer_figures(measurement: &'static str, rounds: &Rounds, peers: &Peers) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (create, count, _) in peers {
        figures.extend(create.map(|name| rounds.ratio(measurement, name, "native")));
        figures.push(rounds.ratio(measurement, count, "native KPI"));
    }
    for (_, count, _) in peers {
        figures.push(rounds.ratio(measurement, INSTANT, count));
    }
    if !peers.is_empty() {
        figures.push(rounds.ratio(measurement, REPEAT, "fastify"));
        figures.push(rounds.ratio(measurement, CACHED, "fastify KPI"));
    }
    figures
}

/// Measures the median time to write and sync one page of an existing file, in milliseconds. The
/// database also overwrites the pages of its write-ahead log.
fn sync_ms(folder: &Path) -> f64 {
    let file = File::create(folder.join("sync")).expect("the file is created");
    file.write_all_at(&[0; PAGE_BYTES * SYNCS], 0).expect("the file is written");
    file.sync_all().expect("the file is synced");
    let sync = |number: usize| {
        let start = Instant::now();
        file.write_all_at(&[1; PAGE_BYTES], (number * PAGE_BYTES) as u64)
            .expect("the page is written");
        file.sync_data().expect("the page is synced");
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..SYNCS).map(sync).collect();
    times.sort_by(f64::total_cmp);
    times[SYNCS / 2]
}

/// Returns the path of the library that makes syncs do nothing.
fn eatmydata_path() -> String {
    let listed = Command::new("dpkg").args(["-L", "libeatmydata1"]).output().expect("dpkg runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let library = text.lines().find(|path| path.ends_with("/libeatmydata.so"));
    library.expect("apt-get install libeatmydata1").to_owned()
}
