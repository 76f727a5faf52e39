//! Requests that readers disagree on: whatever reaches a real server is what the policy was asked about.

mod corpus;

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{
    clients::Clients,
    configuration::Configuration,
    daemon::Daemon,
    netns::Netns,
    pki::Authority,
    process::PATIENCE,
    sandbox::Sandbox,
    scenario::directory,
    witness::{Parser, Understood, Witness},
};

use self::corpus::{CUT, Vector};

const POLICY: &str = "\
version: 1
network_policies:
  corpus:
    endpoints:
      - host: \"*.corpus.example\"
        port: 443
        protocol: rest
        enforcement: enforce
        rules:
          - allow: { method: \"*\", path: \"/**\" }
        deny_rules:
          - { method: \"*\", path: \"/canary\" }
";

/// A secret may stand in bodies such as those of the corpus.
const BOUND: &str = "bindings: [{ hosts: [\"*.corpus.example\"], body.text: text/plain }]";

/// What stands for what in the texts of the corpus, in this order.
const ABBREVIATIONS: [(&str, &str); 4] = [
    ("{c}", "GET /canary HTTP/1.1¶Host: {h}¶¶"),
    ("{g}", "GET /a HTTP/1.1¶Host: {h}¶"),
    (
        "{p}",
        "POST /a HTTP/1.1¶Host: {h}¶Content-Type: text/plain¶",
    ),
    ("¶", "\r\n"),
];

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// These requests (method, target, body) reach the server, and then one is perhaps refused with this status.
    Carried(
        &'static [(&'static str, &'static str, &'static str)],
        Option<u16>,
    ),
    /// Answered with this status, and nothing reaches the server.
    Refused(u16),
    /// More is waited for, and nothing reaches the server.
    Silent,
}

impl Outcome {
    fn requests(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Self::Carried(requests, _) => requests,
            Self::Refused(_) | Self::Silent => &[],
        }
    }

    /// The head of a body that is read waits for it, and shares its fate.
    fn with(self, bodies: Bodies) -> Self {
        match (self, bodies) {
            (Self::Carried([.., (_, _, CUT)], Some(status)), Bodies::Read) => Self::Refused(status),
            (Self::Carried([.., (_, _, CUT)], None), Bodies::Read) => Self::Silent,
            (outcome, _) => outcome,
        }
    }
}

/// What is done with bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    /// They go on as they come.
    Pass,
    /// They are looked through for a secret, which takes them out of their framing.
    Read,
}

#[test]
fn node_understands_every_request_as_the_policy_does() -> Result<()> {
    nothing_is_smuggled_to(Parser::Node, Bodies::Pass)
}

#[test]
fn aiohttp_understands_every_request_as_the_policy_does() -> Result<()> {
    nothing_is_smuggled_to(Parser::Aiohttp, Bodies::Pass)
}

#[test]
fn bodies_that_are_framed_anew_are_understood_as_the_policy_does() -> Result<()> {
    nothing_is_smuggled_to(Parser::Aiohttp, Bodies::Read)
}

