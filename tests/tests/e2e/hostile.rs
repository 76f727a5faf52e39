//! A sandbox that is out to publish the token: it may say anything, and the server sends everything back.
//!
//! Each vector is a connection of its own. The server's record tells what left, the client's what came back.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{
    bytes,
    clients::{Clients, PLACEHOLDER},
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    gateway::frame::{BINARY, CLOSE, CONTINUATION, PING, TEXT, encode},
    mirror::{Heard, Mirror, NAME, QUIET},
    netns::Netns,
    process::PATIENCE,
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

const GATEWAY: &str = "gateway.discord.gg";
const REST: &str = "discord.com";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;

/// The placeholder in the shape of a token.
const ALIAS: &str = "bot-OPENSHELL-RESOLVE-ENV-DISCORD_BOT_TOKEN";
/// Its key begins with that of the token. It is bound to another host.
const FOREIGN: &str = "openshell:resolve:env:DISCORD_BOT_TOKEN_2";
const FOREIGN_SECRET: &str = "the-secret-of-another-host";

/// What one connection sends, and what becomes of it.
struct Vector {
    name: String,
    host: &'static str,
    headers: String,
    target: String,
    /// A request's body; `None`: an upgrade.
    body: Option<String>,
    records: Vec<Vec<u8>>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// Every frame and every placeholder arrives as the text that it is.
    Text,
    /// These bytes arrive in frames, or in the request's head if they are its part.
    Token(Vec<u8>),
    /// What arrives, and how it ends, is of no interest.
    Contained,
    /// The WebSocket is closed with this code.
    Closed(u16),
    /// The request is answered with this status.
    Status(u16),
}

