//! What is answered where.

mod chat;
mod git;
mod models;
mod packages;

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{
    Seen, grpc,
    reply::{Part, Reply},
};

/// What a large download holds, in bytes.
const LARGE: usize = 3 << 20;

/// `{"message":"compressed"}` by gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xabV\xcaM-.NLOU\xb2RJ\xce\xcf-(\x02\xf2RS\x94j\x01\xcb\0\x11\x90\x18\0\0\0";

/// `directory` is the site's own.
pub(super) fn answer(seen: &Seen, directory: &Path) -> Reply {
    match seen.host.as_str() {
        "api.anthropic.com" => models::anthropic(seen),
        "api.openai.com" => models::openai(seen),
        "discord.com" => chat::discord(seen),
        "grpc.site.example" => grpc::answer(seen),
        "github.com" => git::git(seen, directory),
        "packages.example.org" => packages::pip(seen),
        "registry.example.org" => packages::npm(seen),
        "files.slack.com" | "slack.com" => chat::slack(seen),
        _ => tour(seen),
    }
}

fn tour(seen: &Seen) -> Reply {
    match seen.path() {
        "/echo" => Reply::json(&json!({ "method": seen.method, "bytes": seen.body.len() })),
        "/events" => Reply::events((0..5).map(|number| format!("data: {number}"))),
        "/gzip" => Reply::new(200, "application/json", GZIP).with("content-encoding", "gzip"),
        "/large" => Reply::new(200, "application/octet-stream", large()),
        "/chunks" => {
            let chunk = |text: &str| Part::Bytes(text.into());
            let pause = Part::Pause(Duration::from_millis(20));
            let mut reply =
                Reply::parts(vec![chunk("one, "), chunk("two"), pause, chunk(", three")])
                    .with("trailer", "x-sum");
            reply.trailers.push(("x-sum", "3"));
            reply
        }
        "/redirect" => Reply::new(302, "text/plain", "").with("location", "/echo?redirected=yes"),
        "/away" => Reply::new(307, "text/plain", "")
            .with("location", "https://away.site.example/echo?redirected=away"),
        "/cookie" => Reply::new(200, "text/plain", "set")
            .with("set-cookie", "a=1; Path=/; Secure")
            .with("set-cookie", "b=2; Path=/; Secure; HttpOnly"),
        "/empty" => Reply::new(204, "text/plain", ""),
        "/missing" => Reply::new(404, "text/plain", "there is no such thing"),
        "/broken" => Reply::new(500, "text/plain", "out of order"),
        _ => Reply::new(404, "text/plain", "no route"),
    }
}

/// Bytes that no compression makes small, the same each time.
fn large() -> Vec<u8> {
    let numbers = (0u32..).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
    numbers.flatten().take(LARGE).collect()
}
