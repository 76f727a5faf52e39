use proptest::prelude::*;

use super::*;

fn endpoint(host: &str, port: u16, handling: Handling) -> Endpoint {
    Endpoint {
        rule: format!("r/{host}:{port}").into(),
        target: Target::Named(host.parse().unwrap()),
        port,
        handling,
        requests: Requests::by_access(Access::Full),
        binaries: Binaries::Any,
        enforcement: Enforcement::Audit,
        redact: true,
        upgrades: Vec::new(),
        allowed_ips: Vec::new(),
    }
}

fn policy(endpoints: &[Endpoint]) -> Policy {
    Policy::new(endpoints.iter().cloned().map(Arc::new))
}

fn nobody() -> Caller {
    Caller::default()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

/// The rule that decides.
fn rule(policy: &Policy, name: &str, port: u16) -> Option<String> {
    match policy.decide(&host(name), port, &nobody()) {
        Verdict::Deny(Denial::Host { .. } | Denial::Port { .. } | Denial::Binary { .. }) => None,
        Verdict::Deny(Denial::Unsupported { rule, .. }) => Some(rule.into()),
        Verdict::Tunnel(endpoint) | Verdict::Intercept(endpoint) | Verdict::Tcp(endpoint) => {
            Some(endpoint.rule.to_string())
        }
    }
}

#[test]
fn nothing_is_allowed_by_default() {
    let denial = Policy::default().decide(&host("example.com"), 443, &nobody());
    let Verdict::Deny(denial) = denial else {
        panic!("allowed");
    };
    assert_eq!(denial.to_string(), "no rule for example.com:443");
    assert!(!Policy::default().knows(&host("example.com")));
}

#[test]
fn host_and_port_stand_in_one_endpoint() {
    let policy = policy(&[
        endpoint("a.example.com", 443, Handling::Intercept),
        endpoint("b.example.com", 80, Handling::Intercept),
    ]);
    assert!(rule(&policy, "A.Example.Com", 443).is_some());
    assert_eq!(
        policy.decide(&host("a.example.com"), 80, &nobody()),
        Verdict::Deny(Denial::Port {
            host: host("a.example.com"),
            port: 80
        })
    );
}

#[test]
fn the_most_specific_pattern_decides() {
    let patterns = [
        "**.example.com",
        "*.example.com",
        "gw-*.example.com",
        "**.eu.example.com",
        "gw-1.example.com",
    ];
    let endpoints = patterns.map(|pattern| endpoint(pattern, 443, Handling::Intercept));
    let mut reversed = endpoints.clone();
    reversed.reverse();
    for policy in [policy(&endpoints), policy(&reversed)] {
        for (name, expected) in [
            ("gw-1.example.com", "gw-1.example.com"),
            ("gw-2.example.com", "gw-*.example.com"),
            ("x.example.com", "*.example.com"),
            ("a.b.example.com", "**.example.com"),
            ("a.eu.example.com", "**.eu.example.com"),
        ] {
            let found = rule(&policy, name, 443);
            assert_eq!(found, Some(format!("r/{expected}:443")), "{name}");
        }
    }
}

#[test]
fn a_specific_endpoint_at_another_port_hides_nothing() {
    let policy = policy(&[
        endpoint("gw.example.com", 8443, Handling::Intercept),
        endpoint("*.example.com", 443, Handling::Tunnel),
    ]);
    assert_eq!(
        rule(&policy, "gw.example.com", 443).as_deref(),
        Some("r/*.example.com:443")
    );
}

#[test]
fn among_equals_the_safest_decides() {
    let ordered = [
        Handling::Unsupported(Protocol::Mcp),
        Handling::Tunnel,
        Handling::Intercept,
        Handling::Tcp,
    ];
    for (index, safer) in ordered.iter().enumerate() {
        for laxer in &ordered[index..] {
            let one = endpoint("a.example", 443, *safer);
            let other = endpoint("a.example", 443, *laxer);
            for policy in [policy(&[one.clone(), other.clone()]), policy(&[other, one])] {
                assert_eq!(policy.endpoints()[0].handling, *safer);
            }
        }
    }
    let strict = Endpoint {
        enforcement: Enforcement::Enforce,
        ..endpoint("a.example", 443, Handling::Intercept)
    };
    let lax = endpoint("a.example", 443, Handling::Intercept);
    assert_eq!(
        policy(&[lax, strict]).endpoints()[0].enforcement,
        Enforcement::Enforce
    );
}

/// What becomes of a request to `a.example`.
fn judge(endpoints: &[Endpoint], method: &str, target: &str) -> Judgement {
    let view = RequestView::new(method, target);
    policy(endpoints).judge(&host("a.example"), 443, &nobody(), &view)
}

fn allowing(host: &str, rules: &[(&str, &str)], enforcement: Enforcement) -> Endpoint {
    let rule = |(method, path): &(&str, &str)| Rule {
        method: Some((*method).into()),
        path: path.parse().unwrap(),
        query: Vec::new(),
    };
    Endpoint {
        requests: Requests {
            allow: Allow::Rules(rules.iter().map(rule).collect()),
            ..Requests::by_access(Access::Full)
        },
        enforcement,
        ..endpoint(host, 443, Handling::Intercept)
    }
}

#[test]
fn a_request_is_allowed_by_one_endpoint_and_denied_by_one() {
    let reading = allowing("a.example", &[("GET", "/a/**")], Enforcement::Enforce);
    let writing = allowing("*.example.org", &[("POST", "/**")], Enforcement::Enforce);
    let wide = Endpoint {
        target: Target::Named("a.example".parse().unwrap()),
        rule: "w/a.example:443".into(),
        ..writing
    };
    let mut denying = allowing("a.example", &[("GET", "/none")], Enforcement::Enforce);
    denying.requests.deny = vec![Rule {
        method: None,
        path: "/a/secret".parse().unwrap(),
        query: Vec::new(),
    }];
    let endpoints = [reading, wide, denying];
    for (method, target, allowed) in [
        ("GET", "/a/x", true),
        ("POST", "/b", true),
        ("GET", "/b", false),
        ("GET", "/a/secret", false),
        ("POST", "/a/secret", false),
        ("GET", "/a/../b", false),
    ] {
        let judgement = judge(&endpoints, method, target);
        assert_eq!(judgement == Judgement::Allow, allowed, "{method} {target}");
        assert_eq!(matches!(judgement, Judgement::Deny(_)), !allowed);
    }
}

#[test]
fn what_one_endpoint_enforces_is_enforced_and_audit_lets_through() {
    let audited = || allowing("a.example", &[("GET", "/**")], Enforcement::Audit);
    let enforced = || allowing("a.example", &[("PUT", "/**")], Enforcement::Enforce);
    assert!(matches!(
        judge(&[audited()], "POST", "/"),
        Judgement::Audit(_)
    ));
    for endpoints in [[audited(), enforced()], [enforced(), audited()]] {
        assert!(matches!(judge(&endpoints, "POST", "/"), Judgement::Deny(_)));
        assert_eq!(judge(&endpoints, "GET", "/"), Judgement::Allow);
    }
    let mut denying = audited();
    denying.requests.deny = vec![Rule {
        method: Some("POST".into()),
        path: "/**".parse().unwrap(),
        query: Vec::new(),
    }];
    let endpoints = [denying, enforced()];
    assert!(matches!(judge(&endpoints, "POST", "/"), Judgement::Deny(_)));
    assert!(matches!(
        judge(&endpoints[..1], "POST", "/"),
        Judgement::Audit(_)
    ));
}

#[test]
fn an_endpoint_that_opens_no_tls_speaks_of_plain_requests_where_it_decides() {
    let judge = |endpoints: &[Endpoint]| {
        let view = RequestView::new("POST", "/x");
        policy(endpoints).judge(&host("a.x.example"), 80, &nobody(), &view)
    };
    let reading = |handling| Endpoint {
        handling,
        port: 80,
        ..allowing("a.x.example", &[("GET", "/**")], Enforcement::Enforce)
    };
    for handling in [Handling::Tunnel, Handling::Tcp] {
        let open = endpoint("a.x.example", 80, handling);
        assert_eq!(judge(&[open]), Judgement::Allow);
        assert!(matches!(judge(&[reading(handling)]), Judgement::Deny(_)));
        let wide = endpoint("*.x.example", 80, handling);
        let judgement = judge(&[wide, reading(Handling::Intercept)]);
        assert!(matches!(judgement, Judgement::Deny(_)));
    }
    let unsupported = endpoint("a.x.example", 80, Handling::Unsupported(Protocol::Sql));
    assert!(matches!(judge(&[unsupported]), Judgement::Deny(_)));
}

#[test]
fn a_path_that_no_endpoint_is_about_is_denied() {
    let mut scoped = allowing("a.example", &[("GET", "/**")], Enforcement::Audit);
    scoped.requests.scope = Some("/v1/**".parse().unwrap());
    assert_eq!(judge(&[scoped.clone()], "GET", "/v1/x"), Judgement::Allow);
    assert!(matches!(
        judge(&[scoped], "GET", "/v2/x"),
        Judgement::Deny(_)
    ));
}

#[test]
fn an_endpoint_does_not_exist_for_a_program_that_it_leaves_out() {
    let only = |path: &str, handling| Endpoint {
        binaries: Binaries::Listed(vec![path.parse().unwrap()]),
        ..endpoint("a.example", 443, handling)
    };
    let policy = policy(&[
        only("/usr/bin/node", Handling::Intercept),
        only("/usr/bin/curl", Handling::Tunnel),
    ]);
    let caller = |path: &str| Caller {
        executables: vec![path.as_bytes().into()],
    };
    let decide = |caller: &Caller| policy.decide(&host("a.example"), 443, caller);
    assert!(matches!(
        decide(&caller("/usr/bin/node")),
        Verdict::Intercept(_)
    ));
    assert!(matches!(
        decide(&caller("/usr/bin/curl")),
        Verdict::Tunnel(_)
    ));
    for stranger in [caller("/usr/bin/wget"), nobody()] {
        assert!(matches!(
            decide(&stranger),
            Verdict::Deny(Denial::Binary { .. })
        ));
    }
    assert!(policy.knows(&host("a.example")) && policy.asks_for_the_caller());
    let view = RequestView::new("GET", "/");
    let judged = policy.judge(&host("a.example"), 443, &caller("/usr/bin/wget"), &view);
    assert!(matches!(judged, Judgement::Deny(_)));
}

#[test]
fn dns_knows_what_some_port_allows() {
    let policy = policy(&[
        endpoint("a.example.com", 443, Handling::Intercept),
        endpoint("db.example.com", 5432, Handling::Tcp),
        endpoint("mcp.example.com", 443, Handling::Unsupported(Protocol::Mcp)),
        endpoint("*.example.com", 443, Handling::Intercept),
    ]);
    for (name, expected) in [
        ("a.example.com", true),
        ("db.example.com", true),
        ("x.example.com", true),
        ("mcp.example.com", false),
        ("example.com", false),
    ] {
        assert_eq!(policy.knows(&host(name)), expected, "{name}");
    }
    assert!(
        policy
            .tcp(&host("db.example.com"), 5432, &nobody())
            .is_some()
    );
    assert!(policy.tcp(&host("a.example.com"), 443, &nobody()).is_none());
}

#[test]
fn access_is_a_set_of_methods() {
    let allows = |access, method: &str| {
        let says = Requests::by_access(access).say(&RequestView::new(method, "/"));
        says == Says::Allowed
    };
    for (method, read_only, read_write) in [
        ("GET", true, true),
        ("HEAD", true, true),
        ("OPTIONS", true, true),
        ("POST", false, true),
        ("PUT", false, true),
        ("PATCH", false, true),
        ("WEBSOCKET_TEXT", false, true),
        ("DELETE", false, false),
        ("get", false, false),
        ("", false, false),
    ] {
        assert_eq!(allows(Access::ReadOnly, method), read_only, "{method}");
        assert_eq!(allows(Access::ReadWrite, method), read_write, "{method}");
        assert!(allows(Access::Full, method), "{method}");
    }
}

#[test]
fn addresses_are_allowed_by_list_and_by_reach() {
    let open = endpoint("a.example", 443, Handling::Intercept);
    let listed = Endpoint {
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "2000::/3".parse().unwrap()],
        ..open.clone()
    };
    for (address, by_open, by_listed) in [
        ("1.1.1.1", true, false),
        ("2606:4700::1", true, true),
        ("10.1.2.3", false, true),
        ("::ffff:10.1.2.3", false, true),
        ("192.168.1.1", false, false),
        // 6to4 for 192.168.1.1: the prefix that lists the outside does not open the inside.
        ("2002:c0a8:101::1", false, false),
        ("64:ff9b::a01:203", false, true),
        ("127.0.0.1", false, false),
        ("169.254.169.254", false, false),
        ("::1", false, false),
    ] {
        let parsed = address.parse().unwrap();
        assert_eq!(open.allows_address(parsed), by_open, "{address}");
        assert_eq!(listed.allows_address(parsed), by_listed, "{address}");
    }
}

