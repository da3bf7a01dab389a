//! Measures the duration of a call into a guest and of its parts, without a server. Each line of
//! the output names a part, and contains its duration in each round, in microseconds.

#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::time::{Duration, Instant};

use jackfield::runtime::{CallTimes, MeasuredGuest};

/// The same allocator as in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A round repeats the call until this time has passed.
const ROUND_TIME: Duration = Duration::from_millis(300);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: guest_call COMPONENT ROUNDS";
    // `cargo bench` passes one more argument at the end, which is ignored.
    let (Some(component), Some(rounds)) = (arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let rounds: usize = rounds.parse().map_err(|_| usage)?;
    let folder = tempfile::tempdir()?;
    let mut guest = MeasuredGuest::compile(&std::fs::read(component)?, folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        measure_round(&guest, false).await?; // warms up
        let (mut plain, mut measured, mut reloads) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            plain.push(measure_round(&guest, false).await?);
            measured.push(measure_round(&guest, true).await?);
            let begun = Instant::now();
            guest.load_again(folder.path())?;
            guest.call(false).await?;
            reloads.push(microseconds(begun.elapsed()));
        }
        let part =
            |of: fn(&CallTimes) -> Duration| plain.iter().map(move |it| microseconds(of(it)));
        print_part("call", part(|it| it.prepare + it.instantiate + it.call + it.drop));
        print_part("of it: session and store", part(|it| it.prepare));
        print_part("of it: instantiate", part(|it| it.instantiate));
        print_part("of it: guest and host calls", part(|it| it.call));
        print_part("of it: drop and report", part(|it| it.drop));
        print_part("host calls, measured", measured.iter().map(|it| microseconds(it.host_calls)));
        print_part("cached code to first call", reloads.into_iter());
        Ok(())
    })
}

/// Returns the mean duration of each part of a call. `measure_host_calls` makes the calls slower.
async fn measure_round(
    guest: &MeasuredGuest,
    measure_host_calls: bool,
) -> Result<CallTimes, Failure> {
    let begun = Instant::now();
    let (mut sum, mut calls) = (CallTimes::default(), 0_u32);
    while begun.elapsed() < ROUND_TIME {
        let times = guest.call(measure_host_calls).await?;
        sum.prepare += times.prepare;
        sum.instantiate += times.instantiate;
        sum.call += times.call;
        sum.host_calls += times.host_calls;
        sum.drop += times.drop;
        calls += 1;
    }
    let mean = |sum: Duration| sum / calls.max(1);
    Ok(CallTimes {
        prepare: mean(sum.prepare),
        instantiate: mean(sum.instantiate),
        call: mean(sum.call),
        host_calls: mean(sum.host_calls),
        drop: mean(sum.drop),
    })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Prints what was measured, and its duration in each round.
fn print_part(part: &str, rounds: impl Iterator<Item = f64>) {
    let rounds: Vec<_> = rounds.map(|round| format!("{round:.3}")).collect();
    println!("{part}: {}", rounds.join(" "));
}
