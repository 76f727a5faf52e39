//! Streams that do not end soon.

use super::{
    super::{PATIENCE, REST},
    encoders::{self, Encoder},
    *,
};

/// What a client can read of what has come so far.
struct Client {
    encoding: &'static str,
    got: Vec<u8>,
    text: Vec<u8>,
}

impl Client {
    fn new(encoding: &'static str) -> Self {
        Self {
            encoding,
            got: Vec::new(),
            text: Vec::new(),
        }
    }

    fn gets(&mut self, more: &[u8]) -> &[u8] {
        self.got.extend_from_slice(more);
        self.text = partly(self.encoding, &self.got);
        &self.text
    }
}

/// The text that can be had from the beginning of a body.
fn partly(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let made = match encoding {
        "" => return body.to_vec(),
        "gzip" | "deflate" | "raw deflate" => {
            let mut inflate = match encoding {
                "gzip" => zlib_rs::Inflate::new(true, 31),
                "deflate" => zlib_rs::Inflate::new(true, 15),
                _ => zlib_rs::Inflate::new(false, 15),
            };
            let flush = zlib_rs::InflateFlush::SyncFlush;
            inflate.decompress(body, &mut out, flush).unwrap();
            inflate.total_out() as usize
        }
        "br" => {
            let alloc = brotli_decompressor::StandardAlloc::default;
            let mut state = brotli_decompressor::BrotliState::new(alloc(), alloc(), alloc());
            let (mut left, mut taken, mut room, mut made) = (body.len(), 0, out.len(), 0);
            brotli_decompressor::BrotliDecompressStream(
                &mut left, &mut taken, body, &mut room, &mut made, &mut out, &mut 0, &mut state,
            );
            made
        }
        _ => {
            let mut into = zstd_safe::OutBuffer::around(&mut out[..]);
            let mut from = zstd_safe::InBuffer::around(body);
            let mut context = zstd_safe::DCtx::create();
            while from.pos() < body.len() {
                context.decompress_stream(&mut into, &mut from).unwrap();
            }
            into.pos()
        }
    };
    out.truncate(made);
    out
}

fn event(n: usize) -> Vec<u8> {
    format!("data: {{\"n\":{n},\"text\":\"hello, hello again\"}}\n\n").into_bytes()
}

#[test]
fn a_flushed_event_comes_out_at_once() {
    for encoding in ["", "gzip", "deflate", "raw deflate", "br", "zstd"] {
        let mut carrier = Carrier::new(EVENTS, encoders::name(encoding));
        let mut encoder = Encoder::new(encoding, &[b""]);
        let mut client = Client::new(encoding);
        let mut expected = Vec::new();
        for n in 0..100 {
            expected.extend(event(n));
            carrier.push(&encoder.flushed(&event(n))).unwrap();
            let text = client.gets(&std::mem::take(&mut carrier.out));
            assert_eq!(text, expected, "{encoding} {n}");
        }
    }
}

#[test]
fn events_with_secrets_come_out_at_once_too_and_the_end_is_right() {
    for encoding in ["", "gzip", "deflate", "raw deflate", "zstd"] {
        let mut carrier = Carrier::new(EVENTS, encoders::name(encoding));
        let mut encoder = Encoder::new(encoding, &[b""]);
        let mut client = Client::new(encoding);
        let mut expected = Vec::new();
        for n in 0..100 {
            let mut text = event(n);
            if n % 10 == 3 {
                text = [b"data: ", SECRETS[n / 10 % 2].as_bytes(), b"\n\n"].concat();
            }
            expected.extend(oracle(&text, Fill::Free));
            carrier.push(&encoder.flushed(&text)).unwrap();
            let got = client.gets(&std::mem::take(&mut carrier.out));
            assert_eq!(got, expected, "{encoding} {n}");
        }
        carrier.push(&encoder.end()).unwrap();
        let seen = carrier.finish().unwrap();
        assert_eq!(seen.count, 10, "{encoding}");
        let whole = [client.got, seen.body].concat();
        assert_eq!(decode(encoding, &whole), expected, "{encoding}");
    }
}

#[test]
fn a_secret_far_into_brotli_cuts_the_response() {
    let mut carrier = Carrier::new(EVENTS, "br");
    let mut encoder = Encoder::new("br", &[b""]);
    carrier.push(&encoder.flushed(&event(0))).unwrap();
    assert!(!carrier.out.is_empty());
    let stop = carrier.push(&encoder.flushed(&with_secret()));
    assert_eq!(stop, Err(Stop::Reflected));
}

#[test]
fn a_secret_past_a_length_that_was_told_cuts_the_response() {
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let body = encode("gzip", &[noise, with_secret()].concat());
    let seen = carry(sized(&body), "gzip", body.chunks(4096), false);
    assert_eq!(seen, Err(Stop::Reflected));
}

