//! Reads a message of any format from the front, and keeps what may have to be rewritten in it.

use std::sync::Arc;

use crate::{
    policy::binding::JsonField,
    rewrite::{
        grammar,
        trail::{GuardState, Scalar, TooDeep, Trail},
    },
};

/// A message does not go on in its format, goes on behind its end, or nests too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault;

pub(super) struct Reader<'m> {
    message: &'m [u8],
    rest: &'m [u8],
    trail: Trail,
    texts: Vec<Text<'m>>,
}

/// A text that mentions a placeholder.
pub(super) struct Text<'m> {
    /// Where its tag stands in the message.
    pub(super) start: usize,
    pub(super) tag: u8,
    pub(super) content: &'m [u8],
    /// Where what follows it stands.
    pub(super) end: usize,
    /// The fields whose value it is.
    pub(super) fields: Vec<usize>,
}

impl<'m> Reader<'m> {
    pub(super) fn new(fields: Arc<[JsonField]>, message: &'m [u8]) -> Self {
        Self {
            message,
            rest: message,
            trail: Trail::new(fields),
            texts: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'m [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (&taken, rest) = self.rest.split_first_chunk().ok_or(Fault)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.bytes().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// The message has to end here.
    pub(super) fn end(&self) -> Result<(), Fault> {
        self.rest.is_empty().then_some(()).ok_or(Fault)
    }

    /// A map begins, or a list.
    pub(super) fn open(&mut self, map: bool) -> Result<(), Fault> {
        self.trail.open(map).map_err(|TooDeep| Fault)
    }

    /// The innermost map or list is over.
    pub(super) fn close(&mut self) {
        self.trail.close();
        self.trail.value_end();
    }

    /// The value that was read is an integer, or something else without text.
    pub(super) fn scalar(&mut self, value: Option<u64>) {
        self.trail
            .judge(value.map_or(Scalar::Other, Scalar::Integer));
        self.trail.value_end();
    }

    /// The value is a string whose tag stands at `start`; its `length` bytes come next.
    pub(super) fn string(&mut self, start: usize, length: usize) -> Result<(), Fault> {
        let content = self.take(length)?;
        let fields = self.trail.fields_here().collect();
        self.keep(start, content, fields);
        self.trail.judge(Scalar::Text(content));
        self.trail.value_end();
        Ok(())
    }

    /// The value has text that is no string: no field can be there.
    pub(super) fn blob(&mut self, length: usize) -> Result<(), Fault> {
        let content = self.take(length)?;
        self.keep(self.position(), content, Vec::new());
        self.scalar(None);
        Ok(())
    }

    /// A member begins, whose name's `length` bytes come next.
    pub(super) fn name(&mut self, length: usize) -> Result<(), Fault> {
        let name = self.take(length)?;
        self.keep(self.position(), name, Vec::new());
        self.trail.member(name);
        Ok(())
    }

    /// Where the next byte stands.
    pub(super) fn position(&self) -> usize {
        self.message.len() - self.rest.len()
    }

    /// What was found so far of the guard of a field.
    pub(super) fn guard(&self, field: usize) -> GuardState {
        self.trail.guard(field)
    }

    /// The texts that mention a placeholder, in their order.
    pub(super) fn texts(&self) -> &[Text<'m>] {
        &self.texts
    }

    fn keep(&mut self, start: usize, content: &'m [u8], fields: Vec<usize>) {
        if !grammar::mentions(content) {
            return;
        }
        self.texts.push(Text {
            start,
            tag: self.message.get(start).copied().unwrap_or_default(),
            content,
            end: self.position(),
            fields,
        });
    }
}

/// Of a length that this machine cannot count there is never enough.
pub(super) fn to_usize(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
