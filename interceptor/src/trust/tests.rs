use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mkdirat, mknodat, renameat_with};
use tempfile::TempDir;

use super::*;

const ROOTS: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
const DEBIAN: &str = "etc/ssl/certs/ca-certificates.crt";

fn anchor() -> Anchor {
    Anchor {
        pem: "-----BEGIN CERTIFICATE-----\nBAUG\n-----END CERTIFICATE-----\n".into(),
        fingerprint: "aa".into(),
    }
}

/// A folder with a container's files in `root`, and what belongs to others beside it.
struct Image(TempDir);

impl Image {
    fn new() -> Self {
        let image = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(image.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(image.root()).unwrap();
        image
    }

    /// With a bundle where Debian has it.
    fn debian() -> Self {
        let image = Self::new();
        image.put(DEBIAN, ROOTS);
        image
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A process that sees `root` and nothing else, after `mounts` in its mount namespace.
    fn inhabit(&self, mounts: &str) -> Inhabitant {
        let root = self.root();
        let script = format!("set -e; cd '{}'; {mounts}; exec {PERL}", root.display());
        Inhabitant::start(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", &script])
                .arg("sh")
                .arg(&root),
        )
    }

    /// What becomes of the bundles of a process that sees this.
    fn install(&self) -> Vec<(String, String)> {
        let inhabitant = self.inhabit("true");
        told(&apply(&inhabitant.view().unwrap(), Change::Install(&anchor())).unwrap())
    }
}

/// Enters the directory that it is given and waits to be killed.
const PERL: &str =
    r#"perl -e '$| = 1; chroot($ARGV[0]) or die $!; chdir "/"; print "in\n"; sleep 600' "$1""#;

struct Inhabitant(Child);

impl Inhabitant {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let inhabitant = Self(child);
        assert_eq!(line, "in\n");
        inhabitant
    }

    fn view(&self) -> Result<FileView, FileViewError> {
        FileView::of_process(self.0.id())
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Paths, and what is said of them.
fn told(outcomes: &[Outcome]) -> Vec<(String, String)> {
    outcomes
        .iter()
        .map(|one| {
            let said = one.became.describe(Change::Install(&anchor()));
            (one.path.clone(), said)
        })
        .collect()
}

fn one(path: &str, said: &str) -> Vec<(String, String)> {
    vec![(format!("/{path}"), said.into())]
}

#[test]
fn kernel_every_known_bundle_trusts_our_ca_once_and_is_as_before_without_it() {
    let image = Image::new();
    for place in &PLACES {
        image.put(place.path().trim_start_matches('/'), ROOTS);
    }
    fs::set_permissions(image.at(DEBIAN), fs::Permissions::from_mode(0o640)).unwrap();
    let inhabitant = image.inhabit("true");
    let view = inhabitant.view().unwrap();
    let ours = anchor();
    let became = |change| {
        let outcomes = apply(&view, change).unwrap();
        let all: Vec<_> = outcomes
            .iter()
            .map(|one| one.became.describe(change))
            .collect();
        assert_eq!(all.len(), PLACES.len());
        assert!(all.iter().all(|said| *said == all[0]), "{all:?}");
        all[0].clone()
    };
    assert_eq!(became(Change::Install(&ours)), "trusts our CA now");
    for place in &PLACES {
        let text = fs::read_to_string(image.at(place.path().trim_start_matches('/'))).unwrap();
        assert!(
            text.starts_with(ROOTS) && text.contains(&ours.pem),
            "{text}"
        );
    }
    let mode = fs::metadata(image.at(DEBIAN)).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let inode = fs::metadata(image.at(DEBIAN)).unwrap().ino();
    assert_eq!(became(Change::Install(&ours)), "trusts our CA already");
    assert_eq!(fs::metadata(image.at(DEBIAN)).unwrap().ino(), inode);
    assert_eq!(became(Change::Uninstall), "does not trust our CA any more");
    assert_eq!(became(Change::Uninstall), "has nothing of ours");
    for place in &PLACES {
        let path = image.at(place.path().trim_start_matches('/'));
        assert_eq!(fs::read_to_string(&path).unwrap(), ROOTS);
        // Nothing unfinished is left.
        assert!(fs::read_dir(path.parent().unwrap()).unwrap().count() <= 2);
    }
}

#[test]
fn kernel_links_out_of_the_container_lead_nowhere() {
    let image = Image::new();
    let host = image.beside("host.crt");
    fs::write(&host, ROOTS).unwrap();
    // In place of the bundle, whether absolute or upwards.
    fs::create_dir_all(image.at("etc/ssl/certs")).unwrap();
    symlink(&host, image.at(DEBIAN)).unwrap();
    fs::create_dir_all(image.at("etc/openshell-tls")).unwrap();
    let upwards = "../../../host.crt";
    symlink(upwards, image.at("etc/openshell-tls/ca-bundle.pem")).unwrap();
    assert_eq!(
        image.install(),
        [
            one(DEBIAN, "is a link"),
            one("etc/openshell-tls/ca-bundle.pem", "is a link")
        ]
        .concat()
    );
    // In place of directories.
    fs::remove_dir_all(image.at("etc")).unwrap();
    fs::create_dir_all(image.at("etc/ssl")).unwrap();
    let outside = image.beside("certs");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("ca-certificates.crt"), ROOTS).unwrap();
    fs::write(outside.join("ca-bundle.pem"), ROOTS).unwrap();
    symlink("../../../certs", image.at("etc/ssl/certs")).unwrap();
    symlink(&outside, image.at("etc/openshell-tls")).unwrap();
    let links = ["openshell-ca.pem", "ca-bundle.pem"];
    let links = links.map(|name| one(&format!("etc/openshell-tls/{name}"), "is a link"));
    assert_eq!(image.install(), links.concat());
    for file in [
        host,
        outside.join("ca-certificates.crt"),
        outside.join("ca-bundle.pem"),
    ] {
        assert_eq!(fs::read_to_string(file).unwrap(), ROOTS);
    }
    // A link that stays inside is followed.
    fs::remove_file(image.at("etc/ssl/certs")).unwrap();
    fs::remove_file(image.at("etc/openshell-tls")).unwrap();
    image.put("usr/share/certs/ca-certificates.crt", ROOTS);
    symlink("/usr/share/certs", image.at("etc/ssl/certs")).unwrap();
    assert_eq!(image.install(), one(DEBIAN, "trusts our CA now"));
}

#[test]
fn kernel_what_is_no_bundle_is_refused_at_once() {
    let started = Instant::now();
    for (prepare, said) in [
        (
            (|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()) as fn(&Path),
            "is not a regular file",
        ),
        (
            // /dev/zero
            |path| {
                let zero = rustix::fs::makedev(1, 5);
                mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, zero).unwrap();
            },
            "is not a regular file",
        ),
        (
            |path| mkdirat(CWD, path, Mode::RWXU).unwrap(),
            "is not a regular file",
        ),
        (
            |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            "is larger than 4 MiB",
        ),
        (
            |path| fs::write(path, "secrets").unwrap(),
            "holds no certificates",
        ),
        (
            |path| {
                fs::write(path, ROOTS).unwrap();
                chown(path, Some(1000), None).unwrap();
            },
            "does not belong to the container's root",
        ),
        (
            |path| {
                fs::write(path, ROOTS).unwrap();
                chown(path.parent().unwrap(), Some(1000), None).unwrap();
            },
            "does not belong to the container's root",
        ),
    ] {
        let image = Image::new();
        fs::create_dir_all(image.at("etc/ssl/certs")).unwrap();
        prepare(&image.at(DEBIAN));
        assert_eq!(image.install(), one(DEBIAN, said));
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn kernel_a_hard_link_is_cut_rather_than_written_through() {
    let image = Image::debian();
    let other = image.beside("other.crt");
    fs::hard_link(image.at(DEBIAN), &other).unwrap();
    assert_eq!(image.install(), one(DEBIAN, "trusts our CA now"));
    assert_eq!(fs::read_to_string(other).unwrap(), ROOTS);
}

#[test]
fn kernel_what_is_mounted_from_elsewhere_is_left_alone_but_for_the_volume_of_openshell() {
    let image = Image::debian();
    image.put("etc/pki/tls/certs/ca-bundle.crt", ROOTS);
    fs::create_dir(image.at("etc/openshell-tls")).unwrap();
    let shared = image.beside("shared");
    fs::create_dir(&shared).unwrap();
    for name in ["ca-certificates.crt", "ca-bundle.pem"] {
        fs::write(shared.join(name), ROOTS).unwrap();
    }
    let inhabitant = image.inhabit(
        "mount --bind ../shared etc/ssl/certs; \
         mount --bind ../shared/ca-bundle.pem etc/pki/tls/certs/ca-bundle.crt; \
         mount -t tmpfs none etc/openshell-tls; cp ../shared/ca-bundle.pem etc/openshell-tls/",
    );
    let outcomes = apply(&inhabitant.view().unwrap(), Change::Install(&anchor())).unwrap();
    let mounted = "is mounted from elsewhere: change it at its source";
    let expected = [
        one(DEBIAN, mounted),
        one("etc/pki/tls/certs/ca-bundle.crt", mounted),
        one("etc/openshell-tls/ca-bundle.pem", "trusts our CA now"),
    ];
    assert_eq!(told(&outcomes), expected.concat());
    for name in ["ca-certificates.crt", "ca-bundle.pem"] {
        assert_eq!(fs::read_to_string(shared.join(name)).unwrap(), ROOTS);
    }
}

#[test]
fn kernel_a_read_only_container_is_said_to_be_one() {
    let image = Image::debian();
    let inhabitant = image.inhabit("mount --bind . .; mount -o remount,ro,bind .; cd .");
    let view = inhabitant.view().unwrap();
    let outcomes = apply(&view, Change::Install(&anchor())).unwrap();
    let said = "is on a read-only file system: put our CA into the image, or mount it";
    assert_eq!(told(&outcomes), one(DEBIAN, said));
}

#[test]
fn kernel_a_directory_that_is_swapped_all_the_time_never_leads_outside() {
    let image = Image::debian();
    let outside = image.beside("certs");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("ca-certificates.crt"), ROOTS).unwrap();
    symlink("../../../certs", image.at("etc/ssl/trap")).unwrap();
    let inhabitant = image.inhabit("true");
    let view = inhabitant.view().unwrap();
    let ours = anchor();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (certs, trap) = (image.at("etc/ssl/certs"), image.at("etc/ssl/trap"));
            let started = Instant::now();
            while !stop.load(Ordering::Relaxed) && started.elapsed() < Duration::from_secs(30) {
                renameat_with(CWD, &certs, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut changed = 0;
        for round in 0..400 {
            let change = [Change::Install(&ours), Change::Uninstall][round % 2];
            let outcomes = apply(&view, change).unwrap();
            let done = |one: &Outcome| matches!(one.became, Became::Changed);
            changed += u32::from(outcomes.iter().any(done));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(changed > 0, "the directory was never seen");
    });
    let text = fs::read_to_string(outside.join("ca-certificates.crt")).unwrap();
    assert_eq!(text, ROOTS);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn kernel_a_process_with_the_hosts_files_in_its_own_mount_namespace_is_refused() {
    let inhabitant = Inhabitant::start(
        Command::new("unshare")
            .args(["--mount", "perl", "-e"])
            .arg(r#"$| = 1; print "in\n"; sleep 600"#),
    );
    let error = inhabitant.view().unwrap_err();
    assert!(matches!(error, FileViewError::Host(_)), "{error}");
}

#[test]
fn kernel_in_a_user_namespace_only_what_its_root_may_change_is_changed() {
    let image = Image::debian();
    image.put("etc/openshell-tls/ca-bundle.pem", ROOTS);
    for path in ["etc/ssl/certs", DEBIAN] {
        chown(image.at(path), Some(100_000), Some(100_000)).unwrap();
    }
    let root = image.root();
    let confined = |by: &[&str]| {
        let script = format!("exec {PERL}");
        let mut command = Command::new(by[0]);
        command.args(&by[1..]);
        command.args([
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
        ]);
        Inhabitant::start(command.args([&script, "sh"]).arg(&root))
    };
    let drop_to = [
        "setpriv",
        "--reuid=100000",
        "--regid=100000",
        "--clear-groups",
    ];
    let inhabitant = confined(&drop_to);
    let outcomes = apply(&inhabitant.view().unwrap(), Change::Install(&anchor())).unwrap();
    let expected = [
        one(DEBIAN, "trusts our CA now"),
        one(
            "etc/openshell-tls/ca-bundle.pem",
            "does not belong to the container's root",
        ),
    ];
    assert_eq!(told(&outcomes), expected.concat());
    assert_eq!(fs::metadata(image.at(DEBIAN)).unwrap().uid(), 100_000);

    // One that root here made without giving anything up.
    let error = confined(&["env"]).view().unwrap_err();
    assert!(matches!(error, FileViewError::NoRoot(_)), "{error}");
}

#[test]
fn kernel_processes_that_see_the_same_files_are_one() {
    let image = Image::debian();
    let inhabitant = image.inhabit("true");
    let pids = [
        inhabitant.0.id(),
        inhabitant.0.id(),
        std::process::id(),
        u32::MAX / 2,
    ];
    let (views, errors) = views(&pids);
    assert_eq!(views.len(), 1);
    assert_eq!(errors.len(), 1, "{errors:?}");
}