#[test]
fn a_last_block_waits_for_its_end_though_the_sender_pauses() {
    let text = [b"hello, ".repeat(20), with_secret()].concat();
    let Encoder::Deflate(mut deflate) = Encoder::new("gzip", &[b""]) else {
        unreachable!();
    };
    let body = encoders::run(&mut deflate, &text, zlib_rs::DeflateFlush::Finish);
    let mut carrier = Carrier::new(JSON, "gzip");
    let (before, after) = body.split_at(body.len() / 2);
    carrier.push(before).unwrap();
    assert_eq!(carrier.filter.patience(), Some(PATIENCE));
    carrier.push(after).unwrap();
    let seen = carrier.finish().unwrap();
    assert_eq!(seen.count, 2);
    assert!(!patterns().concern(&decode("gzip", &seen.body)));
}

#[test]
fn a_beginning_of_a_secret_waits_no_longer_than_it_must() {
    for encoding in ["", "gzip", "deflate", "raw deflate", "br", "zstd"] {
        let mut carrier = Carrier::new(EVENTS, encoders::name(encoding));
        let mut encoder = Encoder::new(encoding, &[b""]);
        let mut client = Client::new(encoding);
        carrier.push(&encoder.flushed(b"hello secret")).unwrap();
        assert_eq!(carrier.filter.patience(), Some(REST), "{encoding}");
        assert!(carrier.rest().unwrap());
        let text = client.gets(&std::mem::take(&mut carrier.out));
        assert_eq!(text, b"hello secret", "{encoding}");
        assert_eq!(carrier.filter.patience(), None, "{encoding}");
        if encoding == "br" {
            continue;
        }
        // Its end comes all the same.
        carrier.push(&encoder.flushed(b"-one!")).unwrap();
        let text = client.gets(&std::mem::take(&mut carrier.out));
        assert!(
            !patterns().concern(text) && text.ends_with(b"!"),
            "{encoding}"
        );
        assert_eq!(text.len(), "hello secret-one!".len(), "{encoding}");
    }
}

#[test]
fn a_long_beginning_of_a_secret_is_overwritten_when_it_can_wait_no_longer() {
    for encoding in ["", "gzip", "zstd"] {
        let mut carrier = Carrier::new(EVENTS, encoders::name(encoding));
        let mut encoder = Encoder::new(encoding, &[b""]);
        let mut client = Client::new(encoding);
        carrier.push(&encoder.flushed(b"hello secret-on")).unwrap();
        assert_eq!(carrier.filter.patience(), Some(PATIENCE), "{encoding}");
        assert!(carrier.rest().unwrap());
        let text = client.gets(&std::mem::take(&mut carrier.out));
        assert_eq!(text, b"hello *********", "{encoding}");
    }
}

#[test]
fn bombs_are_cut() {
    let zeros = vec![0; 64 << 20];
    for encoding in ["zstd", "br"] {
        let body = match encoding {
            "zstd" => {
                let mut out = Vec::with_capacity(1 << 20);
                zstd_safe::compress(&mut out, &zeros, 3).unwrap();
                out
            }
            _ => {
                let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                std::io::Write::write_all(&mut writer, &zeros).unwrap();
                writer.into_inner()
            }
        };
        let seen = carry(JSON, encoding, body.chunks(100), false);
        assert_eq!(seen, Err(Stop::Bomb), "{encoding} {}", body.len());
    }
}

#[test]
fn long_bodies_pass_at_flat_memory() {
    let piece: Vec<u8> = (0..20_000).flat_map(event).collect();
    for encoding in ["", "gzip", "deflate", "br", "zstd"] {
        for secret in [false, true] {
            let mut carrier = Carrier::new(EVENTS, encoders::name(encoding));
            let mut encoder = Encoder::new(encoding, &[b""]);
            let mut highest = 0;
            if secret && encoding != "br" {
                carrier.push(&encoder.flushed(&with_secret())).unwrap();
            }
            for _ in 0..8 {
                for data in encoder.flushed(&piece).chunks(16 * 1024) {
                    carrier.filter.push(data, &mut carrier.out).unwrap();
                    while carrier.filter.is_behind() {
                        highest = highest.max(carrier.out.capacity());
                        carrier.out.clear();
                        carrier.filter.more(&mut carrier.out).unwrap();
                    }
                    highest = highest.max(carrier.out.capacity());
                    carrier.out.clear();
                    let kept = carrier.filter.kept();
                    assert!(kept < 768 * 1024, "{encoding} {secret}: {kept}");
                }
            }
            assert!(highest < 256 * 1024, "{encoding} {secret}: {highest}");
        }
    }
}
