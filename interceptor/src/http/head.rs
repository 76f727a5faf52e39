//! Heads of HTTP/1 messages: where one ends, and what is in it. Sans-IO.
//!
//! Stricter than RFC 9112 asks for wherever two servers are known to read one head differently.

use httparse::{EMPTY_HEADER, ParserConfig, Status};

/// Longest head that is read, in bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most fields in one head.
pub(crate) const MAX_FIELDS: usize = 256;

/// Why a head is not understood, or is understood in more than one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the head is longer than {MAX_HEAD} bytes")]
    TooLong,
    #[error("the head has more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("a line ends in a line feed without a carriage return")]
    BareLineFeed,
    #[error("a field is folded over several lines")]
    Folded,
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    #[error("the first line is malformed")]
    FirstLine,
    #[error(
        "a field name is malformed (a space before the colon, no colon, or a byte that is no token)"
    )]
    FieldName,
    #[error("a field value has a control byte inside")]
    FieldValue,
    #[error("a field value begins or ends with a blank")]
    PaddedValue,
    #[error("a tab stands beside the value of content-length or transfer-encoding")]
    TabbedFraming,
    #[error("content-length and transfer-encoding stand in one message")]
    LengthAndEncoding,
    #[error("content-length stands more than once")]
    ManyLengths,
    #[error("content-length is not a decimal number of bytes")]
    Length,
    #[error("transfer-encoding is something other than one `chunked`")]
    Encoding,
    #[error("transfer-encoding stands in an HTTP/1.0 message")]
    EncodingInHttp10,
    #[error("connection names a field that frames or routes the message")]
    ConnectionOption,
    #[error("it breaks a rule of HTTP/2 (RFC 9113 §8.1.1)")]
    Http2,
    #[error("the status is not a three-digit number from 100 to 599")]
    Status,
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::FieldName,
            httparse::Error::HeaderValue => Self::FieldValue,
            httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => {
                Self::FirstLine
            }
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
        }
    }
}

/// Finds the end of a head in a buffer that grows, looking at each byte once.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    scanned: usize,
}

impl Scanner {
    /// `buffer` holds all bytes since the head's first one. `Some(n)`: the head is the first `n` bytes, with the
    /// empty line that ends it.
    ///
    /// # Errors
    /// A line discipline that readers disagree on, or a head past [`MAX_HEAD`].
    pub(crate) fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
        let fresh = buffer.get(self.scanned..).unwrap_or_default();
        for found in memchr::memchr_iter(b'\n', fresh) {
            let end = self.scanned + found + 1;
            let line = buffer.get(..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(HeadError::BareLineFeed);
            }
            if end > MAX_HEAD {
                return Err(HeadError::TooLong);
            }
            if line.ends_with(b"\r\n\r\n") || line == b"\r\n" {
                return Ok(Some(end));
            }
            if matches!(buffer.get(end), Some(b' ' | b'\t')) {
                return Err(HeadError::Folded);
            }
        }
        if buffer.len() >= MAX_HEAD {
            return Err(HeadError::TooLong);
        }
        // The byte after a line feed decides whether the next line is folded: look at that line feed again.
        self.scanned = buffer.len() - usize::from(buffer.ends_with(b"\n"));
        Ok(None)
    }
}

/// HTTP/1.0 or HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

impl Version {
    fn of_minor(minor: Option<u8>) -> Result<Self, HeadError> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            _ => Err(HeadError::Version),
        }
    }
}

/// The fields of one head, in their order, names as they were written.
#[derive(Clone)]
pub(crate) struct Fields<'b>(Vec<httparse::Header<'b>>);

