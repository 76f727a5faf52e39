//! Bodies as real encoders make them, and what real decoders make of ours.

use std::io::Write as _;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, InflateConfig, ReturnCode, Status};
use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer};

/// An empty one is no coding.
pub(super) const ALL: [&str; 9] = [
    "",
    "gzip",
    "deflate",
    "raw deflate",
    "br",
    "zstd",
    "sized zstd",
    "gzip, br",
    "zstd,deflate",
];
/// Those that can be gone on with anywhere.
pub(super) const SEAMED: [&str; 6] = ["", "gzip", "deflate", "raw deflate", "zstd", "sized zstd"];

/// The field's value for `encoding`.
pub(super) fn name(encoding: &str) -> &str {
    match encoding {
        "raw deflate" => "deflate",
        "sized zstd" => "zstd",
        encoding => encoding,
    }
}

pub(in crate::http) fn encode(encoding: &str, text: &[u8]) -> Vec<u8> {
    encode_flushed(encoding, &[text])
}

/// Flushed behind each of `texts`.
pub(super) fn encode_flushed(encoding: &str, texts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    if let Some((inner, outer)) = encoding.split_once(',') {
        let inner = encode_flushed(inner.trim(), texts);
        return encode_flushed(outer.trim(), &[inner]);
    }
    let mut encoder = Encoder::new(encoding, texts);
    let mut out = Vec::new();
    for text in texts {
        out.extend(encoder.flushed(text.as_ref()));
    }
    out.extend(encoder.end());
    out
}

/// Encodes a stream.
pub(super) enum Encoder {
    None,
    Deflate(Deflate),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(CCtx<'static>),
}

impl Encoder {
    /// `texts`: all of it, for those that tell its length.
    pub(super) fn new(encoding: &str, texts: &[impl AsRef<[u8]>]) -> Self {
        let deflate = |window_bits| {
            Self::Deflate(Deflate::new_with_config(DeflateConfig {
                window_bits,
                ..DeflateConfig::default()
            }))
        };
        let mut zstd = CCtx::create();
        zstd.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
        match encoding {
            "" => Self::None,
            "gzip" => deflate(31),
            "deflate" => deflate(15),
            "raw deflate" => deflate(-15),
            "br" => {
                let writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                Self::Brotli(Box::new(writer))
            }
            "zstd" => Self::Zstd(zstd),
            "sized zstd" => {
                let size = texts.iter().map(|text| text.as_ref().len() as u64).sum();
                zstd.set_pledged_src_size(Some(size)).unwrap();
                Self::Zstd(zstd)
            }
            _ => unreachable!("{encoding}"),
        }
    }

    pub(super) fn flushed(&mut self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::None => text.to_vec(),
            Self::Deflate(deflate) => run(deflate, text, DeflateFlush::SyncFlush),
            Self::Brotli(writer) => {
                writer.write_all(text).unwrap();
                writer.flush().unwrap();
                std::mem::take(writer.get_mut())
            }
            Self::Zstd(context) => {
                let mut out = Vec::with_capacity(text.len() * 2 + 1024);
                let mut into = OutBuffer::around(&mut out);
                let mut from = InBuffer::around(text);
                context.compress_stream(&mut into, &mut from).unwrap();
                assert_eq!(from.pos(), text.len());
                while context.flush_stream(&mut into).unwrap() > 0 {}
                out
            }
        }
    }

    pub(super) fn end(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Deflate(mut deflate) => run(&mut deflate, b"", DeflateFlush::Finish),
            Self::Brotli(writer) => writer.into_inner(),
            Self::Zstd(mut context) => {
                let mut out = Vec::with_capacity(1024);
                let mut into = OutBuffer::around(&mut out);
                while context.end_stream(&mut into).unwrap() > 0 {}
                out
            }
        }
    }
}

/// All that `deflate` makes of `text`.
pub(super) fn run(deflate: &mut Deflate, text: &[u8], flush: DeflateFlush) -> Vec<u8> {
    let mut out = vec![0; text.len() * 2 + 256 * 1024];
    let before = (deflate.total_in(), deflate.total_out());
    let status = deflate.compress(text, &mut out, flush).unwrap();
    assert!(matches!(
        status,
        Status::Ok | Status::StreamEnd | Status::BufError
    ));
    assert_eq!(deflate.total_in() - before.0, text.len() as u64);
    out.truncate((deflate.total_out() - before.1) as usize);
    out
}

/// # Panics
/// It is not whole, or a sum is wrong.
pub(in crate::http) fn decode(encoding: &str, body: &[u8]) -> Vec<u8> {
    if let Some((inner, outer)) = encoding.split_once(',') {
        let inner_body = decode(outer.trim(), body);
        return decode(inner.trim(), &inner_body);
    }
    let inflate = |window_bits| {
        let mut out = vec![0; 1 << 20];
        let config = InflateConfig { window_bits };
        let (text, code) = zlib_rs::decompress_slice(&mut out, body, config);
        assert_eq!(code, ReturnCode::Ok);
        text.to_vec()
    };
    match encoding {
        "" => body.to_vec(),
        "gzip" => inflate(31),
        "deflate" => inflate(15),
        "raw deflate" => inflate(-15),
        "br" => {
            let mut out = Vec::new();
            brotli_decompressor::BrotliDecompress(&mut &body[..], &mut out).unwrap();
            out
        }
        "zstd" | "sized zstd" => {
            let mut out = Vec::with_capacity(1 << 20);
            DCtx::create().decompress(&mut out, body).unwrap();
            out
        }
        _ => unreachable!("{encoding}"),
    }
}

#[test]
fn encoders_and_decoders_agree() {
    for encoding in ALL {
        let texts = ["some text, ", "", "some text again"];
        let body = encode_flushed(encoding, &texts);
        assert_eq!(
            decode(encoding, &body),
            texts.concat().as_bytes(),
            "{encoding}"
        );
    }
}
