//! Registries with one package, `tiny`, as npm and pip ask them.
//!
//! - <https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md>
//! - <https://packaging.python.org/en/latest/specifications/simple-repository-api/>

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    programs::client_sources,
    site::{Seen, reply::Reply},
};

pub(super) fn npm(seen: &Seen) -> Reply {
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/tiny") => Reply::json(&json!({
            "name": "tiny", "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": {
                "name": "tiny", "version": "1.0.0",
                "dist": {"tarball": "https://registry.example.org/tiny/-/tiny-1.0.0.tgz"},
            }},
        })),
        ("GET", "/tiny/-/tiny-1.0.0.tgz") => {
            let tar = ["--sort=name", "--mtime=@0", "-czf", "-", "package"];
            made("application/octet-stream", "tar", &tar)
        }
        ("GET", "/-/whoami") => Reply::json(&json!({"username": "micky"})),
        ("PUT", "/tiny") => Reply::new(201, "application/json", r#"{"ok":true}"#),
        _ => Reply::new(404, "application/json", r#"{"error":"Not found"}"#),
    }
}

pub(super) fn pip(seen: &Seen) -> Reply {
    match seen.path() {
        "/simple/tiny/" => Reply::new(
            200,
            "text/html",
            r#"<!DOCTYPE html><a href="/files/tiny-1.0.0-py3-none-any.whl">tiny-1.0.0-py3-none-any.whl</a>"#,
        ),
        "/files/tiny-1.0.0-py3-none-any.whl" => {
            let zip = [
                "-m",
                "zipfile",
                "-c",
                "/dev/stdout",
                "tiny.py",
                "tiny-1.0.0.dist-info",
            ];
            made("application/octet-stream", "/usr/bin/python3", &zip)
        }
        _ => Reply::new(404, "text/plain", "not found"),
    }
}

/// What a program makes of the package's sources.
fn made(kind: &str, program: &str, arguments: &[&str]) -> Reply {
    let run = || -> Result<Vec<u8>> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(client_sources().join("further/tiny"))
            .output()?;
        ensure!(output.status.success(), "{program}: {}", output.status);
        Ok(output.stdout)
    };
    run().map_or_else(
        |error| Reply::new(500, "text/plain", format!("{error:#}")),
        |bytes| Reply::new(200, kind, bytes),
    )
}
