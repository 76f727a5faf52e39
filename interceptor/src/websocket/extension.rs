//! What two sides may agree on in `Sec-WebSocket-Extensions`: permessage-deflate (RFC 7692 §7), nothing else.
//!
//! Extensions change what frames mean, so those that are not understood are taken out of the offer, and so are offers of
//! permessage-deflate that break a rule: a server would have to decline them. What is left goes on as it was spelled,
//! with `server_no_context_takeover` behind it where the server's messages have to be read: a server that accepts such an
//! offer has to say so in its answer (§7.1.1.1). An answer that matches no offer is refused.

/// The one extension that is understood.
const NAME: &[u8] = b"permessage-deflate";

/// What a client is told so that each of its messages stands alone.
const CLIENT_ALONE: &[u8] = b"client_no_context_takeover";

/// What a server is told so that each of its messages stands alone.
const SERVER_ALONE: &[u8] = b"server_no_context_takeover";

/// How messages may be compressed, as agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compression {
    /// Each compressed message of the client stands alone; else it may refer to those before it.
    pub(crate) client_alone: bool,
    /// The same of the server's.
    pub(crate) server_alone: bool,
}

/// Whose messages have to stand alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    pub(crate) client_alone: bool,
    pub(crate) server_alone: bool,
}

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

/// Takes what may not be offered out of a header's value, and adds what is demanded of the server.
pub(crate) fn narrow(value: &[u8], demands: Demands) -> Offered {
    let mut changed = false;
    let mut kept = Vec::new();
    for member in members(value) {
        match Deflate::parse(member) {
            None => changed = true,
            Some(offer) if demands.server_alone && !offer.server_no_context_takeover => {
                changed = true;
                kept.push(with_parameter(member, SERVER_ALONE));
            }
            Some(_) => kept.push(member.to_vec()),
        }
    }
    match (kept.is_empty(), changed) {
        (true, _) => Offered::Drop,
        (false, false) => Offered::Keep,
        (false, true) => Offered::Narrow(kept.join(&b", "[..])),
    }
}

/// The offers in a header's value as [`narrow`] leaves them.
pub(crate) fn offers(value: &[u8], demands: Demands) -> impl Iterator<Item = Deflate> {
    members(value)
        .filter_map(Deflate::parse)
        .map(move |offer| Deflate {
            server_no_context_takeover: offer.server_no_context_takeover || demands.server_alone,
            ..offer
        })
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
    /// What this says if it is an answer.
    pub(crate) fn compression(&self) -> Compression {
        Compression {
            client_alone: self.client_no_context_takeover,
            server_alone: self.server_no_context_takeover,
        }
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
                (SERVER_ALONE, None) => {
                    !std::mem::replace(&mut deflate.server_no_context_takeover, true)
                }
                (CLIENT_ALONE, None) => {
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
pub(crate) fn with_client_alone(value: &[u8]) -> Vec<u8> {
    with_parameter(value, CLIENT_ALONE)
}

fn with_parameter(value: &[u8], parameter: &[u8]) -> Vec<u8> {
    [value, b"; ", parameter].concat()
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
        narrow(value.as_bytes(), Demands::default())
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
        assert_eq!(offers(mixed.as_bytes(), Demands::default()).count(), 2);
    }

    #[test]
    fn answer_has_to_match_an_offer() {
        let offered =
            |value: &str| offers(value.as_bytes(), Demands::default()).collect::<Vec<_>>();
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
        let offer = b"permessage-deflate; client_max_window_bits";
        let offers: Vec<_> = offers(offer, Demands::default()).collect();
        let value = b"permessage-deflate; client_max_window_bits=11";
        let client_alone =
            |value: &[u8]| answer(value, &offers).unwrap().compression().client_alone;
        assert!(!client_alone(value));
        let told = with_client_alone(value);
        assert!(client_alone(&told));
        assert_eq!(narrow(&told, Demands::default()), Offered::Keep);
    }

    #[test]
    fn server_is_told_that_each_message_stands_alone_in_every_offer_and_has_to_agree() {
        let demands = Demands {
            server_alone: true,
            ..Demands::default()
        };
        let value: &[u8] = b"x-other, permessage-deflate ; client_max_window_bits,\
            permessage-deflate; server_no_context_takeover, permessage-deflate";
        let told = b"permessage-deflate ; client_max_window_bits; server_no_context_takeover, \
            permessage-deflate; server_no_context_takeover, \
            permessage-deflate; server_no_context_takeover";
        assert_eq!(narrow(value, demands), Offered::Narrow(told.to_vec()));
        assert_eq!(narrow(told, demands), Offered::Keep);
        assert_eq!(narrow(b"x-other", demands), Offered::Drop);
        let offers: Vec<_> = offers(value, demands).collect();
        assert_eq!(offers.len(), 3);
        assert_eq!(answer(b"permessage-deflate", &offers), None);
        let agreed = answer(b"permessage-deflate; server_no_context_takeover", &offers);
        assert!(agreed.unwrap().compression().server_alone);
    }
}
