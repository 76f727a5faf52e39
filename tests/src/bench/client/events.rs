//! Reading server-sent events.

use anyhow::{Context as _, Result, anyhow, ensure};
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming, header};
use zlib_rs::{Inflate, InflateFlush};

use crate::{
    bench::{
        clock::now,
        order::Answer,
        server::{BEFORE, BEHIND},
    },
    bulk::GZIP,
};

/// How late each event was.
pub(super) async fn read(response: Response<Incoming>, count: u32) -> Result<Answer> {
    let coded = response.headers().contains_key(header::CONTENT_ENCODING);
    let mut inflate = coded.then(|| Inflate::new(false, 15));
    let mut header = if coded { GZIP.len() } else { 0 };
    let mut body = response.into_body();
    let (mut text, mut samples) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let arrived = now();
        let frame = frame?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        bytes += data.len() as u64;
        let (skipped, data) = data.split_at(header.min(data.len()));
        header -= skipped.len();
        match &mut inflate {
            None => text.extend_from_slice(data),
            // The end is not an event.
            Some(_) if samples.len() == usize::try_from(count)? => {}
            Some(inflate) => expand(inflate, data, &mut text)?,
        }
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let event = String::from_utf8(event)?;
            let at = event
                .strip_prefix(BEFORE)
                .and_then(|event| event.strip_suffix(BEHIND))
                .context("another event")?;
            samples.push(arrived.saturating_sub(at.parse()?));
        }
    }
    ensure!(
        samples.len() == usize::try_from(count)?,
        "{} events of {count} came",
        samples.len()
    );
    Ok(Answer {
        samples,
        bytes,
        ..Answer::default()
    })
}

fn expand(inflate: &mut Inflate, data: &[u8], text: &mut Vec<u8>) -> Result<()> {
    let before = text.len();
    // An event is as large as that at most, and one comes at a time.
    let mut out = [0; 4096];
    let so_far = inflate.total_out();
    inflate
        .decompress(data, &mut out, InflateFlush::SyncFlush)
        .map_err(|error| anyhow!("decompressing: {error:?}"))?;
    let came = usize::try_from(inflate.total_out() - so_far)?;
    ensure!(came < out.len(), "more than an event came at once");
    text.extend_from_slice(out.get(..came).unwrap_or_default());
    ensure!(text.len() >= before, "events got lost");
    Ok(())
}
