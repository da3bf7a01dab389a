//! The measurements of `cargo xtask bench`, which builds the needed files and names them in
//! environment variables. They measure the built server from outside, next to a native handler and
//! peers, and print each figure with its goal. They never fail because of a figure.

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

/// The names of the measurements. `peers` is `throughput` with the peers in the same alternating
/// run.
const SUBJECTS: [&str; 8] =
    ["throughput", "peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];

/// The command line: names, `--quick`, and the files to write.
#[derive(Default)]
struct Arguments {
    names: Vec<String>,
    quick: bool,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    svg: Option<PathBuf>,
}

impl Arguments {
    fn read(given: &[String]) -> Option<Self> {
        let mut arguments = Self::default();
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--quick" => arguments.quick = true,
                "--json" => arguments.json = Some(given.next()?.into()),
                "--markdown" => arguments.markdown = Some(given.next()?.into()),
                "--svg" => arguments.svg = Some(given.next()?.into()),
                name if SUBJECTS.contains(&name) => arguments.names.push(name.to_owned()),
                _ => return None,
            }
        }
        Some(arguments)
    }

    /// Returns the chosen measurements; all of them if none is named. `peers` includes
    /// `throughput`.
    fn measurements(&self) -> Vec<&'static str> {
        let named = |measurement: &str| {
            self.names.is_empty() || self.names.iter().any(|it| it == measurement)
        };
        let chosen = SUBJECTS.into_iter().filter(|it| named(it));
        chosen.filter(|it| *it != "throughput" || !named("peers")).collect()
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("paced", rest)) = given.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return paced::main(rest);
    }
    let Some(arguments) = Arguments::read(&given) else {
        let names = SUBJECTS.join("|");
        eprintln!(
            "usage: bench [{names}]... [--quick] [--json FILE] [--markdown FILE] [--svg FILE]"
        );
        return ExitCode::from(2);
    };
    let (effort, measurements) = (Effort::new(arguments.quick), arguments.measurements());
    let figures: Vec<Figure> = measurements.iter().flat_map(|it| measure(it, effort)).collect();
    print(&figures, &measurements);
    write(&arguments, &figures);
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

fn print(figures: &[Figure], measurements: &[&str]) {
    println!("\n{}", report::text(figures));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine at the end: {}", load.trim());
    let peers = measurements.contains(&"peers").then_some("throughput");
    let goals_of: Vec<_> = measurements.iter().copied().chain(peers).collect();
    let missing = report::without_figure(figures, &goals_of);
    if !missing.is_empty() {
        println!("not measured, but with a goal:\n    {}", missing.join("\n    "));
    }
}

fn write(arguments: &Arguments, figures: &[Figure]) {
    let files = [
        (&arguments.json, format!("{:#}\n", report::to_json(figures))),
        (&arguments.markdown, report::markdown(figures)),
        (&arguments.svg, chart::svg(figures, &throughput::OWN)),
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

    fn measurements(words: &[&str]) -> Option<Vec<&'static str>> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Arguments::read(&words).map(|arguments| arguments.measurements())
    }

    #[test]
    fn the_peers_run_includes_throughput() {
        let rest = ["peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];
        assert_eq!(measurements(&["--quick"]).unwrap(), rest);
        assert_eq!(measurements(&["throughput", "peers"]).unwrap(), ["peers"]);
        assert_eq!(measurements(&["throughput", "--json", "f"]).unwrap(), ["throughput"]);
        assert!(measurements(&["unknown"]).is_none() && measurements(&["--svg"]).is_none());
    }
}
