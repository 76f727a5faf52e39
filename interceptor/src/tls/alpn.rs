//! What is spoken inside the TLS that we open (ALPN, RFC 7301).

/// A protocol that the relay knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    /// What is left to try when a server refuses this one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Http1 => Self::Http2,
            Self::Http2 => Self::Http1,
        }
    }

    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2]
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }

    /// Those of an offer that the relay knows, in its order.
    pub(crate) fn known<'n>(offer: impl Iterator<Item = &'n [u8]>) -> Vec<Self> {
        let mut known = Vec::new();
        for protocol in offer.filter_map(Self::of) {
            // A client may repeat itself.
            if !known.contains(&protocol) {
                known.push(protocol);
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_keeps_its_order_and_loses_what_is_not_known_or_said_twice() {
        let offer: [&[u8]; 5] = [b"http/1.1", b"h3", b"h2", b"http/1.1", b"http/1.0"];
        let known = Protocol::known(offer.into_iter());
        assert_eq!(known, [Protocol::Http1, Protocol::Http2]);
        assert!(Protocol::known([&b"acme-tls/1"[..]].into_iter()).is_empty());
    }
}
