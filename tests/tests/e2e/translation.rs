//! Clients and servers that have no version of HTTP in common.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    configuration::Configuration,
    daemon::Daemon,
    logs,
    netns::Netns,
    sandbox::Sandbox,
    scenario::directory,
    site::{Seen, Site, Versions},
};

const SECRET: &str = "ThisOneStaysOutside0123456789";
const PLACEHOLDER: &str = "openshell:resolve:env:TOKEN";
const POLICY: &str = "\
version: 1
network_policies:
  site:
    name: site
    endpoints:
      - {host: api.site.example, port: 443, protocol: rest, enforcement: enforce, access: full}
";

/// Runs a command in a sandbox, and gives what the site saw, and what the command printed, which is JSON.
fn asked(versions: Versions, command: &[&str]) -> Result<(Vec<Seen>, Vec<Value>)> {
    let place = directory()?;
    let site = Site::start(versions)?;
    let bound = "bindings:\n      - {hosts: [api.site.example], header: authorization}\n      \
                 - {hosts: [api.site.example], body.json: /token}";
    let configuration = Configuration::default()
        .bound_secret("TOKEN", SECRET, bound)
        .sandbox("demo", POLICY, &["TOKEN"])
        .root(site.authority().pem())
        .resolve("api.site.example", site.address());
    let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
    let finished = sandbox.run(&netns, &command)?.success();
    let finished = finished.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
    logs::assert_absent(&finished.stdout, SECRET)?;
    logs::assert_absent(&daemon.log(), SECRET)?;
    let lines = finished.stdout.lines();
    let printed = lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    Ok((site.take(), printed.collect::<Result<_>>()?))
}

#[test]
fn a_client_of_http1_reaches_a_server_of_http2_only() -> Result<()> {
    let token = format!("authorization: Bearer {PLACEHOLDER}");
    let json = format!("{{\"token\": \"{PLACEHOLDER}\"}}");
    let (seen, answers) = asked(
        Versions::Http2,
        &[
            "curl",
            "--http1.1",
            "--silent",
            "--show-error",
            "--fail",
            "--write-out",
            "\n{\"version\": \"%{http_version}\", \"status\": %{http_code}, \"type\": \"%{content_type}\"}\n",
            "--header",
            &token,
            "--json",
            &json,
            "https://api.site.example/echo?a=b",
            "https://api.site.example/echo?c=d",
        ],
    )?;
    assert_eq!(seen.len(), 2);
    for (one, target) in seen.iter().zip(["/echo?a=b", "/echo?c=d"]) {
        assert_eq!(
            (one.version, one.method.as_str(), one.target.as_str()),
            ("HTTP/2", "POST", target)
        );
        let bearer = format!("Bearer {SECRET}");
        assert_eq!(one.header("authorization"), Some(bearer.as_bytes()));
        assert_eq!(one.body, format!("{{\"token\": \"{SECRET}\"}}").as_bytes());
    }
    let bytes = SECRET.len() + r#"{"token": ""}"#.len();
    let answer = [
        json!({"method": "POST", "bytes": bytes}),
        json!({"version": "1.1", "status": 200, "type": "application/json"}),
    ];
    assert_eq!(answers, [answer.clone(), answer].concat());
    Ok(())
}

#[test]
fn a_client_of_http2_only_reaches_a_server_of_http1() -> Result<()> {
    let script = format!(
        "const session = require('http2').connect('https://api.site.example');
        session.on('error', error => {{ throw error; }});
        let open = 3;
        for (const path of ['/echo?1', '/echo?2', '/events']) {{
            const stream = session.request({{':path': path, authorization: 'Bearer {PLACEHOLDER}'}});
            let status, type, body = '';
            stream.on('response', head => {{ status = head[':status']; type = head['content-type']; }});
            stream.setEncoding('utf8');
            stream.on('data', text => body += text);
            stream.on('end', () => {{
                console.log(JSON.stringify({{path, status, type, body}}));
                if (--open === 0) session.close();
            }});
        }}"
    );
    let (mut seen, mut answers) = asked(Versions::Http1, &["node", "--eval", &script])?;
    seen.sort_by(|one, other| one.target.cmp(&other.target));
    let targets: Vec<_> = seen.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(targets, ["/echo?1", "/echo?2", "/events"]);
    for one in &seen {
        assert_eq!(one.version, "HTTP/1.1");
        let bearer = format!("Bearer {SECRET}");
        assert_eq!(one.header("authorization"), Some(bearer.as_bytes()));
    }
    answers.sort_by(|one, other| one["path"].as_str().cmp(&other["path"].as_str()));
    let echo = json!({"method": "GET", "bytes": 0}).to_string();
    let events: String = (0..5).map(|number| format!("data: {number}\n\n")).collect();
    assert_eq!(
        answers,
        [
            json!({"path": "/echo?1", "status": 200, "type": "application/json", "body": echo}),
            json!({"path": "/echo?2", "status": 200, "type": "application/json", "body": echo}),
            json!({"path": "/events", "status": 200, "type": "text/event-stream", "body": events}),
        ]
    );
    Ok(())
}
