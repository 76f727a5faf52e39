use std::{fmt::Write as _, fs};

use super::*;

/// Decodes a text with `decode` and shows what was found, one `line:column: message` each.
fn faults(text: &str, decode: impl FnOnce(&Node, &mut Findings)) -> Vec<String> {
    let mut findings = Findings::default();
    if let Some(root) = parse("f", text, &mut findings) {
        decode(&root, &mut findings);
    }
    match findings.finish() {
        Ok(_) => Vec::new(),
        Err(Faults(faults)) => faults
            .iter()
            .map(|fault| fault.to_string().replacen("f:", "", 1))
            .collect(),
    }
}

fn parse_only(_: &Node, _: &mut Findings) {}

#[test]
fn syntax_errors_have_their_place() {
    for (text, place) in [
        ("a: [1, 2\nb: 3\n", "2:2: not YAML: "),
        ("a: b: c\n", "1:5: not YAML: "),
        ("a: 1\n b: 2\n", "2:3: not YAML: "),
        ("a:\n\tb: 1\n", "2:2: not YAML: "),
        ("a: \"x\n", "1:4: not YAML: "),
        ("a: *unknown\n", "1:4: not YAML: "),
    ] {
        let faults = faults(text, parse_only);
        assert_eq!(faults.len(), 1, "{text:?}: {faults:?}");
        assert!(faults[0].starts_with(place), "{text:?}: {faults:?}");
    }
}

#[test]
fn empty_files_are_faults() {
    for text in [
        "",
        "\n\n",
        "# nothing\n",
        "---\n",
        "--- \n...\n",
        "\u{feff}",
    ] {
        assert_eq!(
            faults(text, parse_only),
            ["1:1: the file is empty"],
            "{text:?}"
        );
    }
}

#[test]
fn what_yaml_allows_and_we_do_not_is_told() {
    for (text, expected) in [
        (
            "a: 1\n---\nb: 2\n",
            "2:1: a second document begins: the file may hold one",
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            "3:1: the same key stands in line 1 already",
        ),
        ("a: !!str 1\n", "1:4: tags are not supported"),
        ("{[a]: 1}\n", "1:2: a key has to be text"),
        (
            "a: &x [*x]\n",
            "1:8: the alias stands inside its own anchor",
        ),
    ] {
        assert_eq!(faults(text, parse_only), [expected], "{text:?}");
    }
}

#[test]
fn aliases_stand_for_their_anchors() {
    let texts = |root: &Node, findings: &mut Findings| {
        let mut fields = root.fields(findings).unwrap();
        let copy = fields.take("b").unwrap();
        assert_eq!((copy.at.line, copy.at.column), (2, 4));
        let items = copy.list(findings).unwrap();
        assert_eq!(items[1].text(findings), Some("y"));
        fields.take("a");
        fields.finish(findings);
    };
    assert_eq!(faults("a: &l [x, y]\nb: *l\n", texts), [] as [&str; 0]);
}

