//! MessagePack (`msgpack/spec.md`, 2017).
//!
//! A string is a `str`, or a `bin`: the encoders of the time before there were two write text as the one that there was.
//! Its tag stays as long as the length fits, for decoders of that time too, which do not know `str 8`.

use super::reader::{Fault, Reader, to_usize};

const BIN_8: u8 = 0xc4;
const BIN_16: u8 = 0xc5;
const BIN_32: u8 = 0xc6;
const FIXSTR: u8 = 0xa0;
const FIXSTR_LAST: u8 = 0xbf;
const STR_8: u8 = 0xd9;
const STR_16: u8 = 0xda;
const STR_32: u8 = 0xdb;

pub(super) fn read(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let start = reader.position();
    let tag = reader.u8()?;
    match text_length(reader, tag)? {
        Some(length) => reader.string(start, length),
        None => no_text(reader, tag),
    }
}

/// Appends the tag and the length of a string; the tag is a longer one than `tag` if that cannot say the length.
pub(super) fn put_header(tag: u8, length: usize, out: &mut Vec<u8>) -> Option<()> {
    let short = u8::try_from(length).ok();
    let middle = u16::try_from(length).ok();
    let long = u32::try_from(length).ok()?;
    match (tag, short, middle) {
        (FIXSTR..=FIXSTR_LAST, Some(length @ 0..=31), _) => out.push(FIXSTR | length),
        (FIXSTR..=FIXSTR_LAST | STR_8, Some(length), _) => out.extend([STR_8, length]),
        (BIN_8, Some(length), _) => out.extend([BIN_8, length]),
        (FIXSTR..=FIXSTR_LAST | STR_8 | STR_16, _, Some(length)) => {
            out.push(STR_16);
            out.extend(length.to_be_bytes());
        }
        (BIN_8 | BIN_16, _, Some(length)) => {
            out.push(BIN_16);
            out.extend(length.to_be_bytes());
        }
        _ => {
            let binary = matches!(tag, BIN_8 | BIN_16 | BIN_32);
            out.push(if binary { BIN_32 } else { STR_32 });
            out.extend(long.to_be_bytes());
        }
    }
    Some(())
}

fn no_text(reader: &mut Reader<'_>, tag: u8) -> Result<(), Fault> {
    match tag {
        0x80..=0x8f => map(reader, (tag & 0x0f).into()),
        0xde => {
            let pairs = reader.u16()?;
            map(reader, pairs.into())
        }
        0xdf => {
            let pairs = reader.u32()?;
            map(reader, pairs)
        }
        0x90..=0x9f => array(reader, (tag & 0x0f).into()),
        0xdc => {
            let elements = reader.u16()?;
            array(reader, elements.into())
        }
        0xdd => {
            let elements = reader.u32()?;
            array(reader, elements)
        }
        0xc7 => {
            let length = reader.u8()?;
            ext(reader, length.into())
        }
        0xc8 => {
            let length = reader.u16()?;
            ext(reader, length.into())
        }
        0xc9 => {
            let length = reader.u32()?;
            ext(reader, to_usize(length))
        }
        0xd4..=0xd8 => ext(reader, 1 << (tag - 0xd4)),
        _ => {
            let value = scalar(reader, tag)?;
            reader.scalar(value);
            Ok(())
        }
    }
}

/// Reads a value that is one number or constant; integers of no sign are told.
fn scalar(reader: &mut Reader<'_>, tag: u8) -> Result<Option<u64>, Fault> {
    Ok(match tag {
        0x00..=0x7f => Some(tag.into()),
        // nil, false, true; -32 to -1
        0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => None,
        // float 32, 64
        0xca => reader.bytes::<4>().map(|_| None)?,
        0xcb => reader.bytes::<8>().map(|_| None)?,
        // uint 8 to 64
        0xcc => Some(reader.u8()?.into()),
        0xcd => Some(reader.u16()?.into()),
        0xce => Some(reader.u32()?.into()),
        0xcf => Some(reader.bytes().map(u64::from_be_bytes)?),
        // int 8 to 64
        0xd0 => reader.bytes().map(i8::from_be_bytes)?.try_into().ok(),
        0xd1 => reader.bytes().map(i16::from_be_bytes)?.try_into().ok(),
        0xd2 => reader.bytes().map(i32::from_be_bytes)?.try_into().ok(),
        0xd3 => reader.bytes().map(i64::from_be_bytes)?.try_into().ok(),
        // 0xc1 is never used.
        _ => return Err(Fault),
    })
}

fn map(reader: &mut Reader<'_>, pairs: u32) -> Result<(), Fault> {
    reader.open(true)?;
    for _ in 0..pairs {
        let tag = reader.u8()?;
        match text_length(reader, tag)? {
            Some(length) => reader.name(length)?,
            // It is none of ours.
            None => no_text(reader, tag)?,
        }
        read(reader)?;
    }
    reader.close();
    Ok(())
}

fn array(reader: &mut Reader<'_>, elements: u32) -> Result<(), Fault> {
    reader.open(false)?;
    for _ in 0..elements {
        read(reader)?;
    }
    reader.close();
    Ok(())
}

/// An extension: its type, then its bytes.
fn ext(reader: &mut Reader<'_>, length: usize) -> Result<(), Fault> {
    reader.u8()?;
    reader.blob(length)
}

/// `None`: `tag` is not that of a text.
fn text_length(reader: &mut Reader<'_>, tag: u8) -> Result<Option<usize>, Fault> {
    Ok(match tag {
        FIXSTR..=FIXSTR_LAST => Some((tag - FIXSTR).into()),
        STR_8 | BIN_8 => Some(reader.u8()?.into()),
        STR_16 | BIN_16 => Some(reader.u16()?.into()),
        STR_32 | BIN_32 => Some(to_usize(reader.u32()?)),
        _ => None,
    })
}
