mod faults;
mod mutation;
mod sources;
mod upstream;

use crate::dns::resolver::Override;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use tempfile::TempDir;

use super::*;
use crate::{
    address::Host,
    policy::{
        Caller, Handling, Verdict,
        binding::{Guard, GuardValue, JsonField, Surface, Unbound},
    },
    secrets::SecretName,
    yaml::Level,
};

const TOKEN: &str = "MTE4NzQ.Gx0k3q.secret-value";

const POLICY: &str = "\
version: 1
network_policies:
  discord:
    endpoints:
      - { host: discord.com, port: 443, protocol: rest, access: full }
      - { host: gateway.discord.gg, port: 443, access: full, tls: skip }
";

const GOOD: &str = "\
secrets:
  DISCORD_BOT_TOKEN:
    from: { file: token }
    profile: discord
    bindings:
      - hosts: [api.example.com, \"*.eu.example.com\"]
        header: X-Token
  OTHER:
    from: { env: CARGO_PKG_NAME }
    bindings:
      - hosts: [gw.example.com]
        websocket.json: { op: 2, path: /d/a~1b }
sandboxes:
  - name: micky
    policies: [policy.yaml]
    secrets: [DISCORD_BOT_TOKEN]
    match: { cgroup: /sys/fs/cgroup/micky }
    intercept: [gateway.discord.gg]
    udp: [{ address: 10.0.0.1, port: 123 }]
    exempt:
      destinations: [{ address: \"fd00::2\", port: 5432 }]
      processes: [{ netns: host, uid: 0 }, { netns: /run/netns/proxy, uid: 990 }]
  - name: empty
resolve:
  gateway.discord.gg: 127.0.0.1:8443
  api.example.com: [10.1.2.3, \"[fd00::1]:8443\"]
ca: { certificate: ca.pem, key: ca.key }
upstream: { roots: [ca.pem] }
dns: { servers: [\"127.0.0.1:5353\", 10.0.0.53] }
";

/// A certificate and its key, in PEM form.
static CA: LazyLock<(String, String)> = LazyLock::new(|| {
    let certified = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    (certified.cert.pem(), certified.signing_key.serialize_pem())
});

/// A folder with the files that [`GOOD`] names.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("token", &format!("{TOKEN}\n"), 0o600);
        folder.write("policy.yaml", POLICY, 0o644);
        let (certificate, key) = &*CA;
        folder.write("ca.pem", certificate, 0o644);
        folder.write("ca.key", key, 0o600);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: &str, mode: u32) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self, text: &str) -> Result<Snapshot, Faults> {
        self.write("interceptor.yaml", text, 0o644);
        load(&self.path("interceptor.yaml"))
    }

    /// The faults of a text, without the folder's name.
    fn faults(&self, text: &str) -> Vec<String> {
        let shown = self.load(text).unwrap_err().to_string();
        assert!(!shown.contains(TOKEN), "{shown}");
        let folder = format!("{}/", self.0.path().display());
        shown
            .replace(&folder, "")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn secret(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

#[test]
fn upgrades_are_allowed_for_a_host_in_the_words_of_its_policy() {
    let folder = Folder::new();
    let named = "intercept: [gateway.discord.gg]";
    let with =
        |upgrades: &str| GOOD.replace(named, &format!("{named}\n    upgrades: [{upgrades}]"));
    let snapshot = folder
        .load(&with(
            "{ host: gateway.discord.gg, protocols: [tcp, SPDY/3.1] }",
        ))
        .unwrap();
    let policy = &snapshot.sandbox("micky").unwrap().policy;
    for endpoint in policy.endpoints() {
        let named = endpoint.names(&host("gateway.discord.gg"));
        assert_eq!(endpoint.upgrades.len(), if named { 2 } else { 0 });
    }
    for (upgrades, fault) in [
        (
            "{ host: elsewhere.example, protocols: [tcp] }",
            "no policy of the sandbox has an endpoint with this very host that is intercepted",
        ),
        (
            "{ host: gateway.discord.gg, protocols: [websocket] }",
            "websocket needs no mention here, and h2c cannot be allowed",
        ),
        (
            "{ host: gateway.discord.gg, protocols: [\"a b\"] }",
            "expected a protocol as the Upgrade header spells it, such as tcp or SPDY/3.1",
        ),
    ] {
        let faults = folder.faults(&with(upgrades));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].ends_with(fault), "{faults:?}");
    }
}

#[test]
fn unredacted_hosts_get_back_what_a_server_repeats() {
    let folder = Folder::new();
    let redacts = |snapshot: &Snapshot| {
        let policy = &snapshot.sandbox("micky").unwrap().policy;
        let endpoints = policy.endpoints().iter();
        let gateway = endpoints.filter(|one| one.names(&host("gateway.discord.gg")));
        gateway.map(|one| one.redact).collect::<Vec<_>>()
    };
    assert_eq!(redacts(&folder.load(GOOD).unwrap()), [true]);
    let named = "intercept: [gateway.discord.gg]";
    let text = GOOD.replace(
        named,
        &format!("{named}\n    unredacted: [gateway.discord.gg]"),
    );
    assert_eq!(redacts(&folder.load(&text).unwrap()), [false]);
    let text = GOOD.replace(
        named,
        &format!("{named}\n    unredacted: [elsewhere.example]"),
    );
    let faults = folder.faults(&text);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].ends_with(
            ": no policy of the sandbox has an endpoint with this very host that is intercepted"
        ),
        "{faults:?}"
    );
}

#[test]
fn good_file_means_what_it_says() {
    let folder = Folder::new();
    let snapshot = folder.load(GOOD).unwrap();

    let micky = snapshot.sandbox("micky").unwrap();
    assert_eq!(micky.secrets, [secret("DISCORD_BOT_TOKEN")]);
    assert_eq!(
        micky.match_cgroup.as_deref(),
        Some(Path::new("/sys/fs/cgroup/micky"))
    );
    let process = |netns, uid| ExemptProcess { netns, uid };
    assert_eq!(
        micky.exemptions,
        Exemptions {
            udp: vec!["10.0.0.1:123".parse().unwrap()],
            tcp: vec!["[fd00::2]:5432".parse().unwrap()],
            processes: vec![
                process(NetnsPlace::Host, 0),
                process(NetnsPlace::Path("/run/netns/proxy".into()), 990),
            ],
        }
    );
    let names: Vec<_> = snapshot.sandboxes().map(|rules| &*rules.name).collect();
    assert_eq!(names, ["empty", "micky"]);
    assert!(snapshot.sandbox("nobody").is_none());
    assert!(snapshot.has_secret(&secret("OTHER")));

    let address = |ip: &str, port| Override {
        ip: ip.parse().unwrap(),
        port,
    };
    assert_eq!(
        snapshot.resolve()[&host("gateway.discord.gg")],
        [address("127.0.0.1", Some(8443))]
    );
    assert_eq!(
        snapshot.resolve()[&host("api.example.com")],
        [address("10.1.2.3", None), address("fd00::1", Some(8443))]
    );
    assert!(!snapshot.resolve().contains_key(&host("discord.com")));
    let servers = ["127.0.0.1:5353", "10.0.0.53:53"].map(|text| text.parse().unwrap());
    assert_eq!(snapshot.name_servers(), servers);
    let ca = snapshot.ca().unwrap();
    assert_eq!(
        (&ca.certificate, &ca.key),
        (&folder.path("ca.pem"), &folder.path("ca.key"))
    );
    assert_eq!(snapshot.extra_roots(), [folder.path("ca.pem")]);
}

#[test]
fn secrets_are_selected_by_host_with_their_surfaces() {
    let snapshot = Folder::new().load(GOOD).unwrap();
    let names = [
        secret("DISCORD_BOT_TOKEN"),
        secret("OTHER"),
        secret("UNKNOWN"),
    ];
    let bound = |name: &str| {
        let (here, elsewhere) = snapshot.bound(names.iter(), &host(name));
        let here: Vec<_> = here
            .into_iter()
            .map(|bound| (bound.name.as_str().to_owned(), bound.surfaces))
            .collect();
        let elsewhere: Vec<_> = elsewhere
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect();
        (here, elsewhere)
    };
    let header = |name: &str| Surface::Header(name.into());
    let (token, other) = (String::from("DISCORD_BOT_TOKEN"), String::from("OTHER"));
    for (name, surface) in [
        ("discord.com", "authorization"),
        ("api.example.com", "x-token"),
        ("a.eu.example.com", "x-token"),
    ] {
        let expected = (
            vec![(token.clone(), vec![header(surface)])],
            vec![other.clone()],
        );
        assert_eq!(bound(name), expected, "{name}");
    }
    // Two patterns of the profile name the gateway, with one surface.
    let (here, _) = bound("gateway.discord.gg");
    assert_eq!(here[0].1.len(), 1);
    let (here, elsewhere) = bound("gw.example.com");
    let Surface::WebSocketJson(field) = &here[0].1[0] else {
        panic!("not a field");
    };
    assert_eq!(field.path, ["d".into(), "a/b".into()]);
    assert_eq!(field.guard.as_ref().unwrap().values, [2.into()]);
    assert_eq!(elsewhere, std::slice::from_ref(&token));
    assert_eq!(bound("example.com"), (Vec::new(), vec![token, other]));
}

#[test]
fn tunnel_is_opened_by_an_explicit_override_only() {
    let folder = Folder::new();
    let gateway = host("gateway.discord.gg");
    let opened = folder.load(GOOD).unwrap();
    let policy = &opened.sandbox("micky").unwrap().policy;
    assert!(matches!(
        policy.decide(&gateway, 443, &Caller::default()),
        Verdict::Intercept(_)
    ));
    assert!(opened.reports().iter().any(|report| {
        report.level == Level::Warning && report.message.contains("is overridden by `intercept`")
    }));

    let shut = folder
        .load(&GOOD.replace("    intercept: [gateway.discord.gg]\n", ""))
        .unwrap();
    let policy = &shut.sandbox("micky").unwrap().policy;
    assert!(matches!(
        policy.decide(&gateway, 443, &Caller::default()),
        Verdict::Tunnel(_)
    ));
    assert!(shut.reports().iter().any(|report| {
        report.file.ends_with("policy.yaml")
            && report.line == 6
            && report.message.contains("list the host under `intercept`")
    }));
}

#[test]
fn limits_events_and_metrics_are_read_and_have_defaults() {
    let folder = Folder::new();
    let plain = folder.load(GOOD).unwrap();
    assert_eq!(plain.sandbox("micky").unwrap().limits, Limits::default());
    assert_eq!((plain.events_file(), plain.metrics()), (None, None));
    let more = GOOD.replace(
        "  - name: empty\n",
        "  - name: empty\n    limits: { connections: 10, connects_per_second: 5 }\n",
    ) + "events: { file: log/events }\nmetrics: { listen: \"[::1]:9464\" }\n";
    let snapshot = folder.load(&more).unwrap();
    assert_eq!(
        snapshot.sandbox("empty").unwrap().limits,
        Limits {
            connections: 10,
            connects_per_second: 5,
            ..Limits::default()
        }
    );
    let file = snapshot.events_file().unwrap();
    assert!(
        file.is_absolute() && file.ends_with("log/events"),
        "{file:?}"
    );
    assert_eq!(snapshot.metrics(), Some("[::1]:9464".parse().unwrap()));
    for (line, fault) in [
        ("limits: { connections: 0 }", "from 1 to 1000000"),
        ("limits: { handshake: 1 }", "did you mean `handshakes`?"),
    ] {
        let text = GOOD.replace(
            "  - name: empty\n",
            &format!("  - name: empty\n    {line}\n"),
        );
        let faults = folder.load(&text).unwrap_err().to_string();
        assert!(faults.contains(fault), "{faults}");
    }
    let faults = folder.load(&format!("{GOOD}metrics: {{ listen: localhost:9464 }}\n"));
    let faults = faults.unwrap_err().to_string();
    assert!(faults.contains("127.0.0.1:9464"), "{faults}");
}

#[test]
fn each_endpoint_is_reported_with_what_becomes_of_it() {
    let snapshot = Folder::new().load(GOOD).unwrap();
    let lines: Vec<String> = snapshot.reports().iter().map(ToString::to_string).collect();
    for expected in [
        "policy.yaml:5:9: info: sandbox micky, discord/discord.com:443: intercept + rewrite (DISCORD_BOT_TOKEN)",
        "policy.yaml:6:9: info: sandbox micky, discord/gateway.discord.gg:443: intercept + rewrite (DISCORD_BOT_TOKEN)",
        "interceptor.yaml:23:5: warning: sandbox empty has no policy that allows anything: all its traffic is denied",
    ] {
        assert!(
            lines.iter().any(|line| line.ends_with(expected)),
            "{expected}\n{lines:#?}"
        );
    }
}

#[test]
fn secret_that_no_host_of_the_sandbox_takes_is_warned_of() {
    let folder = Folder::new();
    let text = "\
secrets:
  GATEWAY:
    from: { file: token }
    bindings: [ { hosts: [gateway.discord.gg], websocket.json: { path: /token } } ]
sandboxes: [ { name: a, policies: [policy.yaml], secrets: [GATEWAY] } ]
";
    let snapshot = folder.load(text).unwrap();
    let warned = snapshot
        .reports()
        .iter()
        .find(|report| report.file.ends_with("interceptor.yaml"))
        .unwrap();
    assert_eq!(
        (warned.line, warned.column, warned.level),
        (5, 60, Level::Warning)
    );
    assert!(
        warned.message.starts_with("GATEWAY can never be put in"),
        "{warned}"
    );
}

#[test]
fn readable_secret_files_and_keys_are_warned_of() {
    let folder = Folder::new();
    folder.write("token", "a\"b", 0o644);
    folder.write("ca.key", "key", 0o640);
    let snapshot = folder.load(GOOD).unwrap();
    let warned: Vec<_> = snapshot
        .reports()
        .iter()
        .filter(|report| report.file.ends_with("interceptor.yaml"))
        .map(|report| {
            (
                report.line,
                report.column,
                report.message.split(':').next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        warned,
        [
            (3, 11, "the secret has fewer than 8 bytes"),
            (3, 11, "the secret is no plain JSON text"),
            (
                3,
                11,
                "the secret's file can be read by its group or by everybody"
            ),
            (23, 5, "sandbox empty has no policy that allows anything"),
            (
                27,
                33,
                "the CA's key can be read by its group or by everybody"
            ),
        ]
    );
}

#[test]
fn conflicting_endpoints_are_warned_of() {
    let folder = Folder::new();
    folder.write(
        "second.yaml",
        "version: 1\nnetwork_policies:\n  more:\n    endpoints: [ { host: gateway.discord.gg, port: 443 } ]\n",
        0o644,
    );
    let snapshot = folder
        .load("sandboxes: [ { name: a, policies: [policy.yaml, second.yaml] } ]\n")
        .unwrap();
    let warned: Vec<_> = snapshot
        .reports()
        .iter()
        .filter(|report| report.level == Level::Warning)
        .map(|report| (report.line, report.message.as_str()))
        .collect();
    assert_eq!(
        warned,
        [(
            4,
            "more/gateway.discord.gg:443 is declared more than once; discord/gateway.discord.gg:443 decides (tunnel, \
             never decrypted, without secrets), this endpoint has no effect"
        )]
    );
}

#[test]
fn snapshots_compare_by_meaning() {
    let folder = Folder::new();
    let first = folder.load(GOOD).unwrap();
    assert_eq!(first, folder.load(GOOD).unwrap());
    folder.write("token", "another", 0o600);
    let second = folder.load(GOOD).unwrap();
    assert_ne!(first, second);
    assert_eq!(first.sandbox("micky"), second.sandbox("micky"));
}

#[test]
fn shipped_example_loads_without_a_warning() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let folder = Folder::new();
    for part in ["policies", "secrets"] {
        fs::create_dir(folder.path(part)).unwrap();
    }
    let policy = fs::read_to_string(deploy.join("policies/discord.yaml")).unwrap();
    folder.write("policies/discord.yaml", &policy, 0o644);
    folder.write("secrets/DISCORD_BOT_TOKEN", TOKEN, 0o600);
    let example = fs::read_to_string(deploy.join("interceptor.yaml")).unwrap();
    let snapshot = folder.load(&example).unwrap();
    let warned: Vec<_> = snapshot
        .reports()
        .iter()
        .filter(|report| report.level == Level::Warning)
        .collect();
    assert!(warned.is_empty(), "{warned:#?}");
    let policy = &snapshot.sandbox("micky").unwrap().policy;
    for endpoint in policy.endpoints() {
        assert_eq!(endpoint.handling, Handling::Intercept);
    }
    for name in [
        "gateway.discord.gg",
        "gateway-us-east1-b.discord.gg",
        "discord.com",
    ] {
        let rules = snapshot.sandbox("micky").unwrap();
        let (here, _) = snapshot.bound(rules.secrets.iter(), &host(name));
        assert_eq!(here.len(), 1, "{name}");
    }
}

#[test]
fn placeholders_outside_their_binding_pass_unless_the_sandbox_says_otherwise() {
    let folder = Folder::new();
    let unbound = |line: &str| {
        let text = GOOD.replace("  - name: empty\n", &format!("{line}  - name: empty\n"));
        folder.load(&text).map(|snapshot| {
            let [micky, empty] =
                ["micky", "empty"].map(|name| snapshot.sandbox(name).unwrap().unbound);
            assert_eq!(empty, Unbound::Pass);
            micky
        })
    };
    for (line, meant) in [
        ("", Unbound::Pass),
        ("    unbound: pass\n", Unbound::Pass),
        ("    unbound: record\n", Unbound::Record),
        ("    unbound: refuse\n", Unbound::Refuse),
    ] {
        assert_eq!(unbound(line).unwrap(), meant, "{line}");
    }
    let fault = unbound("    unbound: deny\n").unwrap_err().to_string();
    assert!(
        fault.contains("expected one of pass, record, refuse"),
        "{fault}"
    );
}

#[test]
fn limit_of_a_binding_goes_with_its_field() {
    let folder = Folder::new();
    let text = GOOD.replace(
        "path: /d/a~1b }\n",
        "path: /d/a~1b }\n        websocket.limit: 4096\n",
    );
    let snapshot = folder.load(&text).unwrap();
    let (here, _) = snapshot.bound([&secret("OTHER")].into_iter(), &host("gw.example.com"));
    let [Surface::WebSocketJson(field)] = here[0].surfaces.as_slice() else {
        panic!("{:?}", here[0].surfaces);
    };
    assert_eq!(field.limit, Some(4096));
}

#[test]
fn every_place_in_a_request_can_be_bound() {
    let folder = Folder::new();
    let field = |guard| JsonField {
        path: vec!["d".into(), "token".into()],
        guard,
        limit: None,
    };
    let guard = Guard {
        member: "type".into(),
        values: vec![GuardValue::Text("auth".into())],
    };
    for (place, surface) in [
        ("cookie: Session", Surface::Cookie("Session".into())),
        ("body.json: /d/token", Surface::BodyJson(field(None))),
        (
            "body.json: { type: auth, path: /d/token }",
            Surface::BodyJson(field(Some(guard))),
        ),
        ("body.form: to ken", Surface::BodyForm("to ken".into())),
        (
            "body.multipart: payload[0]",
            Surface::BodyMultipart("payload[0]".into()),
        ),
        (
            "body.text: Text/Plain",
            Surface::BodyText("text/plain".into()),
        ),
    ] {
        let text = GOOD.replace("websocket.json: { op: 2, path: /d/a~1b }", place);
        let snapshot = folder.load(&text).unwrap();
        let (here, _) = snapshot.bound([&secret("OTHER")].into_iter(), &host("gw.example.com"));
        assert_eq!(here[0].surfaces, [surface], "{place}");
    }
}

#[test]
fn guard_of_a_field_is_of_numbers_or_texts() {
    let folder = Folder::new();
    let values = |guard: &str| {
        let text = GOOD.replace("op: 2", guard);
        let snapshot = folder.load(&text).map_err(|faults| faults.to_string())?;
        let (here, _) = snapshot.bound([&secret("OTHER")].into_iter(), &host("gw.example.com"));
        let [Surface::WebSocketJson(field)] = here[0].surfaces.as_slice() else {
            panic!("{:?}", here[0].surfaces);
        };
        Ok::<_, String>(field.guard.clone().unwrap().values)
    };
    let text = |text: &str| GuardValue::Text(text.into());
    assert_eq!(values("type: auth"), Ok(vec![text("auth")]));
    assert_eq!(
        values("type: [auth, 5, \"5\"]"),
        Ok(vec![text("auth"), 5.into(), text("5")])
    );
    let long = values(&format!("type: {}", "x".repeat(129))).unwrap_err();
    assert!(long.contains("longer than 128 bytes"), "{long}");
    let wrong = values("type: [true]").unwrap_err();
    assert!(wrong.contains("expected a whole number"), "{wrong}");
}

#[test]
fn every_shipped_policy_loads_without_a_warning_and_goes_with_the_profile_of_its_name() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    let mut names = Vec::new();
    for entry in fs::read_dir(policies).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "kustomization" {
            continue;
        }
        let folder = Folder::new();
        folder.write("policy.yaml", &fs::read_to_string(&path).unwrap(), 0o644);
        // A secret that no endpoint of the policy takes would be warned of.
        let snapshot = folder
            .load(&format!(
                "secrets: {{ A: {{ from: {{ file: token }}, profile: {name} }} }}\n\
                 sandboxes: [ {{ name: a, policies: [policy.yaml], secrets: [A] }} ]\n"
            ))
            .unwrap();
        let reports = snapshot.reports().iter();
        let warned: Vec<_> = reports
            .filter(|report| report.level == Level::Warning)
            .collect();
        assert!(warned.is_empty(), "{name}: {warned:#?}");
        for endpoint in snapshot.sandbox("a").unwrap().policy.endpoints() {
            assert_eq!(endpoint.handling, Handling::Intercept, "{name}");
        }
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["discord", "openai", "slack", "telegram"]);
}

#[test]
fn sockets_from_before_are_destroyed_unless_the_sandbox_keeps_them() {
    let folder = Folder::new();
    let existing = |line: &str| {
        let text = GOOD.replace("  - name: empty\n", &format!("{line}  - name: empty\n"));
        folder
            .load(&text)
            .map(|snapshot| snapshot.sandbox("micky").unwrap().existing)
    };
    assert_eq!(existing("").unwrap(), Existing::Destroy);
    assert_eq!(existing("    existing: keep\n").unwrap(), Existing::Keep);
    let fault = existing("    existing: maybe\n").unwrap_err().to_string();
    assert!(fault.contains("destroy"), "{fault}");
}

#[test]
fn the_ca_is_installed_where_the_sandbox_says_so() {
    let folder = Folder::new();
    let install = |line: &str| {
        let text = GOOD.replace("  - name: empty\n", &format!("{line}  - name: empty\n"));
        folder
            .load(&text)
            .map(|snapshot| snapshot.sandbox("micky").unwrap().install_ca)
    };
    assert!(!install("").unwrap());
    assert!(install("    ca: { install: true }\n").unwrap());
    assert!(!install("    ca: { install: false }\n").unwrap());
    for line in ["    ca: { install: 1 }\n", "    ca: {}\n", "    ca: true\n"] {
        assert!(install(line).is_err(), "{line}");
    }
}
