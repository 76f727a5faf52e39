//! Good files, damaged at random.

use proptest::prelude::*;

use super::*;

/// One change to a text, at a place given as a fraction of its length.
#[derive(Clone, Debug)]
enum Mutation {
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            ":",
            " ",
            "\n",
            "  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "\"",
            "'",
            "#",
            "&a ",
            "*a",
            "!t ",
            "|",
            ">",
            "?",
            ",",
            "\t",
            "---\n",
            "...\n",
            "%",
            "@",
            "`",
            "\u{feff}",
            "\r",
            "\0",
            "é",
            "<<",
            "~",
            "*",
            ".",
            "/",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), 1..20usize)
            .prop_map(|(at, length)| Mutation::Cut(at, length)),
        (any::<prop::sample::Index>(), piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(a, b)| Mutation::Swap(a, b)),
        any::<prop::sample::Index>().prop_map(Mutation::Repeat),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for mutation in mutations {
        let length = chars.len() + 1;
        match mutation {
            Mutation::Cut(at, count) => {
                let at = at.index(length);
                let end = (at + count).min(chars.len());
                chars.drain(at..end);
            }
            Mutation::Insert(at, piece) => {
                let at = at.index(length);
                chars.splice(at..at, piece.chars());
            }
            Mutation::Swap(a, b) if !chars.is_empty() => {
                let (a, b) = (a.index(chars.len()), b.index(chars.len()));
                chars.swap(a, b);
            }
            Mutation::Swap(..) => {}
            Mutation::Repeat(at) => {
                let at = at.index(length);
                let tail: Vec<char> = chars[at..].iter().take(40).copied().collect();
                chars.splice(at..at, tail);
            }
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_load_or_tell_why_not(
        in_config in proptest::collection::vec(mutation(), 0..4),
        in_policy in proptest::collection::vec(mutation(), 0..4),
    ) {
        let folder = Folder::new();
        folder.write("policy.yaml", &mutate(POLICY, &in_policy), 0o644);
        match folder.load(&mutate(GOOD, &in_config)) {
            Ok(snapshot) => prop_assert!(snapshot.reports().iter().all(|report| report.line > 0)),
            Err(Faults(faults)) => {
                prop_assert!(!faults.is_empty());
                for fault in &faults {
                    prop_assert!(fault.line > 0 && fault.column > 0, "{fault}");
                    prop_assert!(!fault.message.contains(['\n', '\r', '\0']), "{fault}");
                    prop_assert!(!fault.to_string().contains(TOKEN), "{fault}");
                }
            }
        }
    }

    #[test]
    fn mutated_files_never_open_a_host_that_no_file_names(
        in_policy in proptest::collection::vec(mutation(), 1..5),
    ) {
        let folder = Folder::new();
        folder.write("policy.yaml", &mutate(POLICY, &in_policy), 0o644);
        let text = "sandboxes: [ { name: a, policies: [policy.yaml] } ]\n";
        if let Ok(snapshot) = folder.load(text) {
            let policy = &snapshot.sandbox("a").unwrap().policy;
            prop_assert!(!policy.knows(&host("evil.example")));
        }
    }
}
