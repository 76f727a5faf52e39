//! The rooms of the library import downwards only, in the order of ARCHITECTURE.md.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The names in the first column of the table of rooms, from the top.
fn order() -> Vec<String> {
    let text = fs::read_to_string("../ARCHITECTURE.md").unwrap();
    let (_, rooms) = text.split_once("\n## Rooms\n").unwrap();
    rooms
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .filter(|name| name != "main.rs")
        .collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Rooms that a source names: `crate::room` anywhere, and what stands first in each part of `use crate::{…}`.
fn imports(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let Some((_, rest)) = source.split_at(at).1.split_once("crate::") else {
            continue;
        };
        let word = |text: &str| {
            let text = text.trim_start();
            let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
            text.split_at(end.unwrap_or(text.len())).0.to_owned()
        };
        let Some(list) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0;
        found.push(word(list));
        for (at, byte) in list.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 0 => break,
                b'}' => depth -= 1,
                b',' if depth == 0 => found.push(word(list.split_at(at + 1).1)),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn rooms_import_downwards_in_the_order_of_the_architecture() {
    let order = order();
    let place = |room: &str| order.iter().position(|name| name == room);
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut missing = Vec::new();
    for file in files {
        let first = file.iter().nth(1).unwrap().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        // Not part of the program.
        if matches!(room, "main" | "lib" | "fuzzing") {
            continue;
        }
        let Some(from) = place(room) else {
            missing.push(format!("{room} is not among the rooms"));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            if let Some(to) = place(&import)
                && to < from
            {
                missing.push(format!("{}: {room} imports {import}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
