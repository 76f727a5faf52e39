//! What two sides may agree on in `Sec-WebSocket-Extensions`: permessage-deflate (RFC 7692 §7), nothing else.
//!
//! Extensions change what frames mean, so those that are not understood are taken out of the offer, and so are offers of
//! permessage-deflate that break a rule: a server would have to decline them. What is left goes on as it was spelled. An
//! answer that matches no offer is refused.

/// The one extension that is understood.
const NAME: &[u8] = b"permessage-deflate";

/// What a client is told so that each of its messages stands alone.
const STAND_ALONE: &[u8] = b"client_no_context_takeover";

/// Parameters of one offer, or of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deflate {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)`: an offer that names it without a value.
    client_max_window_bits: Option<Option<u8>>,
}

/// What becomes of a header that offers extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Keep,
    /// With this value.
    Narrow(Vec<u8>),
    Drop,
}

/// Takes what may not be offered out of a header's value.
pub(crate) fn narrow(value: &[u8]) -> Offered {
    let all: Vec<_> = members(value).collect();
    let kept: Vec<_> = all
        .iter()
        .filter(|member| Deflate::parse(member).is_some())
        .copied()
        .collect();
    if kept.is_empty() {
        Offered::Drop
    } else if kept.len() == all.len() {
        Offered::Keep
    } else {
        Offered::Narrow(kept.join(&b", "[..]))
    }
}

/// The offers in a header's value that [`narrow`] leaves.
pub(crate) fn offers(value: &[u8]) -> impl Iterator<Item = Deflate> {
    members(value).filter_map(Deflate::parse)
}

/// Reads an answer's value; `None` if it matches none of `offers`.
pub(crate) fn answer(value: &[u8], offers: &[Deflate]) -> Option<Deflate> {
    let answer = Deflate::parse(value).filter(Deflate::may_answer)?;
    offers
        .iter()
        .any(|offer| answer.accepts(offer))
        .then_some(answer)
}

impl Deflate {
    /// The client compresses each message by itself.
    pub(crate) fn stands_alone(&self) -> bool {
        self.client_no_context_takeover
    }

    /// Reads one extension with its parameters; `None` if it is another one, or breaks a rule of §7.1.
    fn parse(member: &[u8]) -> Option<Self> {
        let mut parts = split(member, b';').map(<[u8]>::trim_ascii);
        if parts.next() != Some(NAME) {
            return None;
        }
        let mut deflate = Self::default();
        for part in parts {
            let mut sides = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let (name, value) = (sides.next()?, sides.next());
            let fresh = match (name, value) {
                (b"server_no_context_takeover", None) => {
                    !std::mem::replace(&mut deflate.server_no_context_takeover, true)
                }
                (STAND_ALONE, None) => {
                    !std::mem::replace(&mut deflate.client_no_context_takeover, true)
                }
                (b"server_max_window_bits", Some(value)) => deflate
                    .server_max_window_bits
                    .replace(bits(value)?)
                    .is_none(),
                (b"client_max_window_bits", None) => {
                    deflate.client_max_window_bits.replace(None).is_none()
                }
                (b"client_max_window_bits", Some(value)) => {
                    let bits = Some(bits(value)?);
                    deflate.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !fresh {
                return None;
            }
        }
        Some(deflate)
    }

    /// In an answer, `client_max_window_bits` has a value (§7.1.2.2).
    fn may_answer(&self) -> bool {
        self.client_max_window_bits != Some(None)
    }

    /// May a server answer `offer` with this (§7.1)? Both `no_context_takeover` and `server_max_window_bits` may come
    /// unasked.
    fn accepts(&self, offer: &Self) -> bool {
        let takeover = self.server_no_context_takeover || !offer.server_no_context_takeover;
        let server_bits = match (offer.server_max_window_bits, self.server_max_window_bits) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(most), Some(bits)) => bits <= most,
        };
        let client_bits = match (offer.client_max_window_bits, self.client_max_window_bits) {
            (_, None) | (Some(None), Some(_)) => true,
            (None, Some(_)) => false,
            (Some(Some(most)), Some(bits)) => bits.is_some_and(|bits| bits <= most),
        };
        takeover && server_bits && client_bits
    }
}

/// An answer's value with the parameter that makes each message of the client stand alone (§7.1.1.2: binding, and may
/// come unasked).
pub(crate) fn with_stand_alone(value: &[u8]) -> Vec<u8> {
    [value, b"; ", STAND_ALONE].concat()
}