#[test]
fn the_token_leaves_only_at_its_place_and_never_comes_back() -> Result<()> {
    let vectors: Vec<_> = [fields(), bound_fields(), frames(), encodings(), heads()]
        .into_iter()
        .flatten()
        .collect();
    let place = directory()?;
    let mirror = Mirror::start()?;
    let configuration = Configuration::default()
        .secret("DISCORD_BOT_TOKEN", TOKEN, "discord")
        .bound_secret(
            "DISCORD_BOT_TOKEN_2",
            FOREIGN_SECRET,
            "bindings: [{ hosts: [elsewhere.example], header: authorization }]",
        )
        .sandbox(
            "demo",
            DISCORD_POLICY,
            &["DISCORD_BOT_TOKEN", "DISCORD_BOT_TOKEN_2"],
        )
        .resolve(GATEWAY, mirror.address())
        .resolve(REST, mirror.address())
        .root(mirror.authority().pem());
    let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let clients = Clients::install(place.path())?;

    let script: Vec<_> = vectors.iter().map(Vector::to_json).collect();
    let file = place.path().join("script.json");
    fs::write(&file, serde_json::to_vec(&script)?)?;
    let probe = clients.probe(&["script", file.to_str().context("a path")?]);
    let finished = sandbox
        .spawn(&netns, &probe)?
        .finish_within(PATIENCE * 3)?
        .success()?;

    let heard = mirror.heard();
    let heard: HashMap<_, _> = heard
        .iter()
        .filter_map(|heard| Some((heard.name()?, heard)))
        .collect();
    let mut failures = Vec::new();
    let answers = finished.events();
    assert_eq!(answers.len(), vectors.len(), "{answers:?}");
    for (vector, answer) in vectors.iter().zip(&answers) {
        let received = answer["received"].as_str().context("hexadecimal")?;
        let heard = heard.get(&vector.name).copied();
        if let Err(error) = vector.judge(heard, &unhex(received)?) {
            failures.push(format!("{}: {error:#}", vector.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    tests::logs::assert_absent(&daemon.log(), TOKEN)?;
    tests::logs::assert_absent(&daemon.log(), PLACEHOLDER)
}

/// Texts with a placeholder somewhere else than in the bound field.
fn fields() -> Vec<Vector> {
    [
        (
            "presence name",
            r#"{"op":3,"d":{"activities":[{"name":"$P"}]}}"#,
        ),
        ("chat message", r#"{"op":100,"d":{"content":"$P"}}"#),
        ("token of another op", r#"{"op":3,"d":{"token":"$P"}}"#),
        (
            "token of another op, d first",
            r#"{"d":{"token":"$P"},"op":3}"#,
        ),
        ("token without an op", r#"{"d":{"token":"$P"}}"#),
        ("token beside d", r#"{"op":2,"token":"$P","d":{}}"#),
        (
            "token one level down",
            r#"{"op":2,"d":{"d":{"token":"$P"}}}"#,
        ),
        ("token in a list", r#"{"op":2,"d":[{"token":"$P"}]}"#),
        ("token that is a list", r#"{"op":2,"d":{"token":["$P"]}}"#),
        (
            "token that is an object",
            r#"{"op":2,"d":{"token":{"token":"$P"}}}"#,
        ),
        ("token as a name", r#"{"op":2,"d":{"$P":"token"}}"#),
        (
            "capitals",
            r#"{"op":2,"D":{"token":"$P"},"d":{"TOKEN":"$P"}}"#,
        ),
        ("op in capitals", r#"{"OP":2,"d":{"token":"$P"}}"#),
        ("op that is a string", r#"{"op":"2","d":{"token":"$P"}}"#),
        ("op that is a fraction", r#"{"op":2.0,"d":{"token":"$P"}}"#),
        ("op with an exponent", r#"{"op":2e0,"d":{"token":"$P"}}"#),
        (
            "op with a zero before it",
            r#"{"op":02,"d":{"token":"$P"}}"#,
        ),
        ("op that is negative", r#"{"op":-2,"d":{"token":"$P"}}"#),
        ("op one level down", r#"{"d":{"op":2,"token":"$P"}}"#),
        (
            "two ops, the second another",
            r#"{"op":2,"op":3,"d":{"token":"$P"}}"#,
        ),
        (
            "two ops, the first another",
            r#"{"op":3,"op":2,"d":{"token":"$P"}}"#,
        ),
        ("two ops round d", r#"{"op":2,"d":{"token":"$P"},"op":3}"#),
        (
            "two ops, one escaped",
            r#"{"op":2,"\u006fp":3,"d":{"token":"$P"}}"#,
        ),
        (
            "two ops, one in capitals",
            r#"{"op":2,"Op":3,"d":{"token":"$P"}}"#,
        ),
        (
            "document in a string",
            r#"{"op":2,"d":{"content":"{\"op\":2,\"d\":{\"token\":\"$P\"}}"}}"#,
        ),
        (
            "end of a string, escaped",
            r#"{"op":2,"d":{"x":"\",\"token\":\"$P"}}"#,
        ),
        (
            "second document",
            r#"{"op":2,"d":{}}{"op":2,"d":{"token":"$P"}}"#,
        ),
        (
            "document before another",
            r#"{"op":2,"d":{"token":"$P"}}{"op":3}"#,
        ),
        ("list of documents", r#"[{"op":2,"d":{"token":"$P"}}]"#),
        ("document that breaks off", r#"{"op":2,"d":{"token":"$P""#),
        (
            "comment",
            r#"{"op":2,/*"d":{"token":"$P"}*/"d":{"token":"$P"}}"#,
        ),
        (
            "escaped elsewhere",
            r#"{"op":2,"d":{"x":"openshell\u003aresolve\u003aenv\u003aDISCORD_BOT_TOKEN"}}"#,
        ),
        (
            "alias elsewhere",
            r#"{"op":3,"d":{"name":"bot-OPENSHELL-RESOLVE-ENV-DISCORD_BOT_TOKEN"}}"#,
        ),
        (
            "revision elsewhere",
            r#"{"op":3,"d":{"name":"openshell:resolve:env:v7_DISCORD_BOT_TOKEN"}}"#,
        ),
        (
            "foreign elsewhere",
            r#"{"op":2,"d":{"x":"openshell:resolve:env:DISCORD_BOT_TOKEN_2"}}"#,
        ),
        ("text alone", "$P"),
        ("form", "op=2&token=$P"),
    ]
    .map(|(name, text)| Vector::of_text(name, text, Outcome::Text))
    .into()
}

/// Texts with a placeholder in the bound field.
fn bound_fields() -> Vec<Vector> {
    let refused = [
        ("unknown key", "openshell:resolve:env:NOBODY"),
        ("key of another host", FOREIGN),
        (
            "known key, then an unknown one",
            "$Popenshell:resolve:env:NOBODY",
        ),
        (
            "known key, then one of another host",
            "$Popenshell:resolve:env:DISCORD_BOT_TOKEN_2",
        ),
        ("beginning of a key", "openshell:resolve:env:DISCORD_BOT"),
        ("key and more", "$P_AND_MORE"),
        (
            "too many",
            "$P $P $P $P $P $P $P $P $P $P $P $P $P $P $P $P $P",
        ),
    ]
    .map(|(name, token)| {
        let text = format!(r#"{{"op":2,"d":{{"token":"{token}"}}}}"#);
        Vector::of_text(name, &text, Outcome::Closed(1008))
    });
    let released = [
        ("IDENTIFY", r#"{"op":2,"d":{"token":"$P"}}"#),
        ("RESUME", r#"{"op":6,"d":{"token":"$P","seq":1}}"#),
        ("d before op", r#"{"d":{"token":"$P"},"op":2}"#),
        ("two tokens", r#"{"op":2,"d":{"token":"$P","token":"$P"}}"#),
        ("two side by side", r#"{"op":2,"d":{"token":"$P$P"}}"#),
        ("one op twice", r#"{"op":2,"op":6,"d":{"token":"$P"}}"#),
    ]
    .map(|(name, text)| {
        let expected = text.replace("$P", TOKEN);
        Vector::of_text(name, text, Outcome::Token(expected.into()))
    });
    let here_and_there = r#"{"op":2,"d":{"content":"$P","token":"$T","nonce":"$P"}}"#;
    let mixed = Vector::of_text(
        "in the field and beside it",
        &here_and_there.replace("$T", "$P"),
        Outcome::Token(
            here_and_there
                .replace("$P", PLACEHOLDER)
                .replace("$T", TOKEN)
                .into(),
        ),
    );
    let escaped = Vector::of_text(
        "placeholder escaped",
        r#"{"op":2,"d":{"token":"openshell\u003aresolve\u003aenv:DISCORD_BOT_TOKEN"}}"#,
        Outcome::Token(format!(r#"{{"op":2,"d":{{"token":"{TOKEN}"}}}}"#).into()),
    );
    // What a name escapes of a placeholder's bytes is spelled out with it.
    let names = Vector::of_text(
        "names escaped",
        r#"{"\u006fp":2,"d":{"tok\u0065n":"$P"}}"#,
        Outcome::Token(format!(r#"{{"op":2,"d":{{"token":"{TOKEN}"}}}}"#).into()),
    );
    refused
        .into_iter()
        .chain(released)
        .chain([mixed, escaped, names])
        .collect()
}

/// Frames that no library would send, or not so.
fn frames() -> Vec<Vector> {
    let presence = format!(r#"{{"op":3,"d":{{"activities":[{{"name":"{PLACEHOLDER}"}}]}}}}"#);
    let identify = format!(r#"{{"op":2,"d":{{"token":"{PLACEHOLDER}"}}}}"#);
    let secret = identify.replace(PLACEHOLDER, TOKEN);
    let (head, tail) = identify.as_bytes().split_at(40);
    let (first, rest) = presence.as_bytes().split_at(50);
    let (second, third) = rest.split_at(3);
    let end = frame(true, CLOSE, &[0x03, 0xe8]);
    let reason = [&[0x03, 0xe8], PLACEHOLDER.as_bytes()].concat();
    let ping = frame(true, PING, PLACEHOLDER.as_bytes());
    let framed = |name: &str, frames: &[&[u8]], outcome| {
        let records = frames.iter().map(|frame| frame.to_vec()).collect();
        Vector::of_frames(name, records, outcome)
    };
    let whole = frame(true, TEXT, presence.as_bytes());
    let bytewise: Vec<_> = whole
        .iter()
        .map(std::slice::from_ref)
        .chain([&end[..]])
        .collect();
    let login = frame(true, TEXT, identify.as_bytes());
    vec![
        framed("ping", &[&ping, &end], Outcome::Text),
        framed(
            "close reason",
            &[&frame(true, CLOSE, &reason)],
            Outcome::Text,
        ),
        framed("behind a close", &[&end, &login], Outcome::Text),
        framed(
            "behind a close in one record",
            &[&[&end[..], &login].concat()],
            Outcome::Text,
        ),
        framed("presence, byte by byte", &bytewise, Outcome::Text),
        framed(
            "presence in fragments",
            &[
                &frame(false, TEXT, first),
                &frame(false, CONTINUATION, second),
                &frame(true, CONTINUATION, third),
                &end,
            ],
            Outcome::Text,
        ),
        framed(
            "presence in empty fragments and with pings between",
            &[
                &frame(false, TEXT, b""),
                &ping,
                &frame(false, CONTINUATION, first),
                &ping,
                &frame(true, CONTINUATION, rest),
                &end,
            ],
            Outcome::Text,
        ),
        framed(
            "login in fragments",
            &[
                &frame(false, TEXT, head),
                &frame(true, CONTINUATION, tail),
                &end,
            ],
            Outcome::Token(secret.clone().into()),
        ),
        framed(
            "another message between the fragments of a login",
            &[
                &frame(false, TEXT, head),
                &login,
                &frame(true, CONTINUATION, tail),
            ],
            Outcome::Closed(1002),
        ),
        framed(
            "login that a close interrupts",
            &[
                &frame(false, TEXT, head),
                &end,
                &frame(true, CONTINUATION, tail),
            ],
            Outcome::Contained,
        ),
        framed(
            "continuation of nothing",
            &[&frame(true, CONTINUATION, identify.as_bytes())],
            Outcome::Closed(1002),
        ),
        framed(
            "unmasked",
            &[&encode(true, TEXT, None, identify.as_bytes())],
            Outcome::Closed(1002),
        ),
        framed(
            "unknown opcode",
            &[&frame(true, 3, identify.as_bytes())],
            Outcome::Closed(1002),
        ),
        framed(
            "compressed without being asked",
            &[&frame(true, RSV1 | TEXT, identify.as_bytes())],
            Outcome::Closed(1002),
        ),
        framed(
            "reserved bit",
            &[&frame(true, RSV2 | TEXT, identify.as_bytes())],
            Outcome::Closed(1002),
        ),
        framed(
            "ping in fragments",
            &[&frame(false, PING, PLACEHOLDER.as_bytes())],
            Outcome::Closed(1002),
        ),
    ]
}

/// Messages that are not plain text.
fn encodings() -> Vec<Vector> {
    let presence = format!(r#"{{"op":3,"d":{{"name":"{PLACEHOLDER}"}}}}"#);
    let identify = format!(r#"{{"op":2,"d":{{"token":"{PLACEHOLDER}"}}}}"#);
    let length = u8::try_from(PLACEHOLDER.len()).unwrap_or_default();
    let named = |head: &[u8]| [head, &[length], PLACEHOLDER.as_bytes()].concat();
    let binary = [
        ("protobuf", named(b"\x0a")),
        ("protobuf of a protobuf", named(b"\x12\x29\x0a")),
        ("compressed ETF", named(b"\x83P\0\0\0\x30\x78\x9c")),
        ("CBOR", named(b"\xa1\x65token\x78")),
        (
            "chat message in msgpack",
            named(b"\x82\xa2op\x03\xa1d\x81\xa5token\xd9"),
        ),
        (
            "msgpack of two ops",
            named(b"\x83\xa2op\x02\xa2op\x03\xa1d\x81\xa5token\xd9"),
        ),
        (
            "presence in ETF",
            named(
                b"\x83t\0\0\0\x02m\0\0\0\x02opa\x03m\0\0\0\x01dt\0\0\0\x01m\0\0\0\x05tokenm\0\0\0",
            ),
        ),
        (
            "ETF with an atom for a token",
            named(b"\x83t\0\0\0\x02w\x02opa\x02w\x01dt\0\0\0\x01w\x05tokenw"),
        ),
        ("JSON presence in binary", presence.clone().into_bytes()),
    ]
    .map(|(name, message)| {
        Vector::of_frames(
            name,
            vec![frame(true, BINARY, &message), end()],
            Outcome::Text,
        )
    });
    let compressed = |name: &str, text: &str, outcome| {
        let message = frame(true, RSV1 | TEXT, &deflate(text));
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        Vector::of_frames(name, vec![message, end()], outcome).with_headers(offer)
    };
    let secret = identify.replace(PLACEHOLDER, TOKEN);
    let deflated = [
        compressed("compressed presence", &presence, Outcome::Text),
        compressed("compressed login", &identify, Outcome::Token(secret.into())),
        compressed(
            "compressed unknown key",
            r#"{"op":2,"d":{"token":"openshell:resolve:env:NOBODY"}}"#,
            Outcome::Closed(1008),
        ),
    ];
    binary.into_iter().chain(deflated).collect()
}

/// Placeholders in the heads of requests, and in their bodies.
fn heads() -> Vec<Vector> {
    let names = [
        "Origin",
        "Cookie",
        "Idempotency-Key",
        "Last-Event-ID",
        "Content-Disposition",
        "Access-Control-Request-Headers",
        "User-Agent",
        "X-Comment",
        "Proxy-Authorization",
        "Authorization2",
    ];
    let upgrades = names.iter().map(|name| {
        let header = format!("{name}: Bot {PLACEHOLDER}\r\n");
        Vector::of_frames(&format!("upgrade with {name}"), vec![end()], Outcome::Text)
            .with_headers(&header)
    });
    let requests = names.iter().map(|name| {
        let header = format!("{name}: Bot {PLACEHOLDER}\r\n");
        Vector::of_request(&format!("request with {name}"), Outcome::Text).with_headers(&header)
    });
    let others = [
        Vector::of_frames("subprotocol", vec![end()], Outcome::Text)
            .with_headers(&format!("Sec-WebSocket-Protocol: {ALIAS}\r\n")),
        Vector::of_frames("authorization of the gateway", vec![end()], Outcome::Text)
            .with_headers(&format!("Authorization: Bot {PLACEHOLDER}\r\n")),
        Vector::of_frames("header's name", vec![end()], Outcome::Text)
            .with_headers("X-OPENSHELL-RESOLVE-ENV-DISCORD_BOT_TOKEN: 1\r\n"),
        Vector::of_frames("query", vec![end()], Outcome::Text)
            .with_target(&format!("/?v=10&token={PLACEHOLDER}")),
        Vector::of_frames("path", vec![end()], Outcome::Text)
            .with_target(&format!("/bot{PLACEHOLDER}/x")),
        Vector::of_request("query of a request", Outcome::Text)
            .with_target(&format!("/?authorization={PLACEHOLDER}")),
        Vector::of_request("path of a request", Outcome::Text)
            .with_target(&format!("/bot{PLACEHOLDER}/x")),
        Vector::of_request("body", Outcome::Text)
            .with_body(&format!(r#"{{"content":"{PLACEHOLDER}"}}"#)),
        Vector::of_request(
            "bound header",
            Outcome::Token(format!("Authorization: Bot {TOKEN}\r\n").into()),
        )
        .with_headers(&format!("Authorization: Bot {PLACEHOLDER}\r\n")),
        Vector::of_request("bound header with more text", Outcome::Status(500))
            .with_headers(&format!("Authorization: Bot x{PLACEHOLDER}y z\r\n")),
        Vector::of_request("bound header with another host's key", Outcome::Status(403))
            .with_headers(&format!("Authorization: Bot {FOREIGN}\r\n")),
        Vector::of_request(
            "bound header with a space before its colon",
            Outcome::Status(400),
        )
        .with_headers(&format!("Authorization : Bot {PLACEHOLDER}\r\n")),
        Vector::of_request("bound header, folded", Outcome::Status(400)).with_headers(&format!(
            "X-Comment: x\r\n Authorization: Bot {PLACEHOLDER}\r\n"
        )),
        Vector::of_request("two lengths", Outcome::Status(400))
            .with_headers(&format!(
                "Content-Length: 5\r\nX-Comment: {PLACEHOLDER}\r\n"
            ))
            .with_body("{}"),
    ];
    upgrades.chain(requests).chain(others).collect()
}

impl Vector {
    fn of_text(name: &str, text: &str, outcome: Outcome) -> Self {
        let text = text.replace("$P", PLACEHOLDER);
        Self::of_frames(
            name,
            vec![frame(true, TEXT, text.as_bytes()), end()],
            outcome,
        )
    }

    fn of_frames(name: &str, records: Vec<Vec<u8>>, outcome: Outcome) -> Self {
        Self {
            name: name.to_owned(),
            host: GATEWAY,
            headers: String::new(),
            target: "/?v=10&encoding=json".to_owned(),
            body: None,
            records,
            outcome,
        }
    }

    fn of_request(name: &str, outcome: Outcome) -> Self {
        Self {
            host: REST,
            target: "/api/v10/users/@me".to_owned(),
            body: Some(String::new()),
            ..Self::of_frames(name, Vec::new(), outcome)
        }
    }

    fn with_headers(self, headers: &str) -> Self {
        let headers = headers.to_owned();
        Self { headers, ..self }
    }

    fn with_target(self, target: &str) -> Self {
        let target = target.to_owned();
        Self { target, ..self }
    }

    fn with_body(self, body: &str) -> Self {
        let body = Some(body.to_owned());
        Self { body, ..self }
    }

    fn head(&self) -> String {
        let Self {
            name,
            host,
            headers,
            target,
            body,
            outcome,
            ..
        } = self;
        let method = match body {
            Some(body) if !body.is_empty() => "POST",
            _ => "GET",
        };
        let rest = match body {
            None => "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                .to_owned(),
            Some(body) if !body.is_empty() => format!("Content-Length: {}\r\n", body.len()),
            Some(_) => String::new(),
        };
        // What comes back over HTTP is not redacted, only what comes over a WebSocket.
        let quiet = match (outcome, body) {
            (Outcome::Token(_), Some(_)) => format!("{QUIET}: 1\r\n"),
            _ => String::new(),
        };
        let body = body.as_deref().unwrap_or_default();
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{NAME}: {name}\r\n{quiet}{headers}{rest}\r\n{body}"
        )
    }

    fn to_json(&self) -> serde_json::Value {
        let head = self.head().into_bytes();
        let records = [head].into_iter().chain(self.records.iter().cloned());
        let records: Vec<_> = records.map(|record| hex(&record)).collect();
        json!({"name": self.name, "host": self.host, "records": records})
    }

    fn judge(&self, heard: Option<&Heard>, received: &[u8]) -> Result<()> {
        let arrived = heard.map(Heard::bytes).unwrap_or_default();
        let due = match &self.outcome {
            Outcome::Token(bytes) => bytes::count(bytes, TOKEN.as_bytes()),
            _ => 0,
        };
        ensure!(
            bytes::count(&arrived, TOKEN.as_bytes()) == due,
            "the token left {} times",
            bytes::count(&arrived, TOKEN.as_bytes())
        );
        ensure!(
            bytes::count(&arrived, FOREIGN_SECRET.as_bytes()) == 0,
            "another host's secret left"
        );
        for secret in [TOKEN, FOREIGN_SECRET] {
            ensure!(
                bytes::count(received, secret.as_bytes()) == 0,
                "a secret came back"
            );
        }
        let came = |wanted: &[u8]| heard.is_some_and(|heard| payloads(heard) == wanted);
        let answer = String::from_utf8_lossy(received);
        let status = answer.split(' ').nth(1);
        match &self.outcome {
            Outcome::Text => {
                let sent = [self.head().into_bytes(), self.payloads()].concat();
                let arrived = heard.map(|heard| [heard.head(), payloads(heard)].concat());
                let arrived = arrived.unwrap_or_default();
                let (sent, arrived) = (mentions(&sent), mentions(&arrived));
                ensure!(
                    sent == arrived,
                    "{arrived} of {sent} placeholders arrived; answer {status:?}"
                );
                ensure!(
                    self.body.is_some() || came(&self.payloads()),
                    "frames were changed"
                );
            }
            Outcome::Token(bytes) if self.body.is_some() => {
                let there = bytes::holds(&arrived, bytes);
                ensure!(there, "the bound header did not arrive; answer {status:?}");
            }
            Outcome::Token(bytes) => {
                let close = [0x03, 0xe8];
                ensure!(
                    came(&[bytes, &close[..]].concat()),
                    "another message arrived"
                );
            }
            Outcome::Contained => {}
            Outcome::Closed(code) => {
                let closed = closed_with(received);
                ensure!(
                    closed == Some(*code),
                    "closed with {closed:?}; answer {status:?}"
                );
            }
            Outcome::Status(code) => {
                ensure!(status == Some(&code.to_string()), "answer {status:?}");
                ensure!(heard.is_none(), "the request went on");
            }
        }
        Ok(())
    }

    /// What the frames carry that are sent, unmasked.
    fn payloads(&self) -> Vec<u8> {
        let mut rest = self.records.concat();
        let mut frames = Vec::new();
        while let [first, second, ..] = rest[..] {
            let (length, header) = match second & 0x7f {
                126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 8),
                short => (usize::from(short), 6),
            };
            let payload = rest[header..header + length].iter();
            let payload = payload.zip(MASK.iter().cycle());
            frames.push((first, payload.map(|(byte, key)| byte ^ key).collect()));
            rest.drain(..header + length);
        }
        join(frames)
    }
}

fn payloads(heard: &Heard) -> Vec<u8> {
    let frames = heard.frames.iter();
    join(
        frames
            .map(|(first, payload)| (*first, payload.0.clone()))
            .collect(),
    )
}

/// All messages, then all control frames, which overtake them.
fn join(mut frames: Vec<(u8, Vec<u8>)>) -> Vec<u8> {
    frames.sort_by_key(|(first, _)| first & 0x08);
    frames
        .into_iter()
        .flat_map(|(_, payload)| payload)
        .collect()
}

/// The code of the close frame at the end of what a client received.
fn closed_with(received: &[u8]) -> Option<u16> {
    let head = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    let mut rest = received.get(head + 4..)?;
    loop {
        let (&[first, second], after) = rest.split_first_chunk()?;
        let (length, after) = match second {
            126 => {
                let (length, after) = after.split_first_chunk()?;
                (u16::from_be_bytes(*length).into(), after)
            }
            short => (usize::from(short), after),
        };
        let (payload, after) = after.split_at_checked(length)?;
        if first == 0x80 | CLOSE {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        rest = after;
    }
}

fn mentions(bytes: &[u8]) -> usize {
    ["openshell:resolve:env:", "OPENSHELL-RESOLVE-ENV-"]
        .map(|word| bytes::count(bytes, word.as_bytes()))
        .iter()
        .sum()
}

fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    encode(fin, opcode, Some(MASK), payload)
}

fn end() -> Vec<u8> {
    frame(true, CLOSE, &[0x03, 0xe8])
}

/// A message as permessage-deflate has it (RFC 7692 §7.2.1): of ASCII, as one block of the fixed code.
fn deflate(text: &str) -> Vec<u8> {
    let mut bits = vec![0, 1, 0];
    for byte in text.bytes() {
        // The first bit of a code goes first (RFC 1951 §3.1.1), of which literals up to 143 have eight.
        bits.extend((0..8).rev().map(|bit| (byte + 0x30) >> bit & 1));
    }
    // The block's end, and the head of the empty one that a flush appends.
    bits.extend([0; 10]);
    let bytes = bits.chunks(8);
    let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
    bytes.map(byte).collect()
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
