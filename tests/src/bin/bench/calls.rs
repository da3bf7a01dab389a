//! Measures one call into a guest without a server. Each call has a new instance of the guest.
//!
//! The host's program `guest_call` measures the calls. It runs in its own process, on the core that
//! the servers use in other measurements.

use std::process::Command;

use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{SERVER_CORE, folder};

const SUBJECT: &str = "calls";

/// The description and the file name of each guest.
const GUESTS: [(&str, &str); 5] = [
    ("small Rust", "instant"),
    ("realistic Rust", "realistic"),
    ("QuickJS", "quickjs"),
    ("StarlingMonkey", "starlingmonkey"),
    ("Python", "python"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    GUESTS.iter().flat_map(|(language, name)| measure(language, name, effort)).collect()
}

fn measure(language: &str, name: &str, effort: Effort) -> Vec<Figure> {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(folder("BENCH_CALLS"));
    command.arg(folder("BENCH_GUESTS").join(format!("{name}.wasm")));
    command.arg((effort.rounds * 3).to_string());
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}{errors}");
    let figure = |line: &str| {
        let (what, rounds) = line.rsplit_once(": ").expect("a description and its rounds");
        let rounds = rounds.split(' ').map(|number| number.parse().expect("a number")).collect();
        Figure::of(SUBJECT, format!("{what}, {language}"), Unit::Microseconds, rounds)
    };
    text.lines().map(figure).collect()
}
