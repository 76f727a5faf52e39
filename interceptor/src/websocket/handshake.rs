//! Is this upgrade a WebSocket one, and is that answer its answer (RFC 6455 §4)?
//!
//! Over HTTP/1.1 a status alone proves nothing: a server that does not know the protocol can answer 101 to something
//! else, and what follows would be HTTP that nobody looks at. A connection is WebSocket only when request and answer agree
//! in every header of the handshake. Over HTTP/2 `:protocol` has said what the stream is to be, and no frame of a stream
//! is anybody else's: key and accept have no part in it (RFC 8441 §5).
//!
//! What of `Sec-WebSocket-Extensions` takes part in it is for `extension` to say.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::extension::{self, Compression, Deflate};
pub(crate) use super::extension::{Demands, Offered, narrow};

/// A client's proper offer.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What `Sec-WebSocket-Accept` has to be; `None` over HTTP/2.
    accept: Option<String>,
    /// Subprotocols, as they are spelled.
    protocols: Vec<Box<[u8]>>,
    deflate: Vec<Deflate>,
    demands: Demands,
}

/// What both sides agreed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Messages may be compressed, in this way as the client sees it.
    pub(crate) deflate: Option<Compression>,
    /// The client has to see this as the value of [`EXTENSIONS`].
    pub(crate) extensions: Option<Vec<u8>>,
}

/// Why an upgrade to WebSocket is not one; to be answered with 400 (426 for the version).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("a WebSocket upgrade has to be a GET")]
    Method,
    #[error("a WebSocket upgrade needs HTTP/1.1")]
    HttpVersion,
    #[error("a WebSocket upgrade needs `Connection: upgrade`")]
    Connection,
    #[error("a WebSocket upgrade needs one `Sec-WebSocket-Version: 13`")]
    Version,
    #[error("a WebSocket upgrade needs one `Sec-WebSocket-Key` of 16 bytes in base64")]
    Key,
    #[error("a WebSocket upgrade cannot have a body")]
    Body,
}

/// Why a 101, or a 2xx over HTTP/2, is not the answer to the offer; the connection, or the stream, has to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the server's 101 does not upgrade to WebSocket")]
    Upgrade,
    #[error("the server's 101 has no `Connection: upgrade`")]
    Connection,
    #[error("the server's 101 has a wrong Sec-WebSocket-Accept")]
    Accept,
    #[error("the server accepts an extension as it was not offered")]
    Extension,
    #[error("the server chooses a subprotocol that was not offered")]
    Protocol,
}

impl Offer {
    /// Reads a request's head; `None` if it asks for no upgrade to WebSocket. `minor`: of HTTP/1.
    /// `demands`: where messages have to be read.
    ///
    /// # Errors
    /// It asks for one, but not properly.
    pub(crate) fn read<'h>(
        method: &str,
        minor: u8,
        headers: impl Iterator<Item = (&'h str, &'h [u8])> + Clone,
        demands: Demands,
    ) -> Result<Option<Self>, OfferError> {
        let headers = Headers(headers);
        if !headers.has_token("upgrade", b"websocket") {
            return Ok(None);
        }
        if method != "GET" {
            return Err(OfferError::Method);
        }
        if minor < 1 {
            return Err(OfferError::HttpVersion);
        }
        if !headers.has_token("connection", b"upgrade") {
            return Err(OfferError::Connection);
        }
        let sends_nothing = headers.all("transfer-encoding").next().is_none()
            && headers.all("content-length").all(|length| length == b"0");
        if !sends_nothing {
            return Err(OfferError::Body);
        }
        let offer = Self::of(&headers, demands)?;
        let key = headers.only("sec-websocket-key").ok_or(OfferError::Key)?;
        if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
            return Err(OfferError::Key);
        }
        Ok(Some(Self {
            accept: Some(derive_accept_key(key)),
            ..offer
        }))
    }

    /// Reads the head of an extended CONNECT for WebSocket (RFC 8441 §5).
    ///
    /// # Errors
    /// It does not ask properly.
    pub(crate) fn read_http2<'h>(
        headers: impl Iterator<Item = (&'h str, &'h [u8])> + Clone,
        demands: Demands,
    ) -> Result<Self, OfferError> {
        let headers = Headers(headers);
        if headers.all("content-length").next().is_some() {
            return Err(OfferError::Body);
        }
        Self::of(&headers, demands)
    }

    fn of<'h>(
        headers: &Headers<impl Iterator<Item = (&'h str, &'h [u8])> + Clone>,
        demands: Demands,
    ) -> Result<Self, OfferError> {
        if headers.only("sec-websocket-version") != Some(b"13") {
            return Err(OfferError::Version);
        }
        Ok(Self {
            accept: None,
            protocols: headers.tokens(PROTOCOL).map(Box::from).collect(),
            deflate: headers
                .all(EXTENSIONS)
                .flat_map(|value| extension::offers(value, demands))
                .collect(),
            demands,
        })
    }

    /// Checks a 101, or a 2xx over HTTP/2 (any other status refuses the upgrade, and is plain HTTP).
    ///
    /// # Errors
    /// It is not the answer to this offer.
    pub(crate) fn check_answer<'h>(
        &self,
        headers: impl Iterator<Item = (&'h str, &'h [u8])> + Clone,
    ) -> Result<Agreement, AnswerError> {
        let headers = Headers(headers);
        if let Some(accept) = &self.accept {
            let upgrade = headers.only("upgrade");
            if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
                return Err(AnswerError::Upgrade);
            }
            if !headers.has_token("connection", b"upgrade") {
                return Err(AnswerError::Connection);
            }
            if headers.only("sec-websocket-accept") != Some(accept.as_bytes()) {
                return Err(AnswerError::Accept);
            }
        }
        let deflate = match headers.only(EXTENSIONS) {
            None if headers.all(EXTENSIONS).next().is_none() => None,
            None => return Err(AnswerError::Extension),
            Some(value) => {
                let deflate = extension::answer(value, &self.deflate);
                Some((value, deflate.ok_or(AnswerError::Extension)?))
            }
        };
        let chosen = headers.all(PROTOCOL).count();
        let offered = headers
            .only(PROTOCOL)
            .is_some_and(|chosen| self.protocols.iter().any(|offered| **offered == *chosen));
        if chosen > 0 && !offered {
            return Err(AnswerError::Protocol);
        }
        let Some((value, deflate)) = deflate else {
            return Ok(Agreement {
                deflate: None,
                extensions: None,
            });
        };
        let agreed = deflate.compression();
        let client_alone = agreed.client_alone || self.demands.client_alone;
        Ok(Agreement {
            deflate: Some(Compression {
                client_alone,
                ..agreed
            }),
            extensions: (client_alone && !agreed.client_alone)
                .then(|| extension::with_client_alone(value)),
        })
    }
}