fn nothing_is_smuggled_to(parser: Parser, bodies: Bodies) -> Result<()> {
    let place = directory()?;
    let authority = Authority::new("test authority of the witness")?;
    let witness = Witness::start(parser, &authority, "*.corpus.example", place.path())?;
    let mut configuration = Configuration::default()
        .sandbox(
            "demo",
            POLICY,
            if bodies == Bodies::Read {
                &["KEY"]
            } else {
                &[]
            },
        )
        .root(authority.pem());
    if bodies == Bodies::Read {
        configuration = configuration.bound_secret("KEY", "a-secret-that-nobody-asks-for", BOUND);
    }
    let hosts = (0..).map(|number| format!("v{number}.corpus.example"));
    let vectors: Vec<(String, &Vector)> = hosts.zip(corpus::all()).collect();
    for (host, _) in &vectors {
        configuration = configuration.resolve(host, witness.address());
    }
    let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let clients = Clients::install(place.path())?;

    let script: Vec<_> = vectors
        .iter()
        .map(|(host, vector)| {
            let bytes = bytes(vector.text, host)?;
            Ok(json!({"name": host, "host": host, "records": [hex(&bytes)]}))
        })
        .collect::<Result<_>>()?;
    let file = place.path().join("script.json");
    fs::write(&file, serde_json::to_vec(&script)?)?;
    let file = file.to_str().context("a path")?;
    let probe = clients.probe(&["script", file, "--patience-ms", "3000"]);
    let finished = sandbox
        .spawn(&netns, &probe)?
        .finish_within(PATIENCE * 3)?
        .success()?;

    let asked = asked(&daemon)?;
    let answers = finished.events();
    assert_eq!(answers.len(), vectors.len(), "{answers:?}");
    let mut failures = Vec::new();
    for ((host, vector), answer) in vectors.iter().zip(&answers) {
        let received = answer["received"].as_str().context("hexadecimal")?;
        let view = View {
            host,
            understood: witness.understood(host),
            asked: asked.get(host).copied().unwrap_or_default(),
            answers: Answers::read(&unhex(received)?),
        };
        let strict = vector.strict.contains(&parser);
        if let Err(why) = view.judge(vector.outcome, bodies, strict) {
            let text = vector.text.replace('\n', "\\n").replace('\r', "\\r");
            failures.push(format!("{text}\n    {why}: {view:?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        vectors.len(),
        failures.join("\n")
    );
    Ok(())
}

/// What was seen of one connection, from three sides.
#[derive(Debug)]
struct View<'v> {
    host: &'v str,
    understood: Vec<Understood>,
    /// Requests that went to the server, as the daemon counted them.
    asked: u64,
    answers: Answers,
}

/// Status codes, interim ones apart.
#[derive(Debug, Default)]
struct Answers {
    of_server: Vec<u16>,
    server_closes: bool,
    /// Of a refusal, which is the last thing that a client hears.
    of_daemon: Option<u16>,
}

impl Answers {
    fn read(received: &[u8]) -> Self {
        let text = String::from_utf8_lossy(received);
        let mut answers = Self::default();
        for answer in text.split("HTTP/1.").skip(1) {
            let status = answer.get(2..5).and_then(|digits| digits.parse().ok());
            match status {
                Some(100) | None => {}
                Some(status) if answer.contains("{\"error\":") => answers.of_daemon = Some(status),
                Some(status) => {
                    answers.of_server.push(status);
                    answers.server_closes |= answer.to_lowercase().contains("connection: close");
                }
            }
        }
        answers
    }
}

impl View<'_> {
    /// `strict`: the server may refuse what we let pass.
    fn judge(&self, outcome: Outcome, bodies: Bodies, strict: bool) -> Result<(), &'static str> {
        let outcome = outcome.with(bodies);
        if self.asked != outcome.requests().len() as u64 {
            return Err("another number of requests was carried");
        }
        let refusal = match outcome {
            Outcome::Carried(_, refusal) => refusal,
            Outcome::Refused(status) => Some(status),
            Outcome::Silent => None,
        };
        let expected: Vec<Understood> = outcome
            .requests()
            .iter()
            .map(|(method, target, body)| Understood {
                method: (*method).to_owned(),
                target: target.replace("{h}", self.host),
                body: Some(*body).filter(|body| *body != CUT).map(str::to_owned),
            })
            .collect();
        // A server that is stricter than we are stops before the end.
        let stricter = self.answers.of_server.iter().any(|status| *status >= 400);
        if stricter && !strict {
            return Err("the server refuses it");
        }
        let enough = self.understood.len() == expected.len() || stricter;
        let alike = self
            .understood
            .iter()
            .zip(&expected)
            .all(|(understood, expected)| {
                let bodiless = stricter && understood.body.is_none();
                understood.method == expected.method
                    && understood.target == expected.target
                    && (bodiless || understood.body == expected.body)
            });
        if !enough || !alike || self.understood.len() > expected.len() {
            return Err("the server understood something else");
        }
        // Nor is anything refused behind an answer with which a server closes.
        let ended = stricter || (self.answers.server_closes && self.answers.of_daemon.is_none());
        if self.answers.of_daemon != refusal && !ended {
            return Err("the answer is another");
        }
        if matches!(outcome, Outcome::Silent) && !self.answers.of_server.is_empty() {
            return Err("there is an answer");
        }
        Ok(())
    }
}

/// How many requests went on, by host.
fn asked(daemon: &Daemon) -> Result<HashMap<String, u64>> {
    let connections = daemon.connections()?;
    let counted = connections.iter().filter_map(|connection| {
        let host = connection["sni"].as_str()?.to_owned();
        Some((host, connection["sent"]["messages"].as_u64()?))
    });
    Ok(counted.collect())
}

fn bytes(text: &str, host: &str) -> Result<Vec<u8>> {
    let text = ABBREVIATIONS
        .iter()
        .fold(text.to_owned(), |text, (short, long)| {
            text.replace(short, long)
        })
        .replace("{h}", host);
    let bytes = text.chars().map(u8::try_from);
    bytes
        .collect::<Result<_, _>>()
        .context("a character beyond a byte")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
