//! Runs Autobahn's suite direct and through interceptor, and prints where the verdicts differ.
//!
//! Run by `cargo xtask autobahn`, which builds and installs what this needs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "showing is what this program is for"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use tests::{
    autobahn::{
        Fuzzer, Way, is_large,
        stage::Stage,
        verdict::{Difference, Verdicts, differences, doubtful, tally},
    },
    interrupt, require_root,
};

#[derive(Debug, Parser)]
#[command(about = "Autobahn's WebSocket suite, direct and through interceptor")]
struct Arguments {
    /// Cases to run, such as `6.*`
    #[arg(long, num_args = 1.., default_value = "*", value_name = "PATTERN")]
    cases: Vec<String>,
    /// Messages that each case of sections 12 and 13 sends
    #[arg(long, default_value_t = 1000)]
    messages: u32,
    /// Seconds without a verdict after which a run is given up; the largest cases may take 480
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    stall: u64,
}

/// Cases at a time that mostly wait.
const SMALL_LANES: usize = 8;
/// Cases at a time that keep a processor busy.
const LARGE_LANES: usize = 2;
/// How often cases that differ or fail are run again, one at a time: many have time limits, which a busy machine exceeds.
const AGAIN: usize = 2;
/// Time between two lines that tell how far a run has come.
const REPORT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(differences) => {
            println!("\n{differences} differences");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<usize> {
    require_root()?;
    interrupt::watch();
    let stage = Stage::new(arguments.messages, Duration::from_secs(arguments.stall))?;
    let cases = stage.cases(&arguments.cases)?;
    ensure!(!cases.is_empty(), "no case matches {:?}", arguments.cases);
    stage.check_rewriting()?;
    let mut count = 0;
    for fuzzer in [Fuzzer::Server, Fuzzer::Client] {
        count += compare(&stage, fuzzer, &cases)?;
    }
    Ok(count)
}

/// Runs all cases both ways, prints what came of it, and returns the number of differences.
fn compare(stage: &Stage, fuzzer: Fuzzer, cases: &[String]) -> Result<usize> {
    let mut direct = run_all(stage, fuzzer, Way::Direct, cases)?;
    let mut through = run_all(stage, fuzzer, Way::Through, cases)?;
    for _ in 0..AGAIN {
        let again = doubtful(cases, &direct, &through);
        if again.is_empty() {
            break;
        }
        println!("  {fuzzer}, once more: {}", again.join(", "));
        direct.extend(stage.run(fuzzer, Way::Direct, &again, 1, |_| ())?);
        through.extend(stage.run(fuzzer, Way::Through, &again, 1, |_| ())?);
    }
    let found = differences(cases, &direct, &through);
    println!("{fuzzer}: {} cases, {} differ", cases.len(), found.len());
    for (verdict, count) in tally(&through) {
        println!("  {count:>5}  {verdict}");
    }
    if !found.is_empty() {
        table(&fuzzer.to_string(), &found);
    }
    Ok(found.len())
}

fn run_all(stage: &Stage, fuzzer: Fuzzer, way: Way, cases: &[String]) -> Result<Verdicts> {
    let begun = Instant::now();
    let mut verdicts = Verdicts::new();
    let (large, small): (Vec<_>, Vec<_>) = cases.iter().cloned().partition(|case| is_large(case));
    for (cases, lanes) in [(small, SMALL_LANES), (large, LARGE_LANES)] {
        if cases.is_empty() {
            continue;
        }
        let mut reported = Instant::now();
        verdicts.extend(stage.run(fuzzer, way, &cases, lanes, |done| {
            if reported.elapsed() > REPORT {
                reported = Instant::now();
                println!("  {fuzzer}, {way}: {done} of {}", cases.len());
            }
        })?);
    }
    println!(
        "  {fuzzer}, {way}: {} verdicts in {:.1} s",
        verdicts.len(),
        begun.elapsed().as_secs_f32()
    );
    Ok(verdicts)
}

fn table(title: &str, differences: &[Difference]) {
    println!("{title}:\n  {:<10}{:<32}through", "case", "direct");
    for difference in differences {
        println!("  {difference}");
    }
}
