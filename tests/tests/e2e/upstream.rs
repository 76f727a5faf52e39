//! Whom the daemon talks to, and what it says when it does not.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::{
    clients::PLACEHOLDER,
    daemon::Daemon,
    gateway::{
        Options,
        record::{Seen, Token},
    },
    netns::Netns,
    process::{Finished, Running},
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const HOSTS: [&str; 4] = [
    "expired.example.com",
    "self-signed.example.com",
    "wrong-name.example.com",
    "untrusted.example.com",
];

const POLICY: &str = "\
version: 1
network_policies:
  all:
    name: all
    endpoints:
      - {host: expired.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: self-signed.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: wrong-name.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: untrusted.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: good.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: reader.example.com, port: 443, protocol: rest, enforcement: enforce, access: read-only}
      - {host: listener.example.com, port: 443, protocol: websocket, enforcement: enforce, access: read-only}
      - {host: tunnel.example.com, port: 443, tls: skip}
      - {host: plain.example.com, port: 80, protocol: rest, enforcement: enforce, access: full}
";

/// A sandbox `all` with a secret `KEY` that is bound to every one of its hosts.
struct All {
    scenario: Scenario,
    netns: Netns,
    sandbox: Sandbox,
}

impl All {
    fn new() -> Result<Self> {
        let scenario = Scenario::with(Options::new(TOKEN), |mut configuration, gateway| {
            for host in HOSTS.iter().chain(&[
                "good.example.com",
                "reader.example.com",
                "listener.example.com",
                "tunnel.example.com",
            ]) {
                configuration = configuration.resolve(host, gateway.address());
            }
            let bound = "bindings: [{hosts: [\"*.example.com\"], header: authorization}]";
            configuration
                .bound_secret("KEY", TOKEN, bound)
                .sandbox("all", POLICY, &["KEY"])
        })?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&scenario.daemon, "all", &[&netns])?;
        Ok(Self {
            scenario,
            netns,
            sandbox,
        })
    }

    fn get(&self, host: &str, more: &[&str]) -> Result<Finished> {
        let header = "--header=Authorization: Bot openshell:resolve:env:KEY";
        let mut request = vec!["request", host, "/api/v10/users/@me", header];
        request.extend(more);
        self.sandbox
            .run(&self.netns, &self.scenario.clients.probe(&request))
    }

    fn tokens(&self) -> Vec<Token> {
        self.scenario.gateway.record().tokens()
    }
}

#[test]
fn wrong_certificates_are_refused_visibly_and_no_secret_is_sent() -> Result<()> {
    let all = All::new()?;
    // Positive control.
    let answer = all.get("good.example.com", &[])?.event("answer")?;
    assert_eq!(answer["status"], 200);
    assert_eq!(all.tokens(), [Token::Real]);
    all.scenario.gateway.record().clear();

    for host in HOSTS {
        let finished = all.get(host, &[])?;
        let refused = finished
            .events()
            .iter()
            .any(|event| event["event"] == "failed" || event["status"].as_u64() >= Some(500));
        assert!(refused, "{host}: {}", finished.stdout);
        all.scenario.daemon.wait_for_log(&[host, "certificate"])?;
        let connections = all.scenario.daemon.connections()?;
        let own = connections
            .iter()
            .find(|connection| connection["sni"] == host);
        let end = own
            .map(|connection| connection["end"].to_string())
            .unwrap_or_default();
        assert!(end.contains("certificate"), "{host}: {own:?}");
    }
    let requests = all.scenario.gateway.record().look(|seen| {
        let requests = seen
            .iter()
            .filter(|seen| matches!(seen, Seen::Request { .. }));
        requests.count()
    });
    assert_eq!(requests, 0);
    Ok(())
}

