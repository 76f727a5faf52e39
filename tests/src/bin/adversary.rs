//! Tries every known way round on this kernel, and prints what came of each.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the matrix is this program's result, and how far it is goes to standard error"
)]

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tests::{
    adversary::{Group, Kernel, Matrix, Stage, try_out, vectors},
    interrupt, require_root,
};

#[derive(Debug, Parser)]
struct Arguments {
    /// Only this group; may be repeated
    #[arg(long, value_enum)]
    group: Vec<Group>,
    /// Only vectors whose name contains this; may be repeated
    #[arg(long)]
    vector: Vec<String>,
    /// Name the vectors, and try none
    #[arg(long)]
    list: bool,
    /// Print for programs
    #[arg(long)]
    json: bool,
    /// Write the matrix to a file too, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut wanted = vectors();
    wanted.retain(|vector| {
        let names = &arguments.vector;
        (arguments.group.is_empty() || arguments.group.contains(&vector.group))
            && (names.is_empty() || names.iter().any(|name| vector.name.contains(name)))
    });
    ensure!(!wanted.is_empty(), "no vector is called so: see --list");
    if arguments.list {
        for vector in &wanted {
            println!("{:<26}{}", vector.name, vector.tries);
        }
        return Ok(ExitCode::SUCCESS);
    }
    require_root()?;
    interrupt::watch();
    let begun = Instant::now();
    let kernel = Kernel::running()?;
    let mut stage = Stage::new()?;
    let mut rows = Vec::new();
    for (number, vector) in wanted.iter().enumerate() {
        interrupt::check()?;
        let since = Instant::now();
        let row = try_out(&mut stage, vector).with_context(|| vector.name.clone())?;
        eprintln!(
            "{:>4}/{} {:<26}{:<12}{:>5.1} s  {}",
            number + 1,
            wanted.len(),
            row.name(),
            row.verdict(),
            since.elapsed().as_secs_f64(),
            row.observed()
        );
        rows.push(row);
    }
    let matrix = Matrix::conclude(&mut stage, kernel, rows)?;
    if let Some(path) = &arguments.markdown {
        fs::write(path, matrix.to_markdown())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if arguments.json {
        println!("{}", matrix.to_json());
    } else {
        println!("{}", matrix.to_text());
    }
    let totals = format!("{}, in {} s", matrix.totals(), begun.elapsed().as_secs());
    eprintln!("{totals}");
    if matrix.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
