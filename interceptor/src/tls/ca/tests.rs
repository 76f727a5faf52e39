use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
    thread,
};

use rcgen::DnValue;
use tempfile::TempDir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes a certificate, changed from one that is fit, with its key.
fn write_pair(directory: &TempDir, change: impl FnOnce(&mut CertificateParams)) -> [PathBuf; 2] {
    let key = generate_key().unwrap();
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(2);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let paths = ["given.pem", "given.key"].map(|name| directory.path().join(name));
    fs::write(&paths[0], params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    fs::set_permissions(&paths[1], fs::Permissions::from_mode(0o600)).unwrap();
    paths
}

#[test]
fn authority_is_made_once_with_the_right_modes() {
    let base = TempDir::new().unwrap();
    let data = base.path().join("a/b");
    let made = CertificateAuthority::load_or_create(&data).unwrap();
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("ca.pem")), 0o644);
    assert_eq!(mode(&data.join("ca.key")), 0o600);
    assert_eq!(entries(&data), ["ca.key", "ca.pem"]);

    let loaded = CertificateAuthority::load_or_create(&data).unwrap();
    assert_eq!(loaded.certificate_pem(), made.certificate_pem());
    let text = fs::read_to_string(data.join("ca.pem")).unwrap();
    assert_eq!(loaded.certificate_pem(), text);
}

#[test]
fn authority_that_is_made_says_what_it_is() {
    let data = TempDir::new().unwrap();
    let made = CertificateAuthority::load_or_create(data.path()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&made.certificate).unwrap();
    assert!(parsed.is_ca());
    assert!(parsed.key_usage().unwrap().unwrap().critical);
    let subject = parsed.subject().to_string();
    assert!(subject.starts_with("CN=interceptor CA "), "{subject}");
    assert_eq!(subject.len(), "CN=interceptor CA 01234567".len());
    let days = (made.not_after - OffsetDateTime::now_utc()).whole_days();
    assert!((3650..=3653).contains(&days), "{days}");

    let other = TempDir::new().unwrap();
    let other = CertificateAuthority::load_or_create(other.path()).unwrap();
    assert_ne!(
        other.issuer.key().public_key_raw(),
        made.issuer.key().public_key_raw()
    );
}

#[test]
fn authority_is_the_same_for_all_that_make_it_at_once() {
    let data = TempDir::new().unwrap();
    let certificates: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    CertificateAuthority::load_or_create(data.path())
                        .unwrap()
                        .certificate_pem()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(certificates.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(entries(data.path()), ["ca.key", "ca.pem"]);
}

#[test]
fn interrupted_creation_is_completed_with_the_same_key() {
    let data = TempDir::new().unwrap();
    let made = CertificateAuthority::load_or_create(data.path()).unwrap();
    fs::remove_file(data.path().join("ca.pem")).unwrap();
    let again = CertificateAuthority::load_or_create(data.path()).unwrap();
    assert_eq!(
        again.issuer.key().public_key_raw(),
        made.issuer.key().public_key_raw()
    );
}

#[test]
fn lost_key_is_an_error_and_nothing_is_replaced() {
    let data = TempDir::new().unwrap();
    CertificateAuthority::load_or_create(data.path()).unwrap();
    let before = fs::read(data.path().join("ca.pem")).unwrap();
    fs::remove_file(data.path().join("ca.key")).unwrap();
    let error = CertificateAuthority::load_or_create(data.path()).unwrap_err();
    assert!(matches!(error, CaError::File { .. }), "{error:?}");
    assert_eq!(entries(data.path()), ["ca.pem"]);
    assert_eq!(fs::read(data.path().join("ca.pem")).unwrap(), before);
}

#[test]
fn damaged_files_are_errors_and_nothing_is_replaced() {
    for name in ["ca.pem", "ca.key"] {
        for cut in [0, 10, 100] {
            let data = TempDir::new().unwrap();
            CertificateAuthority::load_or_create(data.path()).unwrap();
            let path = data.path().join(name);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..cut]).unwrap();
            CertificateAuthority::load_or_create(data.path()).unwrap_err();
            assert_eq!(fs::read(&path).unwrap(), &bytes[..cut], "{name}");
        }
    }
}

#[test]
fn given_authority_is_used() {
    let directory = TempDir::new().unwrap();
    let [certificate, key] = write_pair(&directory, |_| {});
    let loaded = CertificateAuthority::load(&certificate, &key).unwrap();
    let text = fs::read_to_string(&certificate).unwrap();
    assert_eq!(loaded.certificate_pem(), text.replace("\r\n", "\n"));
    assert!(loaded.intermediates().is_empty());
}

