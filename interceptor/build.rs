//! Picks the BPF object to embed: the committed one, or a fresh one named by `INTERCEPTOR_BPF_OBJECT`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=INTERCEPTOR_BPF_OBJECT");
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let object = env::var_os("INTERCEPTOR_BPF_OBJECT")
        .map_or_else(|| manifest.join("bpf/interceptor.bpf.o"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = fs::copy(&object, out.join("interceptor.bpf.o")) {
        println!(
            "cargo::error=no BPF object at {} ({error}): run `cargo xtask build-ebpf`",
            object.display()
        );
    }
    Ok(())
}
