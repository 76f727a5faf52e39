//! Server-sent events that tell when they were written.

use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use hyper::{Response, header};
use tokio::sync::mpsc;
use zlib_rs::{Deflate, DeflateFlush, crc32::crc32};

use crate::{
    bench::{clock::now, content::Content},
    bulk::GZIP,
};

/// What stands before the time, in nanoseconds of the monotonic clock, and behind it.
pub(in crate::bench) const BEFORE: &str = "data: {\"at\":";
pub(in crate::bench) const BEHIND: &str =
    ",\"delta\":{\"role\":\"assistant\",\"content\":\" and so on\"},\"finish_reason\":null}\n\n";

pub(super) fn stream(count: u32, pause: u64, gzip: bool) -> Result<Response<Content>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // A client that is gone, or reads something else, says so itself.
        drop(send(sender, count, Duration::from_millis(pause), gzip).await);
    });
    let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    let response = if gzip {
        response.header(header::CONTENT_ENCODING, "gzip")
    } else {
        response
    };
    Ok(response.body(Content::Paced(receiver))?)
}

async fn send(sender: mpsc::Sender<Bytes>, count: u32, pause: Duration, gzip: bool) -> Result<()> {
    let mut gzip = gzip.then(Gzip::new);
    for _ in 0..count {
        tokio::time::sleep(pause).await;
        let event = format!("{BEFORE}{}{BEHIND}", now());
        let event = match &mut gzip {
            None => event.into(),
            Some(gzip) => gzip.push(event.as_bytes())?,
        };
        sender.send(event).await?;
    }
    if let Some(gzip) = gzip {
        sender.send(gzip.finish()).await?;
    }
    Ok(())
}

/// A gzip file (RFC 1952 §2.3) whose every piece can be read at once.
struct Gzip {
    deflate: Deflate,
    header: &'static [u8],
    crc: u32,
    length: u32,
}

impl Gzip {
    fn new() -> Self {
        Self {
            deflate: Deflate::new(6, false, 15),
            header: &GZIP,
            crc: 0,
            length: 0,
        }
    }

    fn push(&mut self, text: &[u8]) -> Result<Bytes> {
        self.crc = crc32(self.crc, text);
        self.length += u32::try_from(text.len())?;
        let mut out = vec![0; text.len() + 64];
        let before = self.deflate.total_out();
        self.deflate
            .compress(text, &mut out, DeflateFlush::SyncFlush)
            .map_err(|error| anyhow!("compressing an event: {error:?}"))?;
        out.truncate(usize::try_from(self.deflate.total_out() - before)?);
        Ok([std::mem::take(&mut self.header), &out].concat().into())
    }

    fn finish(self) -> Bytes {
        // The last block, which is empty.
        let mut out = vec![3, 0];
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.into()
    }
}
