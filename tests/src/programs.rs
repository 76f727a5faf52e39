//! Where the built programs and the clients' packages are.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// A program of this workspace, built beside the running one.
///
/// # Errors
/// It has not been built.
pub fn built(name: &str) -> Result<PathBuf> {
    let running = env::current_exe()?;
    let mut directory = running.parent().context("a program without a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let path = directory.join(name);
    ensure!(
        path.exists(),
        "{} is not built: run `cargo xtask test`, or `cargo build --workspace` first",
        path.display()
    );
    Ok(path)
}

/// Sources of the clients.
pub fn client_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Packages that the clients need, as `cargo xtask` installs them.
///
/// # Errors
/// They are not installed.
pub fn client_packages() -> Result<PathBuf> {
    packages("clients")
}

/// A set of packages that `cargo xtask` installs.
///
/// # Errors
/// They are not installed.
pub fn packages(set: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target")
        .join(set);
    ensure!(
        path.exists(),
        "packages of the clients are not installed: run `cargo xtask clients --install`"
    );
    Ok(path.canonicalize()?)
}

/// The variables by which programs are told whom to trust, as `interceptor exec` sets them: an authority where it is added
/// to what a program trusts anyway, and a bundle where it takes that's place.
pub fn trust(authority: &Path, bundle: &Path) -> Vec<(&'static str, String)> {
    let bundled = [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "PIP_CERT",
        "NPM_CONFIG_CAFILE",
    ];
    let all = bundled.map(|name| (name, bundle.display().to_string()));
    let added = ("NODE_EXTRA_CA_CERTS", authority.display().to_string());
    all.into_iter().chain([added]).collect()
}

/// Copies a file, or a directory with all that it holds, readable by everybody.
///
/// # Errors
/// Something cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("copying {} to {}", from.display(), to.display());
    if from.is_dir() {
        fs::create_dir_all(to).with_context(context)?;
        for entry in fs::read_dir(from).with_context(context)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to).with_context(context)?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).with_context(context)
}
