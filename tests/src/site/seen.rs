//! A request as it arrived.

use std::fmt;

/// What a site saw of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    pub host: String,
    pub method: String,
    pub target: String,
    /// In their order, names as they were written.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// Values may hold a secret: they are compared by tests, never printed.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            host,
            method,
            target: _,
            headers,
            body,
            trailers,
        } = self;
        write!(
            f,
            "{method} {host} {version} ({} headers, {} bytes, {} trailers)",
            headers.len(),
            body.len(),
            trailers.len()
        )
    }
}

impl Seen {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let named = |(other, _): &&(String, Vec<u8>)| other.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(named)
            .map(|(_, value)| value.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}