impl<'b> Fields<'b> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + Clone {
        self.0.iter().map(|field| (field.name, field.value))
    }

    /// The values of all fields called `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The members of the comma-separated list that all fields called `name` make up (RFC 9110 §5.6.1).
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    pub(crate) fn lists(&self, name: &str, member: &str) -> bool {
        self.list(name)
            .any(|other| other.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// Whether the connection outlives this message, as far as its sender says (RFC 9112 §9.3).
    pub(crate) fn persistent(&self, version: Version) -> bool {
        !self.lists("connection", "close")
            && match version {
                Version::Http11 => true,
                Version::Http10 => self.lists("connection", "keep-alive"),
            }
    }
}

/// A request's head.
pub(crate) struct RequestHead<'b> {
    pub(crate) method: &'b str,
    pub(crate) target: &'b str,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'b>,
}

impl<'b> RequestHead<'b> {
    /// `head` is exactly one head, as [`Scanner`] found it.
    pub(crate) fn parse(head: &'b [u8]) -> Result<Self, HeadError> {
        // httparse skips empty lines before the request line; the relay has dropped them already.
        if head.starts_with(b"\r\n") {
            return Err(HeadError::FirstLine);
        }
        let mut slots = [EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut slots);
        let status = ParserConfig::default().parse_request(&mut request, head)?;
        let (Status::Complete(_), Some(method), Some(target)) =
            (status, request.method, request.path)
        else {
            return Err(HeadError::FirstLine);
        };
        let request = Self {
            method,
            target,
            version: Version::of_minor(request.version)?,
            fields: Fields::checked(request.headers)?,
        };
        if tabs_framing(head) {
            return Err(HeadError::TabbedFraming);
        }
        Ok(request)
    }
}

/// Readers differ on a tab beside a value: some take it for a part of it, and then the field for another.
fn tabs_framing(head: &[u8]) -> bool {
    const FIELDS: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];
    head.split(|byte| *byte == b'\n').any(|line| {
        line.contains(&b'\t')
            && line
                .split(|byte| *byte == b':')
                .next()
                .is_some_and(|name| FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field)))
    })
}

/// A response's head.
pub(crate) struct ResponseHead<'b> {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'b>,
}

impl<'b> ResponseHead<'b> {
    /// `head` is exactly one head, as [`Scanner`] found it.
    pub(crate) fn parse(head: &'b [u8]) -> Result<Self, HeadError> {
        if head.starts_with(b"\r\n") {
            return Err(HeadError::FirstLine);
        }
        let mut slots = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut slots);
        let status = ParserConfig::default().parse_response(&mut response, head)?;
        let (Status::Complete(_), Some(code)) = (status, response.code) else {
            return Err(HeadError::FirstLine);
        };
        if !(100..=599).contains(&code) {
            return Err(HeadError::Status);
        }
        Ok(Self {
            status: code,
            version: Version::of_minor(response.version)?,
            fields: Fields::checked(response.headers)?,
        })
    }
}