#[test]
fn alias_bombs_end_at_the_bound() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let found = faults(&bomb, parse_only);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with("the file has more than 50000 nodes"),
        "{found:?}"
    );

    let mut ladder = String::from("a0: &a0 [x]\n");
    for level in 1..200 {
        writeln!(ladder, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    let found = faults(&ladder, parse_only);
    assert_eq!(found, ["64:12: nested deeper than 64 levels"]);
}

#[test]
fn nesting_is_bounded() {
    for text in [
        "[".repeat(100_000),
        "- ".repeat(100_000),
        "{a: ".repeat(100_000),
    ] {
        let found = faults(&text, parse_only);
        assert_eq!(found.len(), 1);
        // The scanner has a bound of its own for brackets.
        assert!(
            found[0].contains("nested deeper than 64 levels")
                || found[0].contains("recursion limit exceeded"),
            "{found:?}"
        );
    }
}

#[test]
fn types_are_those_of_the_core_schema() {
    for (value, expected) in [
        ("x", None),
        ("yes", None),
        ("1.2.3.4", None),
        ("127.0.0.1:8443", None),
        ("'1'", None),
        ("|\n    1\n", None),
        ("-", Some("expected text, found a list")),
        ("1", Some("expected text, found a number: put it in quotes")),
        (
            "-1.5e3",
            Some("expected text, found a number: put it in quotes"),
        ),
        (
            "0x1f",
            Some("expected text, found a number: put it in quotes"),
        ),
        (
            ".inf",
            Some("expected text, found a number: put it in quotes"),
        ),
        (
            "True",
            Some("expected text, found true or false: put it in quotes"),
        ),
        ("", Some("expected text, found nothing")),
        ("~", Some("expected text, found nothing")),
        ("[]", Some("expected text, found a list")),
        ("{}", Some("expected text, found a mapping")),
    ] {
        let text = format!("k: {value}\n");
        let text = if value == "-" {
            String::from("k:\n  - x\n")
        } else {
            text
        };
        let found = faults(&text, |root, findings| {
            let mut fields = root.fields(findings).unwrap();
            fields.take("k").unwrap().text(findings);
        });
        let found = found
            .first()
            .and_then(|line| line.splitn(3, ':').nth(2))
            .map(str::trim);
        assert_eq!(found, expected, "{value:?}");
    }
}

#[test]
fn all_faults_of_a_file_come_out_sorted_by_place() {
    let text = "\
prot: rest
port: 70000
list: {}
word: tru
extra: 1
flag: 1
";
    let found = faults(text, |root, findings| {
        let mut fields = root.fields(findings).unwrap();
        let port = fields.take("port").unwrap();
        let list = fields.take("list").unwrap();
        let word = fields.take("word").unwrap();
        let flag = fields.take("flag").unwrap();
        fields.take("protocol");
        fields.require("name", findings);
        fields.finish(findings);
        flag.boolean(findings);
        word.choice(&[("true", 1), ("false", 2)], findings);
        list.list(findings);
        port.port(findings);
    });
    assert_eq!(
        found,
        [
            "1:1: the key `name` is missing",
            "1:1: unknown key `prot`; did you mean `port`?",
            "2:7: expected a whole number from 1 to 65535",
            "3:7: expected a list, found a mapping",
            "4:7: expected one of true, false; did you mean `true`?",
            "5:1: unknown key `extra`; known here: port, list, word, flag, protocol, name",
            "6:7: expected true or false, found a number",
        ]
    );
}

#[test]
fn columns_count_characters() {
    let found = faults("ä: {ö: 1, ü}\n", |root, findings| {
        let entries = root.entries(findings).unwrap();
        entries[0].value.fields(findings).unwrap().finish(findings);
    });
    let places: Vec<_> = found.iter().map(|line| &line[..4]).collect();
    assert_eq!(places, ["1:5:", "1:11"]);
}

#[test]
fn templates_are_filled_in_texts_only() {
    let mut findings = Findings::default();
    let root = parse("f", "'{n}': 'a-{n}-b'\nl: ['{n}']\n", &mut findings).unwrap();
    let filled = root.filled("{n}", "micky");
    let entries = filled.entries(&mut findings).unwrap();
    assert_eq!(&*entries[0].key, "{n}");
    assert_eq!(entries[0].value.text(&mut findings), Some("a-micky-b"));
    let list = entries[1].value.list(&mut findings).unwrap();
    assert_eq!(list[0].text(&mut findings), Some("micky"));
}

#[test]
fn files_that_cannot_be_read_are_faults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let found = |contents: Option<&[u8]>| {
        if let Some(contents) = contents {
            fs::write(&path, contents).unwrap();
        }
        let mut findings = Findings::default();
        assert!(load(&path, None, &mut findings).is_none());
        let Faults(faults) = findings.finish().unwrap_err();
        assert_eq!(faults.len(), 1);
        let fault = &faults[0];
        assert_eq!(*fault.file, *path);
        format!("{}:{}: {}", fault.line, fault.column, fault.message)
    };
    assert!(found(None).ends_with("cannot be read: No such file or directory (os error 2)"));
    assert!(found(Some(&[b' '; MAX_FILE + 1])).ends_with("is larger than 1048576 bytes"));
    assert_eq!(
        found(Some("a: 1\nä: \u{e4}".as_bytes().split_last().unwrap().1)),
        "2:4: not UTF-8"
    );
    assert_eq!(found(Some(b"\xff")), "1:1: not UTF-8");
}
