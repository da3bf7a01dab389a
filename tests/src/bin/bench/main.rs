//! The program that makes the measurements of `cargo xtask bench`. It measures the built server
//! from outside, and compares it with other servers. It prints each figure with its goal. A missed
//! goal is not an error.
//!
//! The native handler is an axum handler without a sandbox and without a store. Peers are servers
//! with the software of other projects, such as fastify. The type `servers::Peer` starts both
//! kinds.

mod calls;
mod chart;
mod cold;
mod goals;
mod languages;
mod load;
mod memory;
mod paced;
mod postgres;
mod postgres_wire;
mod report;
mod rounds;
mod scaling;
mod servers;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Figure;
use rounds::Effort;

/// The names of the measurements. The measurement `peers` makes all measurements of `throughput`,
/// and measures the peers in the same alternating rounds.
const MEASUREMENTS: [&str; 8] =
    ["throughput", "peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];

#[derive(Default)]
struct Arguments {
    /// The names of the chosen measurements. If the list is empty, all measurements are made.
    names: Vec<String>,
    is_quick: bool,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    svg: Option<PathBuf>,
}

impl Arguments {
    /// Returns `None` if an argument is unknown or incomplete.
    fn parse(words: &[String]) -> Option<Self> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(argument) = words.next() {
            match argument.as_str() {
                "--quick" => arguments.is_quick = true,
                "--json" => arguments.json = Some(words.next()?.into()),
                "--markdown" => arguments.markdown = Some(words.next()?.into()),
                "--svg" => arguments.svg = Some(words.next()?.into()),
                name if MEASUREMENTS.contains(&name) => arguments.names.push(name.to_owned()),
                _ => return None,
            }
        }
        Some(arguments)
    }

    /// Returns the chosen measurements, or all if none is chosen. If `peers` is returned, omits
    /// `throughput`, because `peers` includes it.
    fn chosen_measurements(&self) -> Vec<&'static str> {
        let is_chosen = |measurement: &str| {
            self.names.is_empty() || self.names.iter().any(|it| it == measurement)
        };
        let chosen = MEASUREMENTS.into_iter().filter(|it| is_chosen(it));
        chosen.filter(|it| *it != "throughput" || !is_chosen("peers")).collect()
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("paced", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return paced::main(rest);
    }
    let Some(arguments) = Arguments::parse(&words) else {
        let names = MEASUREMENTS.join("|");
        eprintln!(
            "usage: bench [{names}]... [--quick] [--json FILE] [--markdown FILE] [--svg FILE]"
        );
        return ExitCode::from(2);
    };
    let (effort, measurements) = (Effort::new(arguments.is_quick), arguments.chosen_measurements());
    let figures: Vec<Figure> = measurements.iter().flat_map(|it| measure(it, effort)).collect();
    print_report(&figures, &measurements);
    write_reports(&arguments, &figures);
    ExitCode::SUCCESS
}

fn measure(measurement: &str, effort: Effort) -> Vec<Figure> {
    println!("==> {measurement}");
    match measurement {
        "peers" => throughput::run(effort, true),
        "calls" => calls::run(effort),
        "cold" => cold::run(effort),
        "memory" => memory::run(effort),
        "languages" => languages::run(effort),
        "scaling" => scaling::run(effort),
        "postgres" => postgres::run(effort),
        _ => throughput::run(effort, false),
    }
}

fn print_report(figures: &[Figure], measurements: &[&str]) {
    println!("\n{}", report::text_table(figures));
    let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average of the machine at the end: {}", load_average.trim());
    let peers = measurements.contains(&"peers").then_some("throughput");
    let with_goals: Vec<_> = measurements.iter().copied().chain(peers).collect();
    let missing = report::goals_without_figure(figures, &with_goals);
    if !missing.is_empty() {
        println!("goals without a measured figure:\n    {}", missing.join("\n    "));
    }
}

fn write_reports(arguments: &Arguments, figures: &[Figure]) {
    let files = [
        (&arguments.json, format!("{:#}\n", report::to_json(figures))),
        (&arguments.markdown, report::markdown_tables(figures)),
        (&arguments.svg, chart::draw_svg(figures, &throughput::JACKFIELD_BARS)),
    ];
    for (file, content) in files {
        if let Some(file) = file {
            std::fs::write(file, content).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurements_of(words: &[&str]) -> Option<Vec<&'static str>> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Arguments::parse(&words).map(|arguments| arguments.chosen_measurements())
    }

    #[test]
    fn the_measurement_peers_includes_throughput() {
        let rest = ["peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];
        assert_eq!(measurements_of(&["--quick"]).unwrap(), rest);
        assert_eq!(measurements_of(&["throughput", "peers"]).unwrap(), ["peers"]);
        assert_eq!(measurements_of(&["throughput", "--json", "f"]).unwrap(), ["throughput"]);
        assert!(measurements_of(&["unknown"]).is_none() && measurements_of(&["--svg"]).is_none());
    }
}
