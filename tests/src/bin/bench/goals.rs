//! The goals of the benchmarks. The goals of `throughput` and `peers` are valid for alternating
//! rounds on a machine without other work, with the server on one core. They are valid for 64
//! client connections, unless the figure's name contains another number.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Goal {
    /// The name of a measurement that produces the figure.
    pub(crate) measurement: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) bound: Bound,
    /// A better value that the project tries to reach. `None` if the bound is enough.
    aim: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

impl Bound {
    pub(crate) fn is_met_by(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            AtLeast(bound) => write!(f, "at least {bound}")?,
            AtMost(bound) => write!(f, "at most {bound}")?,
        }
        self.aim.map_or(Ok(()), |aim| write!(f, " (aim {aim})"))
    }
}

const fn goal(measurement: &'static str, figure: &'static str, bound: Bound) -> Goal {
    Goal { measurement, figure, bound, aim: None }
}

const fn goal_with_aim(
    measurement: &'static str,
    figure: &'static str,
    bound: Bound,
    aim: f64,
) -> Goal {
    Goal { measurement, figure, bound, aim: Some(aim) }
}

/// A goal applies to the figure that has the same name.
pub(crate) const GOALS: &[Goal] = &[
    goal_with_aim("throughput", "create, durable / native", AtLeast(0.20), 0.36),
    goal("throughput", "create, durable / create, no syncs", AtLeast(0.65)),
    goal("throughput", "create at 1 connection / one sync of the disk", AtMost(2.0)),
    goal("throughput", "repeat / native", AtLeast(0.60)),
    goal("throughput", "KPI from cache / native KPI", AtLeast(0.60)),
    goal_with_aim("throughput", "KPI, instant guest / native KPI", AtLeast(0.45), 0.55),
    goal_with_aim("throughput", "KPI, realistic guest / native KPI", AtLeast(0.30), 0.40),
    goal("peers", "KPI, instant guest / wasmtime serve KPI", AtLeast(4.0)),
    goal("peers", "KPI, instant guest / wasmtime serve, tuned KPI", AtLeast(2.3)),
    goal("peers", "KPI, instant guest / Extism KPI", AtLeast(11.0)),
    goal("peers", "KPI, instant guest / fastify KPI", AtLeast(1.0)),
    goal("peers", "KPI, instant guest / FastAPI KPI", AtLeast(6.0)),
    goal("peers", "repeat / fastify", AtLeast(1.0)),
    goal("peers", "KPI from cache / fastify KPI", AtLeast(1.0)),
    goal("calls", "call, small Rust", AtMost(6.0)),
    goal("calls", "call, realistic Rust", AtMost(10.0)),
    goal("calls", "call, QuickJS", AtMost(100.0)),
    goal("calls", "call, StarlingMonkey", AtMost(350.0)),
    goal("calls", "call, Python", AtMost(900.0)),
    goal("calls", "cached code to first call, small Rust", AtMost(500.0)),
    goal("calls", "cached code to first call, QuickJS", AtMost(1_000.0)),
    goal("calls", "cached code to first call, Python", AtMost(4_000.0)),
    goal("cold", "new file to first event, small Rust", AtMost(1_000.0)),
    goal("cold", "cached file to first event, small Rust", AtMost(100.0)),
    goal("cold", "start with 50 cached connectors", AtMost(1_000.0)),
    goal("cold", "start with 500 cached connectors", AtMost(2_000.0)),
    goal("memory", "resident per called connector, small Rust", AtMost(450.0)),
    goal("memory", "of it anonymous, small Rust", AtMost(60.0)),
    goal("memory", "resident per stored connection", AtMost(4.0)),
    goal("memory", "resident per idle client", AtMost(40.0)),
    goal("languages", "size, Rust", AtMost(200.0)),
    goal("languages", "size, C", AtMost(200.0)),
    goal("languages", "size, C++", AtMost(200.0)),
    goal("languages", "size, JavaScript", AtMost(2_000.0)),
    goal("languages", "size, TypeScript", AtMost(2_000.0)),
    goal("languages", "size, Go", AtMost(6_000.0)),
    goal("languages", "size, Python", AtMost(20_000.0)),
    goal("scaling", "create at half load: p99 / p50", AtMost(3.0)),
    goal("scaling", "KPI at half load: p99 / p50", AtMost(3.0)),
    goal("scaling", "CPU per event: 10,000 connections / 1", AtMost(1.1)),
    goal("scaling", "CPU per event: 1,000,000 stored events / 0", AtMost(1.1)),
    goal("scaling", "CPU per event: 1,000 connectors / 1", AtMost(4.0)),
    goal(
        "postgres",
        "create on PostgreSQL, durable / create on PostgreSQL, no syncs",
        AtLeast(0.65),
    ),
];