#[test]
fn a_port_is_named_whatever_becomes_of_its_endpoint() {
    let policy = policy(&[
        endpoint("a.x.example", 443, Handling::Tunnel),
        endpoint("b.x.example", 25, Handling::Unsupported(Protocol::Sql)),
    ]);
    let named = [443, 25, 22].map(|port| policy.names_port(port));
    assert_eq!(named, [true, true, false]);
}

proptest! {
    #[test]
    fn order_of_declaration_does_not_change_who_decides(
        mut picks in proptest::collection::vec(
            (0..5usize, 0..4usize, prop_oneof![Just(443u16), Just(80)]), 0..8),
        name in prop_oneof![Just("a.x.example"), Just("b.a.x.example"), Just("x.example")],
    ) {
        const PATTERNS: [&str; 5] = ["a.x.example", "*.x.example", "**.x.example", "a*.x.example", "*.a.x.example"];
        const HANDLINGS: [Handling; 4] = [
            Handling::Unsupported(Protocol::Sql), Handling::Tunnel, Handling::Intercept, Handling::Tcp,
        ];
        let make = |picks: &[(usize, usize, u16)]| {
            policy(&picks
                .iter()
                .map(|(pattern, handling, port)| endpoint(PATTERNS[*pattern], *port, HANDLINGS[*handling]))
                .collect::<Vec<_>>())
        };
        let forward = make(&picks).decide(&host(name), 443, &nobody());
        picks.reverse();
        prop_assert_eq!(&forward, &make(&picks).decide(&host(name), 443, &nobody()));
        // Oracle: denied exactly if no pattern matches at the port, or the deciding one is unsupported.
        let named = picks.iter().any(|(pattern, _, port)| {
            *port == 443 && PATTERNS[*pattern].parse::<HostPattern>().unwrap().matches(&host(name))
        });
        let unnamed = matches!(forward, Verdict::Deny(Denial::Host { .. } | Denial::Port { .. }));
        prop_assert_eq!(named, !unnamed);
    }
}
