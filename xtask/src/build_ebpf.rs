//! `cargo xtask build-ebpf`: the kernel side, as one object that the daemon embeds.
//!
//! The object is committed, so that building interceptor needs a stable Rust only, with a hash of the sources it was
//! made from beside it.

mod slim;
mod sources;
mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::step;
use toolchain::Toolchain;

/// The object as everybody else gets it.
const OBJECT: &str = "interceptor/bpf/interceptor.bpf.o";
const HASH: &str = "interceptor/bpf/interceptor.bpf.sha256";

const TARGET: &str = "bpfel-unknown-none";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Build nothing, only verify that the committed object was made from these sources
    #[arg(long, conflicts_with_all = ["log", "output"])]
    check: bool,
    /// Let the programs log through aya-log
    #[arg(long, requires = "output")]
    log: bool,
    /// Write the object here instead of over the committed one
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = step::root();
    let hash = sources::hash(&root.join("interceptor-ebpf"))?;
    if arguments.check {
        let committed = fs::read_to_string(root.join(HASH)).unwrap_or_default();
        ensure!(
            committed.trim() == hash,
            "{OBJECT} is older than its sources: run `cargo xtask build-ebpf` and commit the result"
        );
        return Ok(());
    }
    let toolchain = Toolchain::find_or_install()?;
    let object = slim::without_dwarf(&build(&toolchain, &root, arguments.log)?)?;
    if let Some(output) = &arguments.output {
        return write(output, &object);
    }
    write(&root.join(OBJECT), &object)?;
    write(&root.join(HASH), format!("{hash}\n").as_bytes())
}

/// Builds the programs and returns the object as the linker made it.
fn build(toolchain: &Toolchain, root: &Path, log: bool) -> Result<Vec<u8>> {
    // A directory of its own: the usual one belongs to another compiler.
    let target = root.join("target/bpf");
    let mut cargo = step::cargo();
    toolchain.select(&mut cargo);
    cargo
        .args(["build", "--package", "interceptor-ebpf"])
        .args(["--bin", "interceptor-programs"])
        .args(["--features", if log { "log" } else { "programs" }])
        .args(["-Z", "build-std=core", "--target", TARGET])
        .args(["--profile", "bpf", "--target-dir"])
        .arg(&target)
        .args(["--config", &rustflags(toolchain, root)]);
    step::run("building the BPF programs", &mut cargo)?;
    let built = target.join(TARGET).join("bpf/interceptor-programs");
    fs::read(&built).with_context(|| format!("reading {}", built.display()))
}

/// `--btf`: socket storage has no other way to describe itself. The prefixes keep paths of this machine out of the line
/// information that the verifier shows.
fn rustflags(toolchain: &Toolchain, root: &Path) -> String {
    let mut flags = vec!["-C".to_owned(), "link-arg=--btf".to_owned()];
    for (from, to) in [
        (root, "."),
        (toolchain.registry(), "registry"),
        (toolchain.library(), "library"),
    ] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    format!("target.{TARGET}.rustflags={flags:?}")
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("writing {}", path.display()))
}
