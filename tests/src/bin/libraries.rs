//! Plays every library that is installed, and prints a table of how they got on.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::{
    interrupt,
    library::{ALL, Libraries, Library, Outcome, Set},
};

#[derive(Debug, Parser)]
struct Arguments {
    /// Only libraries whose name contains this
    #[arg(default_value = "")]
    name: String,
}

fn main() -> Result<ExitCode> {
    let Arguments { name } = Arguments::parse();
    interrupt::watch();
    println!(
        "{:<22}{:<10}{:<48}{:<30}verdict",
        "library", "version", "compression", "state"
    );
    let mut failures = Vec::new();
    for set in [Set::Libraries, Set::Further] {
        let wanted: Vec<&Library> = ALL
            .iter()
            .filter(|library| library.set == set && library.name.contains(&name))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let libraries = Libraries::install(set)?;
        for library in wanted {
            interrupt::check()?;
            let played = libraries.play(library);
            let (compression, state, verdict) = match &played {
                Ok(outcome) => (outcome.compression.join(", "), state(outcome), "passed"),
                Err(_) => (String::new(), String::new(), "FAILED"),
            };
            println!(
                "{:<22}{:<10}{compression:<48}{state:<30}{verdict}",
                library.name,
                library.version()?
            );
            if let Err(error) = played {
                failures.push(format!("{}: {error:#}", library.name));
            }
        }
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn state(outcome: &Outcome) -> String {
    let mut state = String::from("ready, answered");
    for close in &outcome.closes {
        match close {
            Some(code) => state.push_str(&format!(", closed {code}")),
            None => state.push_str(", gone"),
        }
    }
    state
}
