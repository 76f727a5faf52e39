mod presets;

use super::*;
use crate::{
    policy::{
        Access, Allow, Caller, Denial, Enforcement, Handling, Judgement, Policy, Protocol,
        RequestView, Verdict,
    },
    yaml::{self, Faults, Level, Report},
};

fn findings_of(text: &str) -> (Vec<Declared>, Result<Vec<Report>, Faults>) {
    let mut findings = Findings::default();
    let declared = yaml::parse("p.yaml", text, &mut findings)
        .map(|root| read(&root, "micky", &mut findings))
        .unwrap_or_default();
    (declared, findings.finish())
}

fn loaded(text: &str) -> (Policy, Vec<Report>) {
    let (declared, reports) = findings_of(text);
    let policy = Policy::new(declared.into_iter().map(|one| one.endpoint));
    (policy, reports.unwrap())
}

fn faults(text: &str) -> Vec<String> {
    let (_, result) = findings_of(text);
    let Faults(faults) = result.unwrap_err();
    faults
        .iter()
        .map(|fault| format!("{}:{}: {}", fault.line, fault.column, fault.message))
        .collect()
}

/// One endpoint with the given lines, in a rule `r`.
fn endpoint(lines: &str) -> String {
    let mut text = String::from("version: 1\nnetwork_policies:\n  r:\n    endpoints:\n");
    for (index, line) in lines.lines().enumerate() {
        text.push_str(if index == 0 { "      - " } else { "        " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn node() -> Caller {
    Caller {
        executables: vec![b"/usr/bin/node".as_slice().into()],
    }
}

/// Is a request by node allowed?
fn allows(policy: &Policy, host: &str, method: &str, target: &str) -> bool {
    let view = RequestView::new(method, target);
    policy.judge(&host.parse().unwrap(), 443, &node(), &view) == Judgement::Allow
}

fn decide(policy: &Policy, host: &str, port: u16) -> Verdict {
    policy.decide(&host.parse().unwrap(), port, &node())
}

fn warnings(reports: &[Report]) -> Vec<(u32, &str)> {
    reports
        .iter()
        .filter(|report| report.level == Level::Warning)
        .map(|report| (report.line, report.message.as_str()))
        .collect()
}

const SPRING_2026: &str = r#"
preset:
  name: discord
  description: "Bot traffic"

network_policies:
  discord:
    name: discord
    endpoints:
      - host: discord.com
        port: 443
        protocol: rest
        enforcement: enforce
        tls: terminate
        rules:
          - allow: { method: GET, path: "/**" }
          - allow: { method: POST, path: "/**" }
      - host: gateway.discord.gg
        port: 443
        access: full
        tls: skip
      - host: cdn.discordapp.com
        port: 443
        protocol: rest
        enforcement: enforce
        tls: terminate
        rules:
          - allow: { method: GET, path: "/**" }
    binaries:
      - { path: /usr/bin/node }
"#;

#[test]
fn preset_of_spring_2026_tunnels_the_gateway() {
    let (policy, reports) = loaded(SPRING_2026);
    let Verdict::Tunnel(gateway) = decide(&policy, "gateway.discord.gg", 443) else {
        panic!("not a tunnel");
    };
    assert_eq!(&*gateway.rule, "discord/gateway.discord.gg:443");
    let Verdict::Intercept(api) = decide(&policy, "discord.com", 443) else {
        panic!("not intercepted");
    };
    assert_eq!(api.enforcement, Enforcement::Enforce);
    assert_eq!(warnings(&reports), []);
    for (host, method, allowed) in [
        ("discord.com", "POST", true),
        ("discord.com", "DELETE", false),
        ("cdn.discordapp.com", "HEAD", true),
        ("cdn.discordapp.com", "POST", false),
    ] {
        let found = allows(&policy, host, method, "/api/v10/x");
        assert_eq!(found, allowed, "{method} {host}");
    }
    let tunnel = reports.iter().find(|report| report.line == 21).unwrap();
    assert!(tunnel.message.contains("`intercept`"), "{tunnel}");
    assert!(
        reports
            .iter()
            .any(|report| report.line == 14 && report.message.contains("deprecated"))
    );
}

#[test]
fn preset_of_early_2026_without_tls_intercepts_the_gateway() {
    let text = SPRING_2026.replace("        tls: skip\n", "");
    let (policy, _) = loaded(&text);
    assert!(matches!(
        decide(&policy, "gateway.discord.gg", 443),
        Verdict::Intercept(_)
    ));
}

#[test]
fn preset_of_mid_2026_intercepts_gateway_and_resume_hosts() {
    let text = r#"
preset:
  name: discord
  description: "Bot traffic"
network_policies:
  discord:
    name: discord
    endpoints:
      - host: gateway.discord.gg
        port: 443
        protocol: websocket
        enforcement: enforce
        websocket_credential_rewrite: true
        credential_binding: { provider: "{sandboxName}-discord-bridge" }
        rules:
          - allow: { method: GET, path: "/**" }
          - allow: { method: WEBSOCKET_TEXT, path: "/**" }
      - host: "*.discord.gg"
        port: 443
        protocol: websocket
        enforcement: enforce
        websocket_credential_rewrite: true
        rules:
          - allow: { method: "*", path: "/**" }
    binaries:
      - { path: /usr/bin/node }
"#;
    let (policy, reports) = loaded(text);
    for (host, rule) in [
        ("gateway.discord.gg", "discord/gateway.discord.gg:443"),
        ("gateway-us-east1-b.discord.gg", "discord/*.discord.gg:443"),
    ] {
        let Verdict::Intercept(endpoint) = decide(&policy, host, 443) else {
            panic!("{host} is not intercepted");
        };
        assert_eq!(&*endpoint.rule, rule);
    }
    assert_eq!(warnings(&reports), []);
    for (host, method, allowed) in [
        ("gateway.discord.gg", "GET", true),
        ("gateway.discord.gg", "WEBSOCKET_TEXT", true),
        // The wildcard's endpoint speaks of this host too.
        ("gateway.discord.gg", "POST", true),
        ("gateway-us-east1-b.discord.gg", "POST", true),
    ] {
        assert_eq!(
            allows(&policy, host, method, "/?v=10"),
            allowed,
            "{method} {host}"
        );
    }
    let stranger = policy.decide(
        &"gateway.discord.gg".parse().unwrap(),
        443,
        &Caller::default(),
    );
    assert!(matches!(stranger, Verdict::Deny(Denial::Binary { .. })));
    for line in [13, 14] {
        assert!(reports.iter().any(|report| report.line == line), "{line}");
    }
}

#[test]
fn slack_and_telegram_presets_load() {
    let text = r#"
preset: { name: chat, description: "Two bots" }
network_policies:
  slack:
    endpoints:
      - host: slack.com
        port: 443
        protocol: rest
        enforcement: enforce
        request_body_credential_rewrite: true
        rules: [ { allow: { method: "*", path: "/**" } } ]
      - host: wss-primary.slack.com
        port: 443
        protocol: websocket
        websocket_credential_rewrite: true
        rules: [ { allow: { method: GET, path: "/**" } }, { allow: { method: WEBSOCKET_TEXT, path: "/**" } } ]
  telegram:
    endpoints:
      - host: api.telegram.org
        port: 443
        protocol: rest
        enforcement: enforce
        rules:
          - allow: { method: GET, path: "/bot*/**" }
          - allow: { method: POST, path: "/bot*/**" }
          - allow: { method: GET, path: "/file/bot*/**" }
"#;
    let (policy, _) = loaded(text);
    for host in ["slack.com", "wss-primary.slack.com", "api.telegram.org"] {
        assert!(
            matches!(decide(&policy, host, 443), Verdict::Intercept(_)),
            "{host}"
        );
    }
    assert!(matches!(
        decide(&policy, "example.com", 443),
        Verdict::Deny(_)
    ));
    for (method, target, allowed) in [
        ("POST", "/bot1:2/sendMessage", true),
        ("HEAD", "/file/bot1:2/a/b", true),
        ("POST", "/file/bot1:2/a", false),
        ("GET", "/bot1:2", false),
        ("GET", "/other/x", false),
    ] {
        let found = allows(&policy, "api.telegram.org", method, target);
        assert_eq!(found, allowed, "{method} {target}");
    }
}

#[test]
fn full_policy_file_loads_and_every_unenforced_part_is_told() {
    let text = r#"
version: 1
filesystem_policy: { include_workdir: true, read_only: [/usr], read_write: [/tmp] }
landlock: { compatibility: best_effort }
process: { run_as_user: sandbox, run_as_group: sandbox }
network_middlewares: { redact: { middleware: openshell/regex, order: 10 } }
network_policies:
  github:
    endpoints:
      - host: api.github.com
        ports: [443, 8443]
        path: /repos/**
        protocol: rest
        access: read-write
        enforcement: enforce
        allow_encoded_slash: true
        allow_uninspected_credentials: true
        credential_signing: sigv4
        signing_service: s3
        signing_region: us-east-1
        deny_rules:
          - { method: POST, path: "/repos/*/pulls", query: { a: "b*" } }
      - host: api.github.com
        port: 9443
        protocol: graphql
        access: full
        persisted_queries: allow_registered
        graphql_persisted_queries: { abc: { operation_type: query, fields: [viewer] } }
        graphql_max_body_bytes: 65536
      - host: mcp.example.com
        port: 443
        protocol: mcp
        mcp: { max_body_bytes: 1000, strict_tool_names: true, allow_all_known_mcp_methods: true }
        rules: [ { allow: { method: tools/call, tool: { any: [a, b] }, params: { name: x } } } ]
      - host: rpc.example.com
        port: 443
        protocol: json-rpc
        json_rpc: { max_body_bytes: 1000 }
        rules: [ { allow: { method: "*" } } ]
"#;
    let (policy, reports) = loaded(text);
    for port in [443, 8443] {
        let Verdict::Intercept(endpoint) = decide(&policy, "api.github.com", port) else {
            panic!("not intercepted at {port}");
        };
        assert_eq!(endpoint.requests.allow, Allow::Access(Access::ReadWrite));
    }
    assert_eq!(
        decide(&policy, "api.github.com", 9443),
        Verdict::Deny(Denial::Unsupported {
            rule: "github/api.github.com:9443".into(),
            protocol: Protocol::GraphQl
        })
    );
    for host in ["mcp.example.com", "rpc.example.com"] {
        assert!(
            matches!(decide(&policy, host, 443), Verdict::Deny(_)),
            "{host}"
        );
    }
    let warned: Vec<u32> = warnings(&reports).iter().map(|(line, _)| *line).collect();
    assert_eq!(warned, [3, 4, 5, 6, 25, 27, 28, 32, 34, 37, 39]);
    let informed: Vec<u32> = reports
        .iter()
        .filter(|report| report.level == Level::Info)
        .map(|report| report.line)
        .collect();
    assert_eq!(informed, [7, 17, 18, 19, 20, 29, 33, 38]);
}

#[test]
fn bad_endpoints_are_faults_at_their_place() {
    for (lines, expected) in [
        ("port: 443", &["5:9: the key `host` is missing"][..]),
        (
            "host: a.example",
            &["5:9: the key `port` (or `ports`) is missing"],
        ),
        (
            "host: a.example\nport: 443\nports: [80]",
            &["7:16: `port` and `ports` exclude each other"],
        ),
        (
            "host: a.example\nport: 0",
            &["6:15: expected a whole number from 1 to 65535"],
        ),
        (
            "host: a.example\nport: \"443\"",
            &["6:15: expected a whole number, found text"],
        ),
        (
            "host: a.example\nports: [443, 65536, x]",
            &[
                "6:22: expected a whole number from 1 to 65535",
                "6:29: expected a whole number, found text",
            ],
        ),
        ("host: a.example\nports: []", &["6:16: the list is empty"]),
        (
            "host: \"*\"\nport: 443",
            &["5:15: a wildcard alone would match every host: write the domain that it stands in"],
        ),
        (
            "host: a.*.example\nport: 443",
            &[
                "5:15: a wildcard may stand in the first label only, as `*`, `**` or once inside the label",
            ],
        ),
        (
            "host: \"*.com\"\nport: 443",
            &["5:15: a wildcard directly under a top-level domain matches hosts of everybody"],
        ),
        (
            "host: a.example\nport: 443\nprotocol: rset\naccess: full",
            &[
                "7:19: expected one of tcp, rest, websocket, graphql, mcp, json-rpc, sql; did you mean `rest`?",
            ],
        ),
        (
            "host: a.example\nport: 443\ntls: of\nenforcement: no\naccess: none",
            &[
                "7:14: expected one of skip, terminate, passthrough",
                "8:22: expected one of enforce, audit",
                "9:17: expected one of full, read-only, read-write",
            ],
        ),
        (
            "host: a.example\nport: 443\nallowed_ips: [10.0.0.0/8, 10.0.0.1/8, 127.0.0.0/8, x]",
            &[
                "7:35: bits are set after the prefix length",
                "7:47: loopback, link-local, unspecified and multicast addresses are never reached by a name: use \
                 `resolve` in the configuration for one that is meant",
                "7:60: expected an IP address or a prefix such as 10.0.0.0/8",
            ],
        ),
        (
            "host: a.example\nport: 443\nprotocl: rest",
            &["7:9: unknown key `protocl`; did you mean `protocol`?"],
        ),
        (
            "host: a.example\nport: 443\naccess: full\nrules: [ { allow: { method: GET } } ]",
            &["8:9: `access` and `rules` exclude each other"],
        ),
        (
            "host: a.example\nport: 443\nrules: []",
            &["7:16: the list is empty"],
        ),
        (
            "host: a.example\nport: 443\nrules: [ { alow: {} }, { allow: { methd: GET } } ]",
            &[
                "7:18: the key `allow` is missing",
                "7:20: unknown key `alow`; did you mean `allow`?",
                "7:43: unknown key `methd`; did you mean `method`?",
            ],
        ),
        (
            "host: a.example\nport: 443\nprotocol: tcp\naccess: full",
            &["5:9: protocol tcp is not read, so it takes no `access`, `rules` or `deny_rules`"],
        ),
        (
            "host: a.example\nport: 443\ndeny_rules: [ { method: GET, path: / } ]",
            &["5:9: `deny_rules` need a `protocol`"],
        ),
        (
            "host: a.example\nport: 443\nwebsocket_credential_rewrite: yes\nmcp: { max: 1 }",
            &[
                "7:39: expected true or false, found text",
                "8:16: unknown key `max`; known here: max_body_bytes, strict_tool_names, allow_all_known_mcp_methods",
            ],
        ),
    ] {
        assert_eq!(faults(&endpoint(lines)), expected, "{lines}");
    }
}

#[test]
fn bad_files_are_faults_at_their_place() {
    for (text, expected) in [
        (
            "network_policies: {}\n",
            &["1:1: neither `version: 1` (OpenShell) nor `preset` (NemoClaw): not a policy file"][..],
        ),
        (
            "version: 2\n",
            &["1:10: expected a whole number from 1 to 1"],
        ),
        (
            "version: 1\nnetwork_policy: {}\n",
            &["2:1: unknown key `network_policy`; did you mean `network_policies`?"],
        ),
        ("[]\n", &["1:1: expected a mapping, found a list"]),
        (
            "version: 1\nnetwork_policies: []\n",
            &["2:19: expected a mapping, found a list"],
        ),
        (
            "version: 1\nnetwork_policies:\n  r:\n    endpoint: []\n    binaries: [{ pth: /a }]\n",
            &[
                "4:5: unknown key `endpoint`; did you mean `endpoints`?",
                "5:16: the key `path` is missing",
                "5:18: unknown key `pth`; did you mean `path`?",
            ],
        ),
        (
            "preset: discord\nprocess: { run_as: x }\n",
            &[
                "1:9: expected a mapping, found text",
                "2:12: unknown key `run_as`; known here: run_as_user, run_as_group",
            ],
        ),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
}

#[test]
fn handling_follows_protocol_and_tls() {
    for (lines, expected) in [
        ("", Handling::Intercept),
        ("access: full", Handling::Intercept),
        ("tls: terminate", Handling::Intercept),
        ("tls: passthrough", Handling::Intercept),
        ("tls: skip", Handling::Tunnel),
        ("protocol: rest\naccess: full", Handling::Intercept),
        ("protocol: rest\naccess: full\ntls: skip", Handling::Tunnel),
        ("protocol: websocket\naccess: full", Handling::Intercept),
        ("protocol: tcp", Handling::Tcp),
        ("protocol: tcp\ntls: skip", Handling::Tcp),
        (
            "protocol: sql\naccess: full",
            Handling::Unsupported(Protocol::Sql),
        ),
    ] {
        let (policy, _) = loaded(&endpoint(&format!("host: a.example\nport: 443\n{lines}")));
        assert_eq!(policy.endpoints()[0].handling, expected, "{lines}");
    }
}

#[test]
fn restrictions_that_cannot_hold_are_warned_of() {
    for (lines, expected) in [
        ("access: read-only", Some("logged and let through")),
        (
            "access: read-only\nenforcement: audit",
            Some("logged and let through"),
        ),
        ("access: read-only\nenforcement: enforce", None),
        ("access: full", None),
        ("access: read-only\ntls: skip", Some("requests in a tunnel")),
        ("protocol: rest", Some("every request is allowed")),
        (
            "protocol: websocket\nrules: [ { allow: { method: '*', path: '**' } } ]",
            None,
        ),
        ("tls: passthrough", Some("without effect")),
        (
            "protocol: sql\naccess: full",
            Some("the endpoint is denied"),
        ),
    ] {
        let (_, reports) = loaded(&endpoint(&format!("host: a.example\nport: 443\n{lines}")));
        let found = warnings(&reports);
        match expected {
            None => assert_eq!(found, [], "{lines}"),
            Some(part) => {
                assert!(
                    found.len() == 1 && found[0].1.contains(part),
                    "{lines}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn endpoints_without_a_name_are_raw_tcp_or_nothing() {
    let (policy, reports) = loaded(&endpoint(
        "allowed_ips: [10.1.0.0/16]\nport: 5432\nprotocol: tcp",
    ));
    assert_eq!(warnings(&reports), []);
    let endpoint_at = |ip: &str, port| policy.tcp_address(ip.parse().unwrap(), port, &node());
    assert_eq!(
        &*endpoint_at("10.1.2.3", 5432).unwrap().rule,
        "r/10.1.0.0/16:5432"
    );
    assert!(endpoint_at("10.2.0.1", 5432).is_none());
    assert!(endpoint_at("10.1.2.3", 5433).is_none());

    let (policy, _) = loaded(&endpoint("host: 10.1.2.3\nport: 5432\nprotocol: tcp"));
    assert!(
        policy
            .tcp_address("10.1.2.3".parse().unwrap(), 5432, &node())
            .is_some()
    );

    let (policy, reports) = loaded(&endpoint("host: 10.1.2.3\nport: 443"));
    assert!(
        policy
            .tcp_address("10.1.2.3".parse().unwrap(), 443, &node())
            .is_none()
    );
    assert_eq!(
        warnings(&reports),
        [(
            5,
            "an endpoint without a host name is supported with `protocol: tcp` only: denied"
        )]
    );
    assert_eq!(
        faults(&endpoint("host: 127.0.0.1\nport: 443")).len(),
        1,
        "loopback is not opened by a policy"
    );
}

#[test]
fn an_empty_list_of_binaries_is_warned_of_and_a_bad_one_is_a_fault() {
    let policy = |binaries: &str| {
        format!("version: 1\nnetwork_policies: {{ r: {{ binaries: [ {binaries} ] }} }}\n")
    };
    for (binaries, warned) in [("{ path: /usr/bin/** }", false), ("", true)] {
        let (_, reports) = loaded(&policy(binaries));
        assert_eq!(!warnings(&reports).is_empty(), warned, "{binaries}");
    }
    assert_eq!(
        faults(&policy("{ harness: true }, { path: '/[*' }")),
        [
            "2:38: the key `path` is missing",
            "2:65: a `[` or `{` of the glob is not closed, or its class is empty"
        ]
    );
}

#[test]
fn rules_that_cannot_be_told_of_a_request_allow_nothing_and_deny_everything() {
    let (policy, reports) = loaded(&endpoint(
        "host: a.example\nport: 443\nprotocol: rest\nenforcement: enforce\n\
         rules: [ { allow: { method: GET } }, { allow: { method: POST, path: /x, operation_type: query } } ]",
    ));
    assert_eq!(warnings(&reports).len(), 2, "{reports:?}");
    assert!(!allows(&policy, "a.example", "GET", "/x"));
    assert!(!allows(&policy, "a.example", "POST", "/x"));

    let (policy, reports) = loaded(&endpoint(
        "host: a.example\nport: 443\nprotocol: rest\nenforcement: enforce\naccess: full\n\
         deny_rules: [ { method: POST, path: /x, operation_type: query }, { path: /y } ]",
    ));
    assert_eq!(warnings(&reports).len(), 2, "{reports:?}");
    assert!(!allows(&policy, "a.example", "POST", "/x"));
    assert!(!allows(&policy, "a.example", "GET", "/y"));
    assert!(allows(&policy, "a.example", "GET", "/x"));
}

#[test]
fn queries_are_written_in_three_ways() {
    let (policy, _) = loaded(&endpoint(
        "host: a.example\nport: 443\nprotocol: rest\nenforcement: enforce\n\
         rules: [ { allow: { method: GET, path: /x, query: { a: '1*', b: { glob: '2' }, c: { any: [x, y] } } } } ]",
    ));
    assert!(allows(&policy, "a.example", "GET", "/x?a=10&b=2&c=y&d=z"));
    assert!(!allows(&policy, "a.example", "GET", "/x?a=10&b=2&c=z"));
    assert!(!allows(&policy, "a.example", "GET", "/x?a=10&b=2"));
}

#[test]
fn sandbox_name_fills_hosts_too() {
    let (policy, _) = loaded(&endpoint("host: \"{sandboxName}.example.com\"\nport: 443"));
    assert!(policy.knows(&"micky.example.com".parse().unwrap()));
}

#[test]
fn a_path_that_matches_nothing_is_warned_of() {
    for (path, warned) in [
        ("/x", 0),
        ("'**'", 0),
        ("'{/x,/y}'", 0),
        ("x/**", 1),
        ("'*'", 1),
    ] {
        let (_, reports) = loaded(&endpoint(&format!(
            "host: a.example\nport: 443\nprotocol: rest\nenforcement: enforce\naccess: full\n\
             deny_rules: [ {{ method: GET, path: {path} }} ]",
        )));
        assert_eq!(warnings(&reports).len(), warned, "{path}: {reports:?}");
    }
}
