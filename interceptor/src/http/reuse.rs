//! A connection to the server that served another client before, and may serve a third one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use zeroize::Zeroizing;

use super::framing::Framing;

/// A server may have closed a connection that idled for longer, without our having heard of it: nothing goes on it that
/// cannot be sent again. The shortest time-out of a usual server is 2 s (gunicorn).
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// Where a relay's connection to its server comes from, and where it goes.
pub(crate) trait Supply<U> {
    /// For how long the connection that the relay begins with has idled since it served another client; `None`: it is new.
    fn idled(&self) -> Option<Duration>;

    /// A new connection to the same server, to be used instead; `None`: there is none.
    fn renew(&mut self) -> impl Future<Output = Option<U>> + Send;

    /// Takes the connection back: its last response is complete, and nothing keeps it from another client.
    fn give_back(&mut self, upstream: U);
}

/// The connection is new, and serves nobody else.
impl<U> Supply<U> for () {
    fn idled(&self) -> Option<Duration> {
        None
    }

    async fn renew(&mut self) -> Option<U> {
        None
    }

    fn give_back(&mut self, _: U) {}
}

/// A head that may have to be sent once more. Wiped at the first byte of the response.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<Zeroizing<Vec<u8>>>>);

impl Kept {
    pub(super) fn keep(&self, head: &[u8]) {
        *self.lock() = Some(Zeroizing::new(head.to_vec()));
    }

    pub(super) fn forget(&self) {
        self.lock().take();
    }

    /// What was kept, unless a byte of the response has come.
    pub(super) fn take(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Zeroizing<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection may serve another client after this one.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// A request was answered in full, and the server said that it takes more.
    pub(super) served: bool,
    /// The server knows its client by the connection, or has been told that nothing more comes.
    spoilt: bool,
}

impl Record {
    /// `head` goes to the server.
    pub(super) fn note_head(&mut self, head: &[u8]) {
        self.spoilt |= authenticates_connection(head);
    }

    /// The server was told that this client ends.
    pub(super) fn note_end(&mut self) {
        self.spoilt = true;
    }

    pub(super) fn reusable(&self) -> bool {
        self.served && !self.spoilt
    }
}

/// Sent twice, the request means what it means once (RFC 9110 §9.2.2), and there is all of it.
pub(super) fn can_be_sent_again(head: &[u8], framing: Framing) -> bool {
    const IDEMPOTENT: [&[u8]; 5] = [b"GET ", b"HEAD ", b"OPTIONS ", b"PUT ", b"DELETE "];
    framing == Framing::EMPTY && IDEMPOTENT.iter().any(|method| head.starts_with(method))
}

/// These schemes authenticate the connection, not the request (RFC 4559 §6; MS-NTHT §1.3).
fn authenticates_connection(head: &[u8]) -> bool {
    const FIELDS: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
    const SCHEMES: [&[u8]; 2] = [b"negotiate", b"ntlm"];
    head.split(|byte| *byte == b'\n').any(|line| {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return false;
        };
        let scheme = value
            .trim_ascii()
            .split(|byte| matches!(byte, b' ' | b'\t'));
        let scheme = scheme.into_iter().next().unwrap_or_default();
        FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
            && SCHEMES.iter().any(|one| scheme.eq_ignore_ascii_case(one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_idempotent_request_can_be_sent_again() {
        for (head, framing, expected) in [
            ("GET / HTTP/1.1", Framing::EMPTY, true),
            ("HEAD / HTTP/1.1", Framing::EMPTY, true),
            ("OPTIONS * HTTP/1.1", Framing::EMPTY, true),
            ("PUT /x HTTP/1.1", Framing::EMPTY, true),
            ("DELETE /x HTTP/1.1", Framing::EMPTY, true),
            ("PUT /x HTTP/1.1", Framing::Length(1), false),
            ("GET / HTTP/1.1", Framing::Chunked, false),
            ("POST / HTTP/1.1", Framing::EMPTY, false),
            ("PATCH / HTTP/1.1", Framing::EMPTY, false),
            ("get / HTTP/1.1", Framing::EMPTY, false),
            ("GETTER / HTTP/1.1", Framing::EMPTY, false),
        ] {
            let found = can_be_sent_again(head.as_bytes(), framing);
            assert_eq!(found, expected, "{head} {framing:?}");
        }
    }

    #[test]
    fn schemes_that_authenticate_the_connection_are_known() {
        for (line, expected) in [
            ("Authorization: Negotiate YII=", true),
            ("authorization:ntlm TlRM", true),
            ("PROXY-Authorization: \t NTLM", true),
            ("Authorization: Bearer negotiate", false),
            ("Authorization: Negotiated x", false),
            ("X-Authorization: NTLM x", false),
            ("X: a: NTLM x", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            assert_eq!(
                authenticates_connection(head.as_bytes()),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_head_is_given_once_and_not_after_the_answer_began() {
        let kept = Kept::default();
        assert!(kept.take().is_none());
        kept.keep(b"head");
        assert_eq!(**kept.take().unwrap(), *b"head");
        assert!(kept.take().is_none());
        kept.keep(b"head");
        kept.forget();
        assert!(kept.take().is_none());
    }
}
