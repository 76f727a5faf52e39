//! Frame headers, RFC 6455 §5.2; with permessage-deflate, RFC 7692 §6.

/// Longest header: two bytes, a 64-bit length, a mask.
pub(crate) const HEADER_MAX: usize = 14;

/// Longest payload of a control frame, RFC 6455 §5.5.
pub(crate) const CONTROL_MAX: u64 = 125;

/// In a message's first byte: it is compressed.
pub(crate) const RSV1: u8 = 0b0100_0000;

/// Who made a frame: a client masks, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// RSV1: the message that begins here is compressed.
    pub(crate) compressed: bool,
    pub(crate) opcode: Opcode,
    /// Zeroes for a server's frame, which is the same as none.
    pub(crate) mask: [u8; 4],
    /// Bytes of payload, below 2^63.
    pub(crate) length: u64,
    /// Bytes of the header itself, at most [`HEADER_MAX`].
    pub(crate) size: usize,
}

/// A rule of RFC 6455 that a frame breaks. The receiver has to fail the connection with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a reserved bit is set where no negotiated extension gives it a meaning")]
    ReservedBit,
    #[error("a frame has the reserved opcode {0}")]
    ReservedOpcode(u8),
    #[error("a control frame is fragmented")]
    FragmentedControl,
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    #[error("a frame from the client is not masked")]
    Unmasked,
    #[error("a frame from the server is masked")]
    Masked,
    #[error("a frame's length is not in its shortest form")]
    LongLength,
    #[error("a frame's length has its top bit set")]
    HugeLength,
    #[error("a continuation comes without a message")]
    StrayContinuation,
    #[error("a new message begins inside another one")]
    NestedMessage,
}

/// Whether a fragmented message is open, RFC 6455 §5.4.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    open: bool,
}

impl Opcode {
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => return Err(Violation::ReservedOpcode(other)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

impl Header {
    /// Reads the header that `bytes` begin with; `None` if it is not all there yet. `deflate`: permessage-deflate was
    /// negotiated.
    ///
    /// # Errors
    /// A rule is broken; said as soon as the byte that breaks it is there.
    pub(crate) fn parse(
        bytes: &[u8],
        sender: Sender,
        deflate: bool,
    ) -> Result<Option<Self>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let compressed = first & RSV1 != 0;
        if first & 0b0011_0000 != 0 || compressed && !deflate {
            return Err(Violation::ReservedBit);
        }
        let fin = first & 0b1000_0000 != 0;
        let opcode = Opcode::from_bits(first & 0b1111)?;
        // It speaks for a whole message, and only data messages are compressed.
        if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::ReservedBit);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        match (sender, second & 0b1000_0000 != 0) {
            (Sender::Client, false) => return Err(Violation::Unmasked),
            (Sender::Server, true) => return Err(Violation::Masked),
            (Sender::Client, true) | (Sender::Server, false) => {}
        }
        let short = u64::from(second & 0b0111_1111);
        if opcode.is_control() && short > CONTROL_MAX {
            return Err(Violation::LongControl);
        }
        let (length, least, rest) = match short {
            126 => match rest.split_first_chunk() {
                None => return Ok(None),
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), 126, rest),
            },
            127 => match rest.split_first_chunk() {
                None => return Ok(None),
                Some((length, rest)) => (u64::from_be_bytes(*length), 0x1_0000, rest),
            },
            short => (short, 0, rest),
        };
        if length < least {
            return Err(Violation::LongLength);
        }
        if length >> 63 != 0 {
            return Err(Violation::HugeLength);
        }
        let (mask, rest) = match sender {
            Sender::Server => ([0; 4], rest),
            Sender::Client => match rest.split_first_chunk() {
                None => return Ok(None),
                Some((mask, rest)) => (*mask, rest),
            },
        };
        Ok(Some(Self {
            fin,
            compressed,
            opcode,
            mask,
            length,
            size: bytes.len() - rest.len(),
        }))
    }

    /// Bytes of header and payload; saturates, which no buffer reaches.
    pub(crate) fn total(&self) -> usize {
        usize::try_from(self.length)
            .unwrap_or(usize::MAX)
            .saturating_add(self.size)
    }
}

impl Sequence {
    /// May a frame with this header come next?
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(self, header: &Header) -> Result<(), Violation> {
        match (header.opcode, self.open) {
            (Opcode::Continuation, false) => Err(Violation::StrayContinuation),
            (Opcode::Text | Opcode::Binary, true) => Err(Violation::NestedMessage),
            _ => Ok(()),
        }
    }

    /// It has come.
    pub(crate) fn follow(&mut self, header: &Header) {
        if !header.opcode.is_control() {
            self.open = !header.fin;
        }
    }
}