/// 8 to 15 without leading zeroes, perhaps in quotes.
fn bits(value: &[u8]) -> Option<u8> {
    let quoted = value
        .strip_prefix(b"\"")
        .map(|value| value.strip_suffix(b"\""));
    let value = match quoted {
        Some(inside) => inside?,
        None => value,
    };
    let bits = match value {
        [digit @ (b'8' | b'9')] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    Some(bits)
}

/// The members of a comma-separated list.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Splits at `at`, but not inside quoted strings (RFC 9110 §5.6.4).
fn split(value: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |byte| {
        match (*byte, quoted, escaped) {
            (_, true, true) => escaped = false,
            (b'\\', true, false) => escaped = true,
            (b'"', ..) => quoted = !quoted,
            (byte, false, _) => return byte == at,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowed(value: &str) -> Offered {
        narrow(value.as_bytes())
    }

    #[test]
    fn proper_offers_go_on_as_they_are_spelled() {
        for value in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8 ; server_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits = 9",
            "permessage-deflate; client_max_window_bits, permessage-deflate,",
        ] {
            assert_eq!(narrowed(value), Offered::Keep, "{value}");
        }
    }

    #[test]
    fn other_extensions_and_improper_offers_are_taken_out() {
        for value in [
            "",
            " , ",
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "Permessage-Deflate",
            "permessage-deflate;",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "other; x=\"a, permessage-deflate, b\"",
            "other; x=\"\\\", permessage-deflate",
        ] {
            assert_eq!(narrowed(value), Offered::Drop, "{value}");
        }
        let mixed = "x-other; y=\", permessage-deflate\", permessage-deflate; client_max_window_bits,\
                     permessage-deflate; server_max_window_bits=99 ,permessage-deflate";
        let left = b"permessage-deflate; client_max_window_bits, permessage-deflate";
        assert_eq!(narrowed(mixed), Offered::Narrow(left.to_vec()));
        assert_eq!(offers(mixed.as_bytes()).count(), 2);
    }

    #[test]
    fn answer_has_to_match_an_offer() {
        let offered = |value: &str| offers(value.as_bytes()).collect::<Vec<_>>();
        let plain = "permessage-deflate";
        let bits = "permessage-deflate; client_max_window_bits; server_max_window_bits=10";
        let takeover = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12";
        let all = format!("{bits}, {takeover}, {plain}");
        for (offer, answers, good) in [
            (
                plain,
                &[
                    "permessage-deflate",
                    "permessage-deflate; server_no_context_takeover",
                    "permessage-deflate; client_no_context_takeover",
                    "permessage-deflate; server_max_window_bits=8",
                ][..],
                true,
            ),
            (
                plain,
                &[
                    "",
                    "permessage-deflate; client_max_window_bits=15",
                    "permessage-deflate; client_max_window_bits",
                    "permessage-deflate; unknown",
                    "permessage-deflate, permessage-deflate",
                    "permessage-deflate,",
                    "permessage-deflate; server_max_window_bits=7",
                    "x-webkit-deflate-frame",
                ],
                false,
            ),
            (
                bits,
                &[
                    "permessage-deflate; server_max_window_bits=10",
                    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
                ],
                true,
            ),
            (
                bits,
                &[
                    "permessage-deflate",
                    "permessage-deflate; server_max_window_bits=11",
                    "permessage-deflate; server_max_window_bits=10; client_max_window_bits",
                ],
                false,
            ),
            (
                takeover,
                &[
                    "permessage-deflate; server_no_context_takeover",
                    "permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
                ],
                true,
            ),
            (
                takeover,
                &[
                    "permessage-deflate",
                    "permessage-deflate; server_no_context_takeover; client_max_window_bits=13",
                ],
                false,
            ),
            (
                &all,
                &[
                    "permessage-deflate",
                    "permessage-deflate; server_max_window_bits=10; client_max_window_bits=15",
                ],
                true,
            ),
            ("x-other", &["permessage-deflate"], false),
        ] {
            for answer in answers {
                let answered = super::answer(answer.as_bytes(), &offered(offer));
                assert_eq!(answered.is_some(), good, "{offer}: {answer}");
            }
        }
    }

    #[test]
    fn client_is_told_that_each_message_stands_alone() {
        let offers: Vec<_> = offers(b"permessage-deflate; client_max_window_bits").collect();
        let value = b"permessage-deflate; client_max_window_bits=11";
        assert!(!answer(value, &offers).unwrap().stands_alone());
        let told = with_stand_alone(value);
        assert!(answer(&told, &offers).unwrap().stands_alone());
        assert_eq!(narrow(&told), Offered::Keep);
    }
}
