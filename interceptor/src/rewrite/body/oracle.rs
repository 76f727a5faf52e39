//! What holds for every body, whatever is in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests and fuzzers are built with it"
)]

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Refusal, Rewriter};
use crate::rewrite::{grammar, release::builder::release};

const SECRET: &[u8] = b"secret-one";

const MEDIA: [&str; 4] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
];

/// Rewrites `body` as one of four kinds, whole and in pieces of `size`.
pub(crate) fn check(kind: usize, body: &[u8], size: usize) {
    let media = MEDIA.get(kind % MEDIA.len()).unwrap();
    let whole = run(media, [body]);
    assert_eq!(run(media, body.chunks(size)), whole, "in pieces of {size}");
    let clean = !grammar::mentions(body) && whole != Err(Refusal::Charset);
    if clean && !body.contains(&b'%') && !body.contains(&b'\\') {
        assert_eq!(whole, Ok(body.to_vec()), "without a placeholder");
    }
    if let Ok(out) = whole
        && out != body
    {
        assert!(memchr::memmem::find(&out, SECRET).is_some());
    }
}

fn run<'p>(media: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<u8>, Refusal> {
    let release = release()
        .json_body("TOKEN", SECRET, "token")
        .form("TOKEN", SECRET, "token")
        .multipart("TOKEN", SECRET, "token")
        .text("TOKEN", SECRET, "text/plain")
        .elsewhere("OTHER")
        .build();
    let fields = [("content-type", media.as_bytes())].into_iter();
    let rewriter = Rewriter::for_request(&Arc::new(release), fields, 0, &Arc::default());
    let mut rewriter = rewriter.unwrap().unwrap();
    let mut out = Zeroizing::new(Vec::new());
    for piece in pieces {
        rewriter.push(piece, &mut out)?;
    }
    rewriter.finish(&mut out)?;
    Ok(out.to_vec())
}
