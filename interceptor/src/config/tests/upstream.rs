//! Certificates that are shown to servers.

use super::*;
use crate::tls::identity::ClientCertificate;

fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A folder with two certificates and their keys.
fn folder() -> Folder {
    let folder = Folder::new();
    for name in ["one", "two"] {
        let (certificate, key) = pair(name);
        folder.write(&format!("{name}.pem"), &certificate, 0o644);
        folder.write(&format!("{name}.key"), &key, 0o600);
    }
    folder
}

fn entry(hosts: &str, certificate: &str, key: &str) -> String {
    format!("    - {{ hosts: {hosts}, certificate: {certificate}, key: {key} }}\n")
}

fn text(entries: &[String]) -> String {
    format!("upstream:\n  client_certificates:\n{}", entries.concat())
}

fn certificates(folder: &Folder, text: &str) -> Vec<ClientCertificate> {
    folder.load(text).unwrap().client_certificates().to_vec()
}

#[test]
fn certificates_are_read_with_their_hosts_and_compared_by_what_they_are() {
    let folder = folder();
    let both = text(&[
        entry("[a.example, \"*.a.example\"]", "one.pem", "one.key"),
        entry("[b.example]", "two.pem", "two.key"),
    ]);
    let before = certificates(&folder, &both);
    assert_eq!(before.len(), 2);
    assert_eq!(before[0].hosts.len(), 2);
    assert_eq!(before, certificates(&folder, &both));
    let (certificate, key) = pair("one");
    folder.write("one.pem", &certificate, 0o644);
    folder.write("one.key", &key, 0o600);
    assert_ne!(before, certificates(&folder, &both));
    let shown = format!("{:?}", folder.load(&both).unwrap());
    let secret = key.lines().nth(1).unwrap();
    assert!(!shown.contains(secret), "{shown}");
}

#[test]
fn a_key_that_others_may_read_is_warned_of() {
    let folder = folder();
    let one = text(&[entry("[a.example]", "one.pem", "one.key")]);
    assert!(folder.load(&one).unwrap().reports().is_empty());
    folder.write(
        "one.key",
        &fs::read_to_string(folder.path("one.key")).unwrap(),
        0o600,
    );
    fs::set_permissions(folder.path("one.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let snapshot = folder.load(&one).unwrap();
    let [warning] = snapshot.reports() else {
        panic!("{:?}", snapshot.reports());
    };
    assert_eq!((warning.line, warning.level), (3, Level::Warning));
    assert!(warning.message.contains("chmod 600"), "{}", warning.message);
}

#[test]
fn every_fault_of_a_certificate_is_told_at_its_place() {
    let folder = folder();
    folder.write("text", TOKEN, 0o600);
    let place = |column: u32, what: &str| format!("interceptor.yaml:3:{column}: {what}");
    for (entry, expected) in [
        (
            "    - {}\n".to_owned(),
            vec![
                place(7, "the key `certificate` is missing"),
                place(7, "the key `hosts` is missing"),
                place(7, "the key `key` is missing"),
            ],
        ),
        (
            entry("[a.example]", "none.pem", "one.key"),
            vec![place(
                42,
                "none.pem cannot be read: No such file or directory (os error 2)",
            )],
        ),
        (
            entry("[a.example]", "text", "one.key"),
            vec![place(42, "text holds no certificates in PEM form")],
        ),
        (
            entry("[a.example]", "one.pem", "text"),
            vec![place(
                56,
                "text holds no usable private key: no section of it is a PRIVATE KEY in PEM form",
            )],
        ),
        (
            entry("[a.example]", "one.pem", "two.key"),
            vec![place(56, "two.key is not the key of the certificate")],
        ),
    ] {
        assert_eq!(
            folder.faults(&text(std::slice::from_ref(&entry))),
            expected,
            "{entry}"
        );
    }
    let twice = text(&[
        entry("[a.b.example]", "one.pem", "one.key"),
        entry("[\"*.b.example\"]", "two.pem", "two.key"),
    ]);
    assert_eq!(
        folder.faults(&twice),
        ["interceptor.yaml:4:16: another certificate is for some of the same hosts"]
    );
}
