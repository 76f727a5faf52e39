//! The certificate authority that sandboxes trust.

use std::path::Path;

use super::RunError;
use crate::{
    config::Snapshot,
    tls::ca::{CERTIFICATE, CaError, CertificateAuthority, KEY},
};

/// For a daemon that starts: the configured one, or that of `data_dir`, which is made at the first start.
pub(super) fn find(snapshot: &Snapshot, data_dir: &Path) -> Result<CertificateAuthority, RunError> {
    match snapshot.ca() {
        Some(files) => CertificateAuthority::load(&files.certificate, &files.key),
        None => {
            make_directory(data_dir)?;
            CertificateAuthority::load_or_create(data_dir)
        }
    }
    .map_err(RunError::Authority)
}

/// For a daemon that runs: what stands there now. None is made: no sandbox would trust it, and the files may only be away.
pub(super) fn reread(
    snapshot: &Snapshot,
    data_dir: &Path,
) -> Result<CertificateAuthority, CaError> {
    match snapshot.ca() {
        Some(files) => CertificateAuthority::load(&files.certificate, &files.key),
        None => CertificateAuthority::load(&data_dir.join(CERTIFICATE), &data_dir.join(KEY)),
    }
}

fn make_directory(path: &Path) -> Result<(), RunError> {
    std::fs::create_dir_all(path).map_err(|source| RunError::Directory {
        path: path.to_owned(),
        source,
    })
}
