//! Files that are not what they should be, for a moment or for good: told at the place that names them, and never waited
//! for.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// What may stand in a file's place, and how that is told.
const INSTEAD: [(&str, &str); 6] = [
    ("gone", "cannot be read: No such file or directory"),
    ("folder", "is not a regular file"),
    ("fifo", "is not a regular file"),
    ("loop", "cannot be read: Too many levels of symbolic links"),
    ("dangling", "cannot be read: No such file or directory"),
    ("huge", "is larger than"),
];

fn put(what: &str, path: &Path) {
    fs::remove_file(path).unwrap();
    match what {
        "gone" => {}
        "folder" => fs::create_dir(path).unwrap(),
        "fifo" => mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        "loop" => symlink(path, path).unwrap(),
        "dangling" => symlink("nowhere", path).unwrap(),
        "huge" => fs::write(path, vec![b'x'; 5 << 20]).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_stands_in_a_files_place_is_told_where_it_is_named() {
    for (file, place) in [
        ("interceptor.yaml", "interceptor.yaml:1:1"),
        ("token", "interceptor.yaml:3:11"),
        ("policy.yaml", "interceptor.yaml:15:16"),
    ] {
        for (what, told) in INSTEAD {
            let folder = Folder::new();
            fs::write(folder.path("interceptor.yaml"), GOOD).unwrap();
            put(what, &folder.path(file));
            let faults = load(&folder.path("interceptor.yaml")).unwrap_err();
            let faults = faults.to_string();
            let first = faults.lines().next().unwrap();
            assert!(
                first.contains(place) && first.contains(told),
                "{what} for {file}: {faults}"
            );
        }
    }
}

#[test]
fn what_is_cut_off_within_a_line_of_it_is_no_configuration() {
    let folder = Folder::new();
    for (cut, told) in [
        ("", "the file is empty"),
        ("    from: { file: to", "not YAML"),
        ("    policies: [policy.ya", "not YAML"),
        ("    udp: [{ address: 10.0.0.1, port", "not YAML"),
    ] {
        let end = GOOD.find(cut).unwrap() + cut.len();
        let faults = folder.load(&GOOD[..end]).unwrap_err().to_string();
        assert!(faults.contains(told), "{cut}: {faults}");
    }
}

#[test]
fn a_secret_that_is_named_twice_is_a_fault() {
    let folder = Folder::new();
    let twice = "secrets:\n  A: { from: { file: token }, profile: discord }\n  A: { from: { file: token }, profile: \
                 slack }\n";
    let faults = folder.load(twice).unwrap_err().to_string();
    assert!(faults.contains("interceptor.yaml:3:3"), "{faults}");
}
