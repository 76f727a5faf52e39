//! Plays every library that is installed, compares every HTTP client, and prints tables of how they got on.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::{
    alike::{CLIENTS, Client, compare},
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
    let mut failures = play(&name)?;
    failures.extend(compare_all(&name)?);
    for failure in &failures {
        println!("\n{failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Lets libraries log in over WebSocket, and tells what failed.
fn play(name: &str) -> Result<Vec<String>> {
    println!(
        "{:<22}{:<10}{:<48}{:<30}verdict",
        "library", "version", "compression", "state"
    );
    let mut failures = Vec::new();
    for set in [Set::Libraries, Set::Further] {
        let wanted: Vec<&Library> = ALL
            .iter()
            .filter(|library| library.set == set && library.name.contains(name))
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
    Ok(failures)
}

/// Compares HTTP clients without interceptor and through it, and tells what failed.
fn compare_all(name: &str) -> Result<Vec<String>> {
    println!(
        "\n{:<22}{:<10}{:<48}verdict",
        "client", "version", "requests"
    );
    let mut failures = Vec::new();
    for set in [Set::Web, Set::Libraries, Set::Further] {
        let wanted: Vec<&Client> = CLIENTS
            .iter()
            .filter(|client| client.set == set && client.name.contains(name))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let libraries = Libraries::install(set)?;
        for client in wanted {
            interrupt::check()?;
            let compared = compare(&libraries, client);
            let (requests, verdict) = match &compared {
                Ok(alike) => (alike.to_string(), "alike"),
                Err(_) => (String::new(), "FAILED"),
            };
            let version = client.version()?.unwrap_or_default();
            println!("{:<22}{version:<10}{requests:<48}{verdict}", client.name);
            if let Err(error) = compared {
                failures.push(format!("{}: {error:#}", client.name));
            }
        }
    }
    Ok(failures)
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
