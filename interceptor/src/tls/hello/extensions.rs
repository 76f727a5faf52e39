//! The extensions of a ClientHello, from its raw records.
//!
//! rustls has read and checked the same bytes; this finds what it does not show: whether an extension was there at all.

/// `server_name` (RFC 6066 §3).
pub(super) const SERVER_NAME: u16 = 0;

/// `encrypted_client_hello` (RFC 9849 §5).
pub(super) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// A ClientHello's extension types, in the order of the wire. `None`: the records hold no complete ClientHello.
pub(super) fn kinds(records: &[u8]) -> Option<Vec<u16>> {
    let message = first_message(records)?;
    let mut rest = Reader(&message);
    rest.skip(2 + 32)?; // legacy_version, random
    let session_id = rest.u8()?;
    rest.skip(session_id.into())?;
    let cipher_suites = rest.u16()?;
    rest.skip(cipher_suites.into())?;
    let compression_methods = rest.u8()?;
    rest.skip(compression_methods.into())?;

    let mut kinds = Vec::new();
    if rest.0.is_empty() {
        return Some(kinds); // TLS 1.2 allows a hello without extensions (RFC 5246 §7.4.1.2)
    }
    let length = rest.u16()?;
    let mut extensions = Reader(rest.take(length.into())?);
    while !extensions.0.is_empty() {
        kinds.push(extensions.u16()?);
        let length = extensions.u16()?;
        extensions.skip(length.into())?;
    }
    Some(kinds)
}

/// The body of the first handshake message, which must be a ClientHello, joined from as many records as it takes
/// (RFC 8446 §5.1).
fn first_message(records: &[u8]) -> Option<Vec<u8>> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;

    let mut rest = Reader(records);
    let mut joined = Vec::new();
    loop {
        if let Some((&[kind, high, middle, low], body)) = joined.split_first_chunk() {
            if kind != CLIENT_HELLO {
                return None;
            }
            let length = u32::from_be_bytes([0, high, middle, low]);
            if let Some(body) = body.get(..usize::try_from(length).ok()?) {
                return Some(body.to_vec());
            }
        }
        if rest.u8()? != HANDSHAKE {
            return None;
        }
        rest.skip(2)?;
        let length = rest.u16()?;
        joined.extend_from_slice(rest.take(length.into())?);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{client_hello, in_records_of};

    #[test]
    fn kinds_are_the_same_for_every_record_size() {
        let hello = client_hello("gateway.discord.gg");
        let whole = kinds(&hello).unwrap();
        assert!(whole.contains(&SERVER_NAME));
        assert!(!whole.contains(&ENCRYPTED_CLIENT_HELLO));
        for size in 1..hello.len() {
            assert_eq!(
                kinds(&in_records_of(size, &hello)).as_ref(),
                Some(&whole),
                "{size} bytes a record"
            );
        }
    }

    #[test]
    fn kinds_need_the_complete_hello() {
        let hello = client_hello("gateway.discord.gg");
        for length in 0..hello.len() {
            assert_eq!(kinds(&hello[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn kinds_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            kinds(&bytes);
        }

        #[test]
        fn kinds_survive_any_damage(at in 0usize..200, byte: u8) {
            let mut hello = client_hello("gateway.discord.gg");
            let length = hello.len();
            hello[at % length] = byte;
            kinds(&hello);
        }
    }
}