#[test]
fn unfit_certificates_are_refused_with_their_reason() {
    type Change = fn(&mut CertificateParams);
    type Expected = fn(&Unfit) -> bool;
    let cases: [(Change, Expected); 4] = [
        (
            |params| params.is_ca = IsCa::NoCa,
            |reason| *reason == Unfit::NoCa,
        ),
        (
            |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            |reason| *reason == Unfit::NoSigning,
        ),
        (
            |params| params.not_after = OffsetDateTime::now_utc() - Duration::hours(1),
            |reason| matches!(reason, Unfit::Expired(_)),
        ),
        (
            |params| params.not_before = OffsetDateTime::now_utc() + Duration::hours(1),
            |reason| matches!(reason, Unfit::NotYetValid(_)),
        ),
    ];
    for (change, expected) in cases {
        let directory = TempDir::new().unwrap();
        let [certificate, key] = write_pair(&directory, change);
        let error = CertificateAuthority::load(&certificate, &key).unwrap_err();
        assert!(
            matches!(&error, CaError::Invalid { reason, .. } if expected(reason)),
            "{error:?}"
        );
    }
}

#[test]
fn key_of_another_certificate_is_refused() {
    let directory = TempDir::new().unwrap();
    let [certificate, _] = write_pair(&directory, |_| {});
    let other = TempDir::new().unwrap();
    let [_, key] = write_pair(&other, |_| {});
    let error = CertificateAuthority::load(&certificate, &key).unwrap_err();
    assert!(matches!(error, CaError::Mismatch { .. }), "{error:?}");
}

#[test]
fn key_that_others_can_read_is_refused() {
    for exposed in [0o640, 0o604, 0o620, 0o610, 0o777] {
        let directory = TempDir::new().unwrap();
        let [certificate, key] = write_pair(&directory, |_| {});
        fs::set_permissions(&key, fs::Permissions::from_mode(exposed)).unwrap();
        let error = CertificateAuthority::load(&certificate, &key).unwrap_err();
        assert!(
            matches!(error, CaError::Exposed { mode, .. } if mode == exposed),
            "{error:?}"
        );
    }
}

#[test]
fn public_files_are_readable_by_everybody_and_replaced_as_a_whole() {
    let data = TempDir::new().unwrap();
    let run = TempDir::new().unwrap();
    let made = CertificateAuthority::load_or_create(data.path()).unwrap();
    // A link is replaced, what it points to is not written to.
    let elsewhere = data.path().join("elsewhere");
    fs::write(&elsewhere, "kept").unwrap();
    symlink(&elsewhere, run.path().join("ca.pem")).unwrap();
    for _ in 0..2 {
        made.write_public(run.path()).unwrap();
        assert_eq!(entries(run.path()), ["ca-bundle.pem", "ca.pem"]);
        assert_eq!(mode(&run.path().join("ca.pem")), 0o644);
        assert_eq!(mode(&run.path().join("ca-bundle.pem")), 0o644);
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    let certificates = pem::certificates(&run.path().join("ca-bundle.pem")).unwrap();
    assert_eq!(certificates[0], made.certificate);
    assert_eq!(certificates.len(), 1 + roots::platform().len());
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    for fifo in ["given.pem", "given.key"] {
        let directory = TempDir::new().unwrap();
        let paths = write_pair(&directory, |_| {});
        let path = directory.path().join(fifo);
        fs::remove_file(&path).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let error = CertificateAuthority::load(&paths[0], &paths[1]).unwrap_err();
        let told = crate::error::chain(&error);
        assert!(told.contains("not a regular file"), "{told}");
    }
}

#[test]
fn an_authority_is_another_one_by_its_certificate() {
    let directory = TempDir::new().unwrap();
    let load = |change: fn(&mut CertificateParams)| {
        let paths = write_pair(&directory, change);
        let load = || CertificateAuthority::load(&paths[0], &paths[1]).unwrap();
        (load(), load())
    };
    let (first, again) = load(|_| {});
    assert!(first.is(&again));
    let (second, _) = load(|_| {});
    assert!(!first.is(&second));
}

#[test]
fn openssl_accepts_the_authority_strictly() {
    let data = TempDir::new().unwrap();
    CertificateAuthority::load_or_create(data.path()).unwrap();
    let path = data.path().join("ca.pem");
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-check_ss_sig", "-CAfile"])
        .args([&path, &path])
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn debug_shows_no_key() {
    let data = TempDir::new().unwrap();
    let made = CertificateAuthority::load_or_create(data.path()).unwrap();
    let text = format!("{made:?}");
    assert!(
        text.starts_with("CertificateAuthority { not_after"),
        "{text}"
    );
    assert!(!text.contains("key"), "{text}");
}

#[test]
fn intermediate_authority_sends_its_chain_without_the_root() {
    let directory = TempDir::new().unwrap();
    let root_key = generate_key().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let root = Issuer::new(root, root_key);

    let key = generate_key().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(DnType::CommonName, DnValue::Utf8String("middle".into()));
    let middle = params.signed_by(&key, &root).unwrap();
    let paths = ["given.pem", "given.key"].map(|name| directory.path().join(name));
    fs::write(&paths[0], middle.pem() + &root_pem).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    fs::set_permissions(&paths[1], fs::Permissions::from_mode(0o400)).unwrap();

    let loaded = CertificateAuthority::load(&paths[0], &paths[1]).unwrap();
    assert_eq!(loaded.intermediates(), [middle.der().clone()]);
}