/// In lower case.
pub(crate) const EXTENSIONS: &str = "sec-websocket-extensions";
const PROTOCOL: &str = "sec-websocket-protocol";

/// Name and value of each header, in order.
struct Headers<I>(I);

impl<'h, I: Iterator<Item = (&'h str, &'h [u8])> + Clone> Headers<I> {
    /// The values of `name`, trimmed.
    fn all(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.0
            .clone()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }

    /// The value of `name`, if it is there once.
    fn only(&self, name: &str) -> Option<&'h [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The members of the comma-separated lists of `name`.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    fn has_token(&self, name: &str, token: &[u8]) -> bool {
        self.tokens(name)
            .any(|other| other.eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Head = Vec<(&'static str, &'static str)>;

    const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: (&str, &str) = ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    fn headers(head: &Head) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        head.iter().map(|(name, value)| (*name, value.as_bytes()))
    }

    const CLIENT_ALONE: Demands = Demands {
        client_alone: true,
        server_alone: false,
    };

    fn read(head: &Head) -> Result<Option<Offer>, OfferError> {
        Offer::read("GET", 1, headers(head), CLIENT_ALONE)
    }

    fn proper_offer() -> Head {
        vec![
            ("Host", "gateway.example"),
            ("upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            KEY,
            ("sec-websocket-version", "13"),
            ("Sec-WebSocket-Protocol", "chat, superchat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ]
    }

    fn proper_answer() -> Head {
        vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ACCEPT,
            ("Sec-WebSocket-Protocol", "superchat"),
        ]
    }

    /// With `name` set to each of `values`, or taken out.
    fn with(mut head: Head, name: &'static str, values: &[&'static str]) -> Head {
        head.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        head.extend(values.iter().map(|value| (name, *value)));
        head
    }

    #[test]
    fn proper_handshake_is_taken() {
        let offer = read(&proper_offer()).unwrap().unwrap();
        let plain = Agreement {
            deflate: None,
            extensions: None,
        };
        let agreed = offer.check_answer(headers(&proper_answer()));
        assert_eq!(agreed.as_ref(), Ok(&plain));
        let none_chosen = with(proper_answer(), "sec-websocket-protocol", &[]);
        assert_eq!(offer.check_answer(headers(&none_chosen)), Ok(plain));
    }

    #[test]
    fn other_requests_are_none_of_ours() {
        for values in [&[][..], &["h2c"], &["websockets"]] {
            let head = with(proper_offer(), "upgrade", values);
            assert!(read(&head).unwrap().is_none(), "{values:?}");
        }
    }

    #[test]
    fn improper_offer_is_named() {
        for (name, values, error) in [
            ("connection", &[][..], OfferError::Connection),
            ("connection", &["keep-alive"], OfferError::Connection),
            ("sec-websocket-version", &[], OfferError::Version),
            ("sec-websocket-version", &["8"], OfferError::Version),
            ("sec-websocket-version", &["13", "13"], OfferError::Version),
            ("sec-websocket-key", &[], OfferError::Key),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25jZQ==", "x"],
                OfferError::Key,
            ),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25j"],
                OfferError::Key,
            ),
            (
                "sec-websocket-key",
                &["not base64 at all, no no"],
                OfferError::Key,
            ),
            ("content-length", &["5"], OfferError::Body),
            ("content-length", &["0", "1"], OfferError::Body),
            ("transfer-encoding", &["chunked"], OfferError::Body),
        ] {
            let head = with(proper_offer(), name, values);
            assert_eq!(read(&head).unwrap_err(), error, "{name}: {values:?}");
        }
        let head = proper_offer();
        assert_eq!(
            Offer::read("POST", 1, headers(&head), CLIENT_ALONE).unwrap_err(),
            OfferError::Method
        );
        assert_eq!(
            Offer::read("GET", 0, headers(&head), CLIENT_ALONE).unwrap_err(),
            OfferError::HttpVersion
        );
    }

    #[test]
    fn answer_to_something_else_is_refused() {
        let offer = read(&proper_offer()).unwrap().unwrap();
        for (name, values, error) in [
            ("upgrade", &[][..], AnswerError::Upgrade),
            ("upgrade", &["h2c"], AnswerError::Upgrade),
            ("upgrade", &["websocket, h2c"], AnswerError::Upgrade),
            ("connection", &[], AnswerError::Connection),
            ("sec-websocket-accept", &[], AnswerError::Accept),
            (
                "sec-websocket-accept",
                &["S3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
                AnswerError::Accept,
            ),
            (
                "sec-websocket-accept",
                &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ""],
                AnswerError::Accept,
            ),
            (
                "sec-websocket-extensions",
                &["permessage-deflate; client_max_window_bits=10"],
                AnswerError::Extension,
            ),
            (
                "sec-websocket-extensions",
                &["permessage-deflate", "permessage-deflate"],
                AnswerError::Extension,
            ),
            (
                "sec-websocket-extensions",
                &["permessage-deflate, x-other"],
                AnswerError::Extension,
            ),
            ("sec-websocket-extensions", &[""], AnswerError::Extension),
            ("sec-websocket-protocol", &["Chat"], AnswerError::Protocol),
            (
                "sec-websocket-protocol",
                &["chat", "superchat"],
                AnswerError::Protocol,
            ),
            (
                "sec-websocket-protocol",
                &["chat, superchat"],
                AnswerError::Protocol,
            ),
            ("sec-websocket-protocol", &[""], AnswerError::Protocol),
        ] {
            let head = with(proper_answer(), name, values);
            assert_eq!(
                offer.check_answer(headers(&head)),
                Err(error),
                "{name}: {values:?}"
            );
        }
        let plain = with(proper_offer(), "sec-websocket-protocol", &[]);
        let offer = read(&plain).unwrap().unwrap();
        let answer = proper_answer();
        assert_eq!(
            offer.check_answer(headers(&answer)),
            Err(AnswerError::Protocol)
        );
    }

    #[test]
    fn client_is_told_that_its_messages_stand_alone_only_if_they_may_be_rewritten() {
        let told = "permessage-deflate; client_no_context_takeover";
        for (answer, demands, seen, client_alone) in [
            ("permessage-deflate", CLIENT_ALONE, Some(told), true),
            ("permessage-deflate", Demands::default(), None, false),
            (told, CLIENT_ALONE, None, true),
            (told, Demands::default(), None, true),
        ] {
            let offer = Offer::read("GET", 1, headers(&proper_offer()), demands);
            let answer = with(proper_answer(), "sec-websocket-extensions", &[answer]);
            let agreed = offer.unwrap().unwrap().check_answer(headers(&answer));
            let extensions = seen.map(|seen| seen.as_bytes().to_vec());
            let deflate = Some(Compression {
                client_alone,
                server_alone: false,
            });
            assert_eq!(
                agreed,
                Ok(Agreement {
                    deflate,
                    extensions
                })
            );
        }
    }

    #[test]
    fn server_that_does_not_say_what_is_demanded_of_it_is_refused() {
        let demands = Demands {
            server_alone: true,
            ..Demands::default()
        };
        let offer = Offer::read("GET", 1, headers(&proper_offer()), demands);
        let offer = offer.unwrap().unwrap();
        let answer = |value| with(proper_answer(), "sec-websocket-extensions", &[value]);
        let silent = answer("permessage-deflate");
        assert_eq!(
            offer.check_answer(headers(&silent)),
            Err(AnswerError::Extension)
        );
        let agreed = answer("permessage-deflate; server_no_context_takeover");
        assert_eq!(
            offer.check_answer(headers(&agreed)),
            Ok(Agreement {
                deflate: Some(Compression {
                    client_alone: false,
                    server_alone: true
                }),
                extensions: None
            })
        );
        assert!(offer.check_answer(headers(&proper_answer())).is_ok());
    }

    #[test]
    fn answer_without_an_offer_is_refused() {
        let head = with(
            proper_offer(),
            "sec-websocket-extensions",
            &["x-other", "permessage-deflate; unknown"],
        );
        let offer = read(&head).unwrap().unwrap();
        let answer = with(
            proper_answer(),
            "sec-websocket-extensions",
            &["permessage-deflate"],
        );
        assert_eq!(
            offer.check_answer(headers(&answer)),
            Err(AnswerError::Extension)
        );
    }
}
