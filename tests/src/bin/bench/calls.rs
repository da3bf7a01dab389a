//! Measures the time of one call into a new instance of a guest, without a server, and the time
//! from the cached code to the first call. The child process `guest_call`, which is in
//! `host/benches/`, makes the measurements.

use std::process::Command;

use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{SERVER_CORE, path_from_env};

const MEASUREMENT: &str = "calls";

/// The description and the name of each guest; its file is `NAME.wasm`.
const GUESTS: [(&str, &str); 5] = [
    ("small Rust", "instant"),
    ("realistic Rust", "realistic"),
    ("QuickJS", "quickjs"),
    ("StarlingMonkey", "starlingmonkey"),
    ("Python", "python"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    GUESTS.iter().flat_map(|(language, name)| measure_guest(language, name, effort)).collect()
}

/// Each line that `guest_call` prints is a figure.
fn measure_guest(language: &str, name: &str, effort: Effort) -> Vec<Figure> {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(path_from_env("BENCH_CALLS"));
    command.arg(path_from_env("BENCH_GUESTS").join(format!("{name}.wasm")));
    command.arg((effort.rounds * 3).to_string());
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}{errors}");
    let figure = |line: &str| {
        let (what, rounds) = line.rsplit_once(": ").expect("a description and its rounds");
        let rounds = rounds.split(' ').map(|number| number.parse().expect("a number")).collect();
        Figure::from_rounds(MEASUREMENT, format!("{what}, {language}"), Unit::Microseconds, rounds)
    };
    text.lines().map(figure).collect()
}