#[test]
fn a_host_header_that_is_not_the_sni_is_refused() -> Result<()> {
    let all = All::new()?;
    for host in [
        "tunnel.example.com",
        "evil.example",
        "GOOD.example.com.evil.example",
    ] {
        let finished = all.get(host, &["--sni=good.example.com", "--address=192.0.2.1:443"])?;
        assert_misdirected(&finished.event("answer")?)?;
    }
    assert_eq!(all.tokens(), []);
    // The same name in other letters is the same name.
    let more = ["--sni=good.example.com", "--address=192.0.2.1:443"];
    let answer = all.get("GOOD.example.com:443", &more)?.event("answer")?;
    assert_eq!(answer["status"], 200);
    Ok(())
}

fn assert_misdirected(answer: &Value) -> Result<()> {
    assert_eq!(answer["status"], 421, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    assert_eq!(body["error"], "authority_mismatch", "{answer}");
    Ok(())
}

#[test]
fn denials_are_visible_to_the_client_with_their_reason() -> Result<()> {
    let all = All::new()?;
    // A name that no policy knows: a TLS alert, before anything is decrypted.
    let failed = all
        .get("evil.example", &["--address=192.0.2.1:443"])?
        .event("failed")?;
    let error = failed["error"].as_str().unwrap_or_default();
    assert!(error.contains("alert"), "{failed}");
    all.scenario.daemon.wait_for_log(&["evil.example"])?;
    // A Host that the connection is not for: 421 with JSON.
    let more = ["--sni=good.example.com", "--address=192.0.2.1:443"];
    let answer = all.get("evil.example", &more)?.event("answer")?;
    assert_misdirected(&answer)?;
    let stats = all.scenario.daemon.json(&["stats"])?;
    assert!(
        stats["denials"].to_string().contains("evil.example"),
        "{stats}"
    );
    Ok(())
}

#[test]
fn a_name_under_tls_skip_is_tunnelled_undecrypted() -> Result<()> {
    let all = All::new()?;
    let roots = all.scenario.directory().join("tunnel-roots.pem");
    all.scenario.gateway.authority().write_pem(&roots)?;
    let header = "--header=Authorization: Bot openshell:resolve:env:KEY";
    let request = [
        "request",
        "tunnel.example.com",
        "/api/v10/users/@me",
        header,
    ];
    let mut command = all
        .sandbox
        .command(&all.netns, &all.scenario.clients.probe(&request))?;
    // The client sees the server's own certificate, and trusts nothing else.
    command.env("SSL_CERT_FILE", &roots);
    let answer = Running::spawn(command)?.finish()?.event("answer")?;
    assert_eq!(answer["status"], 401);
    assert_eq!(all.tokens(), [Token::Placeholder]);
    Ok(())
}

#[test]
fn plain_http_is_carried_by_policy_and_never_gets_a_secret() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, gateway| {
        let Ok(plain) = gateway.listen_plain() else {
            return configuration;
        };
        let bound = "bindings: [{hosts: [plain.example.com], header: authorization}]";
        configuration
            .bound_secret("KEY", TOKEN, bound)
            .sandbox("all", POLICY, &["KEY"])
            .resolve("plain.example.com", plain)
    })?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "all", &[&netns])?;
    let all = All {
        scenario,
        netns,
        sandbox,
    };
    let answer = all
        .get("plain.example.com", &["--plain", "--port=80"])?
        .event("answer")?;
    assert_eq!(answer["status"], 401);
    assert_eq!(all.tokens(), [Token::Placeholder]);
    // Port 80 of a name that is allowed only elsewhere, and of one that is not allowed at all.
    for host in ["good.example.com", "evil.example"] {
        let more = ["--plain", "--address=192.0.2.1:80"];
        let finished = all.get(host, &more)?;
        let denied = finished
            .events()
            .iter()
            .any(|event| event["event"] == "failed" || event["status"] == 403);
        assert!(denied, "{host}: {}", finished.stdout);
    }
    assert_eq!(all.tokens(), [Token::Placeholder]);
    assert_ne!(PLACEHOLDER, TOKEN);
    Ok(())
}

