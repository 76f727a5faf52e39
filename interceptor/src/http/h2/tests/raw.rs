//! A client that writes frames as it likes.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};

use super::peer::{Asked, Do, noting, serve};
use crate::{
    http::{End, HttpError, h2::relay},
    policy::Judgement,
};
/// A frame of a kind, with flags, on a stream.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field of a head, spelled out.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| {
        let length = text.len();
        if length < 127 {
            return vec![u8::try_from(length).unwrap()];
        }
        let mut out = vec![127];
        let mut rest = length - 127;
        while rest >= 128 {
            out.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        out.push(u8::try_from(rest).unwrap());
        out
    };
    [
        &[0][..],
        &length(name),
        name.as_bytes(),
        &length(value),
        value.as_bytes(),
    ]
    .concat()
}

/// The head of a GET, with more fields.
pub(super) fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", crate::http::tests::peer::HOST),
        (":path", "/"),
    ];
    let fields = fields.iter().chain(more);
    fields
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

pub(super) struct Raw {
    pub(super) client: DuplexStream,
    pub(super) asked: mpsc::UnboundedReceiver<Asked>,
    /// Held, so that the server goes on.
    _server: mpsc::UnboundedSender<Do>,
    pub(super) relay: JoinHandle<Result<End, HttpError>>,
}

impl Raw {
    /// After the preface and empty SETTINGS.
    pub(super) async fn new() -> Self {
        let (exchange, shutdown, _) = noting(Box::new(|_| Judgement::Allow));
        // Nobody stops it.
        drop(shutdown);
        let (client, client_end) = duplex(64 * 1024);
        let (server_end, server) = duplex(64 * 1024);
        let relay = tokio::spawn(relay(client_end, server_end, exchange));
        let (server, asked) = serve(server, h2::server::Builder::new());
        let mut raw = Self {
            client,
            asked,
            _server: server,
            relay,
        };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(&frame(4, 0, 0, &[])).await;
        raw
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // It may have been ended.
        if let Err(error) = self.client.write_all(bytes).await {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }

    /// The next frame that is none of the connection's own.
    pub(super) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            let mut header = [0; 9];
            self.client.read_exact(&mut header).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.client.read_exact(&mut payload).await.ok()?;
            let ours = matches!(kind, 4 | 6 | 8);
            if !ours {
                return Some((kind, flags, u32::from_be_bytes(stream), payload));
            }
        }
    }

    /// The code with which the stream 1 is reset, or 0 if it is answered; with `None` the connection ended instead.
    pub(super) async fn verdict(&mut self) -> Verdict {
        while let Some((kind, _, stream, payload)) = self.next().await {
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match (kind, stream) {
                (1, 1) => return Verdict::Answered,
                (3, 1) => return Verdict::Reset(code(0)),
                (7, 0) => return Verdict::GoAway(code(4)),
                _ => {}
            }
        }
        Verdict::Ended
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    Reset(u32),
    GoAway(u32),
    Ended,
}
