//! Picks the BPF object to embed: the committed one, or a fresh one named by `INTERCEPTOR_BPF_OBJECT`.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=INTERCEPTOR_BPF_OBJECT");
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = env::var_os("INTERCEPTOR_BPF_OBJECT")
        .map_or_else(|| manifest.join("bpf/interceptor.bpf.o"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    fs::copy(&object, out.join("interceptor.bpf.o")).unwrap_or_else(|error| {
        panic!(
            "no BPF object at {} ({error}): run `cargo xtask build-ebpf`",
            object.display()
        )
    });
}
