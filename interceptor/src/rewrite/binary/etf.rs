//! Erlang's External Term Format, as far as data go (`erl_ext_dist`, OTP 27): Discord's gateway takes it from clients
//! that ask for `encoding=etf`.
//!
//! A string is a binary, or the short form of a list of bytes. A member's name may also be an atom, in any of the four
//! forms that atoms ever had. Terms that name things inside an Erlang system (processes, ports, references, functions)
//! and compressed terms are not read.

use super::reader::{Fault, Reader, to_usize};

pub(super) const VERSION: u8 = 131;
pub(super) const MAP: u8 = 116;

const NEW_FLOAT: u8 = 70;
const BIT_BINARY: u8 = 77;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT: u8 = 99;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const SMALL_ATOM: u8 = 115;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// Reads a message, version and all.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(), Fault> {
    reader.u8()?;
    value(reader)
}

/// Appends the tag and the length of a string.
pub(super) fn put_header(tag: u8, length: usize, out: &mut Vec<u8>) -> Option<()> {
    out.push(tag);
    match tag {
        STRING => out.extend(u16::try_from(length).ok()?.to_be_bytes()),
        _ => out.extend(u32::try_from(length).ok()?.to_be_bytes()),
    }
    Some(())
}

fn value(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let start = reader.position();
    let tag = reader.u8()?;
    match text_length(reader, tag)? {
        Some(length) if is_atom(tag) => reader.blob(length),
        Some(length) => reader.string(start, length),
        None => no_text(reader, tag),
    }
}

fn no_text(reader: &mut Reader<'_>, tag: u8) -> Result<(), Fault> {
    match tag {
        MAP => {
            let pairs = reader.u32()?;
            reader.open(true)?;
            for _ in 0..pairs {
                name(reader)?;
                value(reader)?;
            }
            reader.close();
        }
        LIST => {
            let elements = reader.u32()?;
            // The tail, which is NIL in a proper list, comes behind them.
            list(reader, u64::from(elements) + 1)?;
        }
        SMALL_TUPLE => {
            let elements = reader.u8()?;
            list(reader, elements.into())?;
        }
        LARGE_TUPLE => {
            let elements = reader.u32()?;
            list(reader, elements.into())?;
        }
        NIL => reader.scalar(None),
        SMALL_INTEGER => {
            let value = reader.u8()?;
            reader.scalar(Some(value.into()));
        }
        INTEGER => {
            let value = reader.bytes().map(i32::from_be_bytes)?;
            reader.scalar(value.try_into().ok());
        }
        SMALL_BIG => {
            let size = reader.u8()?;
            big(reader, size.into())?;
        }
        LARGE_BIG => {
            let size = reader.u32()?;
            big(reader, to_usize(size))?;
        }
        NEW_FLOAT => {
            reader.take(8)?;
            reader.scalar(None);
        }
        // Printed digits.
        FLOAT => {
            reader.take(31)?;
            reader.scalar(None);
        }
        BIT_BINARY => {
            let length = reader.u32()?;
            // Bits of the last byte that count.
            reader.u8()?;
            reader.blob(to_usize(length))?;
        }
        _ => return Err(Fault),
    }
    Ok(())
}

fn name(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let tag = reader.u8()?;
    match text_length(reader, tag)? {
        Some(length) => reader.name(length),
        // It is none of ours.
        None => no_text(reader, tag),
    }
}

fn list(reader: &mut Reader<'_>, elements: u64) -> Result<(), Fault> {
    reader.open(false)?;
    for _ in 0..elements {
        value(reader)?;
    }
    reader.close();
    Ok(())
}

/// An integer of any size: its sign, then its bytes from the least on.
fn big(reader: &mut Reader<'_>, size: usize) -> Result<(), Fault> {
    let negative = reader.u8()? != 0;
    let digits = reader.take(size)?;
    let (low, high) = digits.split_at(digits.len().min(8));
    let value = low
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    let fits = high.iter().all(|byte| *byte == 0);
    reader.scalar((fits && (!negative || value == 0)).then_some(value));
    Ok(())
}

/// `None`: `tag` is not that of a text.
fn text_length(reader: &mut Reader<'_>, tag: u8) -> Result<Option<usize>, Fault> {
    Ok(match tag {
        SMALL_ATOM | SMALL_ATOM_UTF8 => Some(reader.u8()?.into()),
        ATOM | ATOM_UTF8 | STRING => Some(reader.u16()?.into()),
        BINARY => Some(to_usize(reader.u32()?)),
        _ => None,
    })
}

fn is_atom(tag: u8) -> bool {
    matches!(tag, ATOM | SMALL_ATOM | ATOM_UTF8 | SMALL_ATOM_UTF8)
}
