//! Alternating rounds: in each round, all contenders are loaded one after the other. So other work
//! of the machine affects all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{Load, Outcome};
use crate::report::{Figure, Unit, short};

/// The number and duration of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) seconds: Duration,
    pub(crate) quick: bool,
}

impl Effort {
    pub(crate) fn new(quick: bool) -> Self {
        let (rounds, seconds) = if quick { (2, 1) } else { (5, 3) };
        Self { rounds, seconds: Duration::from_secs(seconds), quick }
    }

    /// Returns the first number, or in a quick run the second.
    pub(crate) fn pick(self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }
}

/// A server that is put under load in each round.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    pub(crate) connections: usize,
}

/// The outcomes of each contender, one for each round.
pub(crate) struct Rounds(BTreeMap<&'static str, Vec<Outcome>>);

/// The pause after each load, in which the server finishes postponed work.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

/// Warms up all contenders, then loads them in turn. Calls `each_round` after each round.
pub(crate) fn alternate(
    contenders: &[Contender],
    effort: Effort,
    mut each_round: impl FnMut(),
) -> Rounds {
    for contender in contenders {
        contender.load.run(contender.connections, Duration::from_secs(1));
    }
    let mut outcomes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for round in 1..=effort.rounds {
        for contender in contenders {
            let outcome = contender.load.run(contender.connections, effort.seconds);
            let (name, per_second) = (contender.name, outcome.per_second());
            println!(
                "round {round}: {name}: {per_second:.0}/s, p50 {:.2} p99 {:.1} p99.9 {:.1} ms",
                outcome.p50_ms, outcome.p99_ms, outcome.p999_ms
            );
            outcomes.entry(name).or_default().push(outcome);
            std::thread::sleep(PAUSE);
        }
        each_round();
    }
    Rounds(outcomes)
}

impl Rounds {
    /// # Panics
    /// If there is no contender of this name.
    pub(crate) fn of(&self, name: &str) -> &[Outcome] {
        self.0.get(name).unwrap_or_else(|| panic!("no contender is named {name}"))
    }

    /// Divides the requests per second of `name` by those of `to`, round by round.
    pub(crate) fn ratio(&self, measurement: &'static str, name: &str, to: &str) -> Figure {
        let pairs = self.of(name).iter().zip(self.of(to));
        let ratios = pairs.map(|(one, other)| one.per_second() / other.per_second()).collect();
        Figure::of(measurement, format!("{name} / {to}"), Unit::Ratio, ratios)
    }

    /// Returns the requests per second of one contender.
    pub(crate) fn rate(&self, measurement: &'static str, name: &str) -> Figure {
        rate(measurement, name, self.of(name))
    }
}

/// Returns the requests per second, with the medians of the rounds' latencies as a note.
pub(crate) fn rate(measurement: &'static str, name: &str, rounds: &[Outcome]) -> Figure {
    let figure = |unit, of: fn(&Outcome) -> f64| {
        Figure::of(measurement, name, unit, rounds.iter().map(of).collect())
    };
    let latency = |of| short(figure(Unit::Milliseconds, of).median);
    let (p50, p99, p999) =
        (latency(|it| it.p50_ms), latency(|it| it.p99_ms), latency(|it| it.p999_ms));
    let mut note = format!("p50 {p50}, p99 {p99}, p99.9 {p999} ms");
    let failed: u64 = rounds.iter().map(|round| round.failed).sum();
    if failed > 0 {
        note += &format!("; {failed} failed");
    }
    figure(Unit::PerSecond, Outcome::per_second).with_note(note)
}
