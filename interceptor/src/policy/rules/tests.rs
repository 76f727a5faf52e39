use super::*;

fn rule(method: &str, path: &str, query: &[(&str, &[&str])]) -> Rule {
    Rule {
        method: (method != "*").then(|| method.into()),
        path: path.parse().unwrap(),
        query: query
            .iter()
            .map(|(name, globs)| {
                let globs = globs.iter().map(|glob| glob.parse().unwrap());
                ((*name).into(), globs.collect())
            })
            .collect(),
    }
}

fn requests(allow: Vec<Rule>, deny: Vec<Rule>) -> Requests {
    Requests {
        allow: Allow::Rules(allow),
        deny,
        ..Requests::by_access(Access::Full)
    }
}

fn say(requests: &Requests, method: &str, target: &str) -> Says {
    requests.say(&RequestView::new(method, target))
}

#[test]
fn a_rule_allows_its_method_and_path() {
    let requests = requests(
        vec![rule("GET", "/api/**", &[]), rule("POST", "/api/*", &[])],
        Vec::new(),
    );
    for (method, target, expected) in [
        ("GET", "/api/a/b?c=d", Says::Allowed),
        ("HEAD", "/api/a", Says::Allowed),
        ("get", "/api/a", Says::Allowed),
        ("POST", "/api/a", Says::Allowed),
        ("POST", "/api/a/b", Says::NotAllowed),
        ("PUT", "/api/a", Says::NotAllowed),
        ("GET", "/", Says::NotAllowed),
        ("GET", "/api//a", Says::Allowed),
        ("GET", "//x/api/a", Says::Ambiguous(Ambiguity::Host)),
        ("GET", "/%61pi/a", Says::Allowed),
        ("GET", "/api/../etc", Says::Ambiguous(Ambiguity::Dots)),
        (
            "GET",
            "/api/a%2Fb",
            Says::Ambiguous(Ambiguity::EncodedSlash),
        ),
    ] {
        assert_eq!(
            say(&requests, method, target),
            expected,
            "{method} {target}"
        );
    }
}

#[test]
fn a_denial_wins_over_everything() {
    let open = Requests {
        deny: vec![rule("DELETE", "**", &[]), rule("*", "/admin/**", &[])],
        ..Requests::by_access(Access::Full)
    };
    for (method, target, expected) in [
        ("GET", "/x", Says::Allowed),
        ("DELETE", "/x", Says::Denied(1)),
        ("delete", "/x", Says::Denied(1)),
        ("GET", "/admin/x", Says::Denied(2)),
        ("GET", "/%61dmin//x", Says::Denied(2)),
        ("GET", "/admin/x;y", Says::Denied(2)),
        ("GET", "//x/admin/y", Says::Ambiguous(Ambiguity::Host)),
        ("GET", "/x/../admin/x", Says::Ambiguous(Ambiguity::Dots)),
    ] {
        assert_eq!(say(&open, method, target), expected, "{method} {target}");
    }
    let ends = Requests {
        deny: vec![rule("*", "/users/delete", &[]), rule("*", "/logs/", &[])],
        ..Requests::by_access(Access::Full)
    };
    for (target, expected) in [
        ("/users/delete", Says::Denied(1)),
        ("/users/delete/", Says::Denied(1)),
        ("/logs", Says::Denied(2)),
        ("/logs/x", Says::Allowed),
        ("/", Says::Allowed),
    ] {
        assert_eq!(say(&ends, "POST", target), expected, "{target}");
    }
    let slashed = Requests {
        encoded_slash: true,
        ..ends
    };
    for (target, expected) in [
        ("/users%2Fdelete", Says::Denied(1)),
        ("/users%2fdelete%2F", Says::Denied(1)),
        ("/users/%2F%2Fdelete", Says::Denied(1)),
        ("/users%2F/delete", Says::Denied(1)),
        ("/users%2F..%2Fx", Says::Ambiguous(Ambiguity::Dots)),
        ("/users%2Fx", Says::Allowed),
    ] {
        assert_eq!(say(&slashed, "POST", target), expected, "{target}");
    }
    let denied_reads = requests(vec![rule("*", "**", &[])], vec![rule("GET", "/s", &[])]);
    assert_eq!(say(&denied_reads, "HEAD", "/s"), Says::Denied(1));
}

#[test]
fn a_query_is_allowed_by_all_its_values_and_denied_by_one() {
    let query: &[(&str, &[&str])] = &[("force", &["true", "y*"])];
    let allowing = requests(vec![rule("GET", "**", query)], Vec::new());
    let denying = requests(vec![rule("*", "**", &[])], vec![rule("GET", "**", query)]);
    for (target, allowed, denied) in [
        ("/?force=true", true, true),
        ("/?force=yes&other=1", true, true),
        ("/?f%6Frce=tr%75e", true, true),
        ("/?force=true&force=false", false, true),
        ("/?force=false", false, false),
        ("/?other=1", false, false),
        ("/", false, false),
    ] {
        let says = say(&allowing, "GET", target);
        assert_eq!(says == Says::Allowed, allowed, "{target}");
        let says = say(&denying, "GET", target);
        assert_eq!(says == Says::Denied(1), denied, "{target}");
    }
    for requests in [allowing, denying] {
        let says = say(&requests, "GET", "/?a=1;force=true");
        assert_eq!(says, Says::Ambiguous(Ambiguity::Semicolon));
    }
}

#[test]
fn where_paths_do_not_matter_none_is_too_odd() {
    let open = Requests::by_access(Access::Full);
    let by_method = requests(vec![rule("GET", "/**", &[])], Vec::new());
    for requests in [open, by_method] {
        for target in ["/../x", "/a%2Fb", "/%", "/a\\b", "/?a;b"] {
            assert_eq!(say(&requests, "GET", target), Says::Allowed, "{target}");
        }
    }
}

#[test]
fn an_endpoint_says_nothing_of_other_paths() {
    let scoped = Requests {
        scope: Some("/v1/**".parse().unwrap()),
        encoded_slash: true,
        ..Requests::by_access(Access::ReadOnly)
    };
    for (method, target, expected) in [
        ("GET", "/v1/x", Says::Allowed),
        ("POST", "/v1/x", Says::NotAllowed),
        ("GET", "/v2/x", Says::Nothing),
        ("GET", "/v1/a%2Fb", Says::Allowed),
        ("GET", "/v1%2Fb", Says::Nothing),
        ("GET", "/v2/../v1/x", Says::Ambiguous(Ambiguity::Dots)),
    ] {
        assert_eq!(say(&scoped, method, target), expected, "{method} {target}");
    }
}

#[test]
fn a_query_that_is_read_in_two_ways_is_no_matter_where_an_endpoint_says_nothing() {
    let scoped = Requests {
        scope: Some("/v1/**".parse().unwrap()),
        ..requests(vec![rule("GET", "**", &[("a", &["1"])])], Vec::new())
    };
    assert_eq!(say(&scoped, "GET", "/v2/x?b;c"), Says::Nothing);
    let ambiguous = Says::Ambiguous(Ambiguity::Semicolon);
    assert_eq!(say(&scoped, "GET", "/v1/x?b;c"), ambiguous);
}