impl<'b> Fields<'b> {
    fn checked(fields: &[httparse::Header<'b>]) -> Result<Self, HeadError> {
        let fields = Self(fields.to_vec());
        // A server behind the next proxy would not see a field that Connection names (RFC 9110 §7.6.1).
        let routes = ["host", "content-length", "transfer-encoding"];
        if routes.iter().any(|name| fields.lists("connection", name)) {
            return Err(HeadError::ConnectionOption);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find_at_once(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        Scanner::default().find(bytes)
    }

    const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: x.example\r\nX-b:  1 \r\n\r\n";

    #[test]
    fn scanner_finds_the_end_at_every_split() {
        let mut bytes = HEAD.to_vec();
        bytes.extend_from_slice(b"body\n\n");
        for split in 0..=bytes.len() {
            let mut scanner = Scanner::default();
            let first = scanner.find(&bytes[..split]).unwrap();
            let found = first.or_else(|| scanner.find(&bytes).unwrap());
            assert_eq!(found, Some(HEAD.len()), "split at {split}");
        }
        let mut scanner = Scanner::default();
        for end in 0..HEAD.len() {
            assert_eq!(scanner.find(&HEAD[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(scanner.find(HEAD), Ok(Some(HEAD.len())));
    }

    #[test]
    fn scanner_refuses_line_ends_that_readers_disagree_on_at_every_split() {
        let cases: [(&[u8], HeadError); 4] = [
            (b"GET / HTTP/1.1\nHost: x\r\n\r\n", HeadError::BareLineFeed),
            (b"GET / HTTP/1.1\r\nHost: x\n\r\n", HeadError::BareLineFeed),
            (
                b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
                HeadError::Folded,
            ),
            (b"GET / HTTP/1.1\r\n\tHost: x\r\n\r\n", HeadError::Folded),
        ];
        for (bytes, error) in cases {
            for split in 0..=bytes.len() {
                let mut scanner = Scanner::default();
                let found = match scanner.find(&bytes[..split]) {
                    Ok(None) => scanner.find(bytes),
                    other => other,
                };
                assert_eq!(found, Err(error), "split at {split}");
            }
        }
    }

    #[test]
    fn scanner_refuses_a_head_past_the_cap() {
        let mut bytes = b"GET / HTTP/1.1\r\nX: ".to_vec();
        bytes.resize(MAX_HEAD, b'a');
        assert_eq!(find_at_once(&bytes), Err(HeadError::TooLong));
        bytes.extend_from_slice(b"\r\n\r\n");
        assert_eq!(find_at_once(&bytes), Err(HeadError::TooLong));
    }

    #[test]
    fn fields_keep_order_and_case() {
        let head = RequestHead::parse(HEAD).unwrap();
        let fields: Vec<_> = head.fields.iter().collect();
        assert_eq!(fields, [("Host", &b"x.example"[..]), ("X-b", &b"1"[..])]);
        assert_eq!((head.method, head.target), ("GET", "/a"));
    }

    #[test]
    fn heads_that_readers_disagree_on_are_refused() {
        let heads = [
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\t: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
            "GET / HTTP/1.1\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nA\0: x\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\0y\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\ry\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\x0by\r\n\r\n",
            "GET / HTTP/1.1\r\nA: x\x7fy\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET\t/ HTTP/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "G@T / HTTP/1.1\r\n\r\n",
            "GET /\0 HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
        ];
        for head in heads {
            assert!(RequestHead::parse(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn connection_may_not_name_a_field_that_frames_or_routes() {
        for name in ["Host", "content-length", "Transfer-Encoding"] {
            let head = format!("GET / HTTP/1.1\r\nConnection: close, {name}\r\n\r\n");
            let parsed = RequestHead::parse(head.as_bytes()).map(|_| ());
            assert_eq!(parsed, Err(HeadError::ConnectionOption), "{name}");
        }
    }

    #[test]
    fn up_to_the_cap_fields_are_read() {
        let head = |count: usize| {
            let fields: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
            format!("GET / HTTP/1.1\r\n{fields}\r\n")
        };
        assert!(RequestHead::parse(head(MAX_FIELDS).as_bytes()).is_ok());
        let parsed = RequestHead::parse(head(MAX_FIELDS + 1).as_bytes()).map(|_| ());
        assert_eq!(parsed, Err(HeadError::TooManyFields));
    }

    #[test]
    fn responses_without_a_reason_are_read() {
        for head in ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"] {
            assert_eq!(ResponseHead::parse(head.as_bytes()).unwrap().status, 200);
        }
        let parsed = ResponseHead::parse(b"HTTP/1.1 099 X\r\n\r\n").map(|_| ());
        assert_eq!(parsed, Err(HeadError::Status));
    }

    proptest! {
        /// Whatever stands in the buffer and however it arrives, the answer is that of one look at all of it.
        #[test]
        fn scanner_does_not_depend_on_splits(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'a')], 0..40),
            splits in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let mut splits: Vec<usize> = splits.into_iter().map(|s| s.min(bytes.len())).collect();
            splits.push(bytes.len());
            splits.sort_unstable();
            let mut scanner = Scanner::default();
            let mut found = Ok(None);
            for split in splits {
                found = scanner.find(&bytes[..split]);
                if !matches!(found, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(found, find_at_once(&bytes));
        }
    }
}
