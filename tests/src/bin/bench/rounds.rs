//! Measures servers in alternating rounds. In each round, all compared servers are put under load,
//! one after the other. So other work of the machine affects all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{Load, Outcome};
use crate::report::{Figure, Unit, format_number};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// How long each server is under load in each round.
    pub(crate) duration: Duration,
    /// Whether `--quick` was given.
    pub(crate) is_quick: bool,
}

impl Effort {
    pub(crate) fn new(is_quick: bool) -> Self {
        let (rounds, seconds) = if is_quick { (2, 1) } else { (5, 3) };
        Self { rounds, duration: Duration::from_secs(seconds), is_quick }
    }

    pub(crate) fn pick(self, full: u32, quick: u32) -> u32 {
        if self.is_quick { quick } else { full }
    }
}

/// A server and the load that it gets in each round. Several contenders may be the same server with
/// different loads.
pub(crate) struct Contender {
    /// The name of the contender in figures.
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    /// Number of client connections.
    pub(crate) connections: usize,
}

/// The outcomes of all rounds, by the name of the contender.
pub(crate) struct Rounds(BTreeMap<&'static str, Vec<Outcome>>);

/// The length of the pause after each load of a round. The server finishes postponed work then.
const PAUSE_AFTER_LOAD: Duration = Duration::from_millis(300);

/// Warms up all contenders. Then puts them under load one after the other, in several rounds. Calls
/// `after_round` at the end of each round.
pub(crate) fn run_alternating_rounds(
    contenders: &[Contender],
    effort: Effort,
    mut after_round: impl FnMut(),
) -> Rounds {
    for contender in contenders {
        contender.load.run(contender.connections, Duration::from_secs(1));
    }
    let mut outcomes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for round in 1..=effort.rounds {
        for contender in contenders {
            let outcome = contender.load.run(contender.connections, effort.duration);
            let (name, per_second) = (contender.name, outcome.requests_per_second());
            println!(
                "round {round}: {name}: {per_second:.0}/s, p50 {:.2} p99 {:.1} p99.9 {:.1} ms",
                outcome.p50_ms, outcome.p99_ms, outcome.p999_ms
            );
            outcomes.entry(name).or_default().push(outcome);
            std::thread::sleep(PAUSE_AFTER_LOAD);
        }
        after_round();
    }
    Rounds(outcomes)
}

impl Rounds {
    /// Panics if no contender has this name.
    pub(crate) fn outcomes_of(&self, name: &str) -> &[Outcome] {
        self.0.get(name).unwrap_or_else(|| panic!("no contender is named {name}"))
    }

    /// Divides the requests per second of the contender `name` by those of the contender `base`, in
    /// each round.
    pub(crate) fn ratio_figure(&self, measurement: &'static str, name: &str, base: &str) -> Figure {
        let pairs = self.outcomes_of(name).iter().zip(self.outcomes_of(base));
        let ratios = pairs
            .map(|(one, other)| one.requests_per_second() / other.requests_per_second())
            .collect();
        Figure::from_rounds(measurement, format!("{name} / {base}"), Unit::Ratio, ratios)
    }

    pub(crate) fn rate_figure(&self, measurement: &'static str, name: &str) -> Figure {
        rate_figure(measurement, name, self.outcomes_of(name))
    }
}

/// Returns the requests per second as a figure. The figure's note contains the latencies, each as a
/// median of all rounds, and the number of failed requests if it is not 0.
pub(crate) fn rate_figure(measurement: &'static str, name: &str, rounds: &[Outcome]) -> Figure {
    let figure = |unit, value: fn(&Outcome) -> f64| {
        Figure::from_rounds(measurement, name, unit, rounds.iter().map(value).collect())
    };
    let latency = |value| format_number(figure(Unit::Milliseconds, value).median);
    let (p50, p99, p999) =
        (latency(|it| it.p50_ms), latency(|it| it.p99_ms), latency(|it| it.p999_ms));
    let mut note = format!("p50 {p50}, p99 {p99}, p99.9 {p999} ms");
    let failed: u64 = rounds.iter().map(|round| round.failed).sum();
    if failed > 0 {
        note += &format!("; {failed} failed");
    }
    figure(Unit::PerSecond, Outcome::requests_per_second).with_note(note)
}