/// Asks as curl does, which does not tell the server that it goes.
const CURL: [&str; 8] = [
    "curl",
    "--silent",
    "--show-error",
    "--http1.1",
    "--output",
    "/dev/null",
    "--write-out",
    "{\"event\": \"answer\", \"status\": %{http_code}}\\n",
];

#[test]
fn a_sandboxs_next_client_is_served_on_the_connection_that_one_has_left() -> Result<()> {
    let all = All::new()?;
    let netns = Netns::new()?;
    let url = "https://good.example.com/api/v10/users/@me";
    let header = "Authorization: Bot openshell:resolve:env:KEY";
    let daemon = &all.scenario.daemon;
    let trust = daemon.trust();
    let (_, bundle) = trust.last().context("the daemon has a CA")?;
    let more = ["--cacert", bundle, "--header", header, url];
    let curl: Vec<_> = CURL.into_iter().chain(more).map(str::to_owned).collect();
    let fetch = |sandbox: &Sandbox, netns: &Netns| -> Result<()> {
        let answer = sandbox.run(netns, &curl)?.event("answer")?;
        assert_eq!(answer["status"], 200);
        Ok(())
    };
    for _ in 0..3 {
        fetch(&all.sandbox, &all.netns)?;
    }
    let reused = |daemon: &Daemon| -> Result<Value> {
        Ok(daemon.json(&["stats"])?["overall"]["upstreams_reused"].clone())
    };
    assert_eq!(reused(daemon)?, 2);
    // Neither a reload nor a sandbox of its own finds it again.
    daemon.cli(&["reload"])?.success()?;
    fetch(&all.sandbox, &all.netns)?;
    assert_eq!(reused(daemon)?, 2);
    all.sandbox.detach(daemon)?;
    let sandbox = Sandbox::attach(daemon, "all", &[&netns])?;
    fetch(&sandbox, &netns)?;
    assert_eq!(reused(daemon)?, 2);
    fetch(&sandbox, &netns)?;
    assert_eq!(reused(daemon)?, 3);
    Ok(())
}

#[test]
fn methods_beyond_the_access_of_an_endpoint_are_answered_with_403() -> Result<()> {
    let all = All::new()?;
    let answer = all.get("reader.example.com", &[])?.event("answer")?;
    assert_eq!(answer["status"], 200);
    all.scenario.gateway.record().clear();
    for method in ["POST", "DELETE"] {
        let method = format!("--method={method}");
        let more = [method.as_str(), "--header=Content-Length: 0"];
        let answer = all.get("reader.example.com", &more)?.event("answer")?;
        assert_eq!(answer["status"], 403, "{answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
        assert_eq!(body["error"], "policy_denied", "{answer}");
    }
    assert_eq!(all.tokens(), []);
    Ok(())
}

#[test]
fn messages_beyond_the_access_of_an_endpoint_are_closed_with_1008() -> Result<()> {
    let all = All::new()?;
    let talk = [
        "talk",
        "--host=listener.example.com",
        r#"{"op":1,"d":null}"#,
    ];
    let finished = all
        .sandbox
        .run(&all.netns, &all.scenario.clients.probe(&talk))?;
    assert_eq!(finished.event("close")?["code"], 1008);
    let payloads = all.scenario.gateway.record().payloads();
    assert_eq!(payloads, Vec::<Vec<u8>>::new());
    Ok(())
}

#[test]
fn a_port_that_no_endpoint_names_is_refused() -> Result<()> {
    let all = All::new()?;
    let more = ["--address=192.0.2.1:8443"];
    all.get("good.example.com", &more)?.event("failed")?;
    // Not even as something else than TLS or HTTP.
    let more = ["--plain", "--address=192.0.2.1:22", "--method=ssh"];
    all.get("good.example.com", &more)?.event("failed")?;
    all.scenario
        .daemon
        .wait_for_log(&["no rule names port 22 of any host"])?;
    assert_eq!(all.tokens(), []);
    Ok(())
}
