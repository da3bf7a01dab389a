//! Alternating rounds: in each round, all compared servers are put under load one after the other.
//! So other work of the machine affects all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{Load, Outcome};
use crate::report::{Figure, Unit, format_number};

/// The number and duration of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    pub(crate) is_quick: bool,
}

impl Effort {
    pub(crate) fn new(is_quick: bool) -> Self {
        let (rounds, seconds) = if is_quick { (2, 1) } else { (5, 3) };
        Self { rounds, duration: Duration::from_secs(seconds), is_quick }
    }

    /// Returns `full`, or in a quick run `quick`.
    pub(crate) fn pick(self, full: u32, quick: u32) -> u32 {
        if self.is_quick { quick } else { full }
    }
}

/// A server that is put under load in each round.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    pub(crate) connections: usize,
}

/// The outcomes of the rounds, by the name of the contender.
pub(crate) struct Rounds(BTreeMap<&'static str, Vec<Outcome>>);

/// The pause after each load. The server finishes postponed work in it.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

/// Warms up all contenders, then puts them under load one after the other, in several rounds. Calls
/// `after_round` after each round.
pub(crate) fn alternate(
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
            let (name, per_second) = (contender.name, outcome.per_second());
            println!(
                "round {round}: {name}: {per_second:.0}/s, p50 {:.2} p99 {:.1} p99.9 {:.1} ms",
                outcome.p50_ms, outcome.p99_ms, outcome.p999_ms
            );
            outcomes.entry(name).or_default().push(outcome);
            std::thread::sleep(PAUSE);
        }
        after_round();
    }
    Rounds(outcomes)
}

impl Rounds {
    /// Returns the outcomes of one contender.
    ///
    /// # Panics
    /// If no contender has this name.
    pub(crate) fn of(&self, name: &str) -> &[Outcome] {
        self.0.get(name).unwrap_or_else(|| panic!("no contender is named {name}"))
    }

    /// Divides the requests per second of `name` by those of `base`, for each round.
    pub(crate) fn ratio(&self, measurement: &'static str, name: &str, base: &str) -> Figure {
        let pairs = self.of(name).iter().zip(self.of(base));
        let ratios = pairs.map(|(one, other)| one.per_second() / other.per_second()).collect();
        Figure::of(measurement, format!("{name} / {base}"), Unit::Ratio, ratios)
    }

    /// Returns the requests per second of one contender.
    pub(crate) fn rate(&self, measurement: &'static str, name: &str) -> Figure {
        rate(measurement, name, self.of(name))
    }
}

/// Returns the requests per second. The note contains the medians of the rounds' latencies.
pub(crate) fn rate(measurement: &'static str, name: &str, rounds: &[Outcome]) -> Figure {
    let figure = |unit, value: fn(&Outcome) -> f64| {
        Figure::of(measurement, name, unit, rounds.iter().map(value).collect())
    };
    let latency = |value| format_number(figure(Unit::Milliseconds, value).median);
    let (p50, p99, p999) =
        (latency(|it| it.p50_ms), latency(|it| it.p99_ms), latency(|it| it.p999_ms));
    let mut note = format!("p50 {p50}, p99 {p99}, p99.9 {p999} ms");
    let failed: u64 = rounds.iter().map(|round| round.failed).sum();
    if failed > 0 {
        note += &format!("; {failed} failed");
    }
    figure(Unit::PerSecond, Outcome::per_second).with_note(note)
}
