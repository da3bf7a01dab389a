//! One call into a guest, in a fresh instance each time, without a server around it.
//!
//! The program `guest_call` of the host measures the call, in a process of its own on the servers'
//! core.

use std::process::Command;

use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{SERVER_CORE, folder};

const SUBJECT: &str = "calls";

const GUESTS: [(&str, &str); 5] = [
    ("small Rust", "instant"),
    ("realistic Rust", "realistic"),
    ("QuickJS", "quickjs"),
    ("StarlingMonkey", "starlingmonkey"),
    ("Python", "python"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    GUESTS.iter().flat_map(|(language, name)| calls(language, name, effort)).collect()
}

fn calls(language: &str, name: &str, effort: Effort) -> Vec<Figure> {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(folder("BENCH_CALLS"));
    command.arg(folder("BENCH_GUESTS").join(format!("{name}.wasm")));
    command.arg((effort.rounds * 3).to_string());
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}{errors}");
    let figure = |line: &str| {
        let (part, rounds) = line.rsplit_once(": ").expect("a part and its rounds");
        let rounds = rounds.split(' ').map(|number| number.parse().expect("a number")).collect();
        Figure::of(SUBJECT, format!("{part}, {language}"), Unit::Microseconds, rounds)
    };
    text.lines().map(figure).collect()
}