/// Appends a header in its shortest form; a client's frame has a mask.
pub(crate) fn put_header(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    length: usize,
) {
    let masked = u8::from(mask.is_some()) << 7;
    out.push(u8::from(fin) << 7 | opcode.bits());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        Header::parse(bytes, Sender::Client, false)
    }

    #[test]
    fn each_broken_rule_has_its_name() {
        for (bytes, violation) in [
            (&[0b1100_0001][..], Violation::ReservedBit),
            (&[0b1010_0001], Violation::ReservedBit),
            (&[0b1001_0001], Violation::ReservedBit),
            (&[0x83], Violation::ReservedOpcode(3)),
            (&[0x8f], Violation::ReservedOpcode(15)),
            (&[0x09], Violation::FragmentedControl),
            (&[0x08], Violation::FragmentedControl),
            (&[0x89, 0xfe], Violation::LongControl),
            (&[0x88, 0xff], Violation::LongControl),
            (&[0x81, 0x05], Violation::Unmasked),
            (&[0x81, 0xfe, 0, 125], Violation::LongLength),
            (
                &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                Violation::LongLength,
            ),
            (
                &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
                Violation::HugeLength,
            ),
        ] {
            assert_eq!(client(bytes), Err(violation), "{bytes:x?}");
            let before = bytes.split_last().unwrap().1;
            assert_eq!(client(before), Ok(None), "{bytes:x?} says it too early");
        }
        let masked = Header::parse(&[0x81, 0x80], Sender::Server, false);
        assert_eq!(masked, Err(Violation::Masked));
    }

    #[test]
    fn compression_is_said_by_a_data_messages_first_frame_if_it_was_negotiated() {
        for (first, good) in [
            (0xc1, true),
            (0x42, true),
            (0xc0, false),
            (0x40, false),
            (0xc8, false),
            (0xc9, false),
            (0xca, false),
            (0xe1, false),
            (0xd2, false),
        ] {
            let bytes = [first, 0x00];
            let header = Header::parse(&bytes, Sender::Server, true);
            match header {
                Ok(header) => assert!(good && header.is_some_and(|header| header.compressed)),
                Err(violation) => assert!(!good && violation == Violation::ReservedBit),
            }
            let early = Header::parse(&bytes[..1], Sender::Server, true);
            assert_eq!(early.is_err(), !good);
            let unasked = Header::parse(&bytes[..1], Sender::Server, false);
            assert_eq!(unasked, Err(Violation::ReservedBit));
        }
    }

    #[test]
    fn sequence_keeps_messages_apart() {
        let header = |fin, opcode| Header {
            fin,
            compressed: false,
            opcode,
            mask: [0; 4],
            length: 0,
            size: 2,
        };
        let mut sequence = Sequence::default();
        let stray = header(true, Opcode::Continuation);
        assert_eq!(sequence.check(&stray), Err(Violation::StrayContinuation));
        for (fin, opcode) in [
            (true, Opcode::Text),
            (false, Opcode::Text),
            (true, Opcode::Ping),
            (false, Opcode::Continuation),
        ] {
            let header = header(fin, opcode);
            assert_eq!(sequence.check(&header), Ok(()));
            sequence.follow(&header);
        }
        for opcode in [Opcode::Text, Opcode::Binary] {
            assert_eq!(
                sequence.check(&header(true, opcode)),
                Err(Violation::NestedMessage)
            );
        }
        sequence.follow(&header(true, Opcode::Continuation));
        assert_eq!(sequence.check(&header(true, Opcode::Binary)), Ok(()));
    }

    proptest! {
        #[test]
        fn header_reads_back_at_no_earlier_byte_than_its_last(
            fin: bool,
            opcode in 0_usize..3,
            mask: Option<[u8; 4]>,
            length in prop_oneof![0_usize..130, 65_530_usize..65_540, any::<u32>().prop_map(|n| n as usize)],
        ) {
            let opcode = [Opcode::Continuation, Opcode::Text, Opcode::Binary][opcode];
            let sender = if mask.is_some() { Sender::Client } else { Sender::Server };
            let mut bytes = Vec::new();
            put_header(&mut bytes, fin, opcode, mask, length);
            for end in 0..bytes.len() {
                prop_assert_eq!(Header::parse(&bytes[..end], sender, true), Ok(None));
            }
            let size = bytes.len();
            bytes.push(7);
            let header = Header { fin, compressed: false, opcode, mask: mask.unwrap_or_default(), length: length as u64, size };
            prop_assert_eq!(Header::parse(&bytes, sender, true), Ok(Some(header)));
            prop_assert_eq!(header.total(), size + length);
        }
    }
}
