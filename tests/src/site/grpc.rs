//! Calls of gRPC whose messages nobody reads. <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::time::Duration;

use super::{
    Seen,
    reply::{Body, Part, Reply},
};

const KIND: &str = "application/grpc";

/// A message's header: not compressed, and its length.
const HEADER: usize = 5;

pub(super) fn answer(seen: &Seen) -> Reply {
    let parts = match seen.path() {
        "/echo.Echo/Unary" => vec![Part::Bytes(seen.body.clone())],
        "/echo.Echo/Collect" => vec![Part::Bytes(message(&collected(&seen.body)))],
        "/echo.Echo/Repeat" => (0..5)
            .flat_map(|_| {
                let pause = Part::Pause(Duration::from_millis(20));
                [pause, Part::Bytes(seen.body.clone())]
            })
            .collect(),
        "/echo.Echo/Fail" => {
            return Reply::new(200, KIND, "")
                .with("grpc-status", "5")
                .with("grpc-message", "no such %C3%BCbung");
        }
        _ => return Reply::new(200, KIND, "").with("grpc-status", "12"),
    };
    let mut reply = Reply::new(200, KIND, "");
    reply.body = Body::Parts(parts);
    reply.trailers.push(("grpc-status", "0"));
    reply
}

/// Whether an answer has to begin before the request is complete: then it is what the request says.
pub(super) fn converses(path: &str) -> bool {
    path == "/echo.Echo/Converse"
}

/// What such an answer begins and ends with.
pub(super) fn conversation() -> Reply {
    let mut reply = Reply::new(200, KIND, "");
    reply.trailers.push(("grpc-status", "0"));
    reply
}

fn message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), payload].concat()
}

/// The payloads of all messages in a row.
fn collected(mut messages: &[u8]) -> Vec<u8> {
    let mut collected = Vec::new();
    while let Some((header, rest)) = messages.split_at_checked(HEADER) {
        let length = header.iter().skip(1);
        let length = length.fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let (payload, behind) = rest.split_at(length.min(rest.len()));
        collected.extend_from_slice(payload);
        messages = behind;
    }
    collected
}
