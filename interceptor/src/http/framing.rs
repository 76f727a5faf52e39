//! How long a message's body is (RFC 9112 §6), where the sender leaves no doubt.

use super::head::{Fields, HeadError, Version};

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing, or so many bytes.
    Length(u64),
    Chunked,
    /// All bytes until the sender closes; responses only.
    UntilClose,
}

impl Framing {
    pub(crate) const EMPTY: Self = Self::Length(0);

    pub(crate) fn of_request(fields: &Fields<'_>, version: Version) -> Result<Self, HeadError> {
        Ok(declared(fields, version)?.unwrap_or(Self::EMPTY))
    }

    /// `to_head`: the request's method was HEAD.
    pub(crate) fn of_response(
        fields: &Fields<'_>,
        version: Version,
        status: u16,
        to_head: bool,
    ) -> Result<Self, HeadError> {
        let declared = declared(fields, version)?;
        if to_head || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Self::EMPTY);
        }
        Ok(declared.unwrap_or(Self::UntilClose))
    }
}

fn declared(fields: &Fields<'_>, version: Version) -> Result<Option<Framing>, HeadError> {
    let mut lengths = fields.all("content-length");
    let mut encodings = fields.all("transfer-encoding");
    match (lengths.next(), encodings.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(HeadError::LengthAndEncoding),
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(HeadError::ManyLengths);
            }
            decimal(length).map(|length| Some(Framing::Length(length)))
        }
        (None, Some(encoding)) => {
            if version == Version::Http10 {
                return Err(HeadError::EncodingInHttp10);
            }
            if encodings.next().is_some() || !encoding.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Encoding);
            }
            Ok(Some(Framing::Chunked))
        }
    }
}

/// Digits only: `u64::from_str` alone would take a plus sign.
fn decimal(value: &[u8]) -> Result<u64, HeadError> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::Length);
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(HeadError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{RequestHead, ResponseHead};

    fn of_request(fields: &str) -> Result<Framing, HeadError> {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        let head = RequestHead::parse(head.as_bytes())?;
        Framing::of_request(&head.fields, head.version)
    }

    fn of_response(line: &str, fields: &str, to_head: bool) -> Result<Framing, HeadError> {
        let head = format!("{line}\r\n{fields}\r\n");
        let head = ResponseHead::parse(head.as_bytes())?;
        Framing::of_response(&head.fields, head.version, head.status, to_head)
    }

    #[test]
    fn requests_are_framed_by_one_unambiguous_field() {
        assert_eq!(of_request(""), Ok(Framing::EMPTY));
        assert_eq!(of_request("Content-Length: 0\r\n"), Ok(Framing::EMPTY));
        assert_eq!(
            of_request("content-LENGTH: 18446744073709551615\r\n"),
            Ok(Framing::Length(u64::MAX))
        );
        assert_eq!(
            of_request("Transfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let cases = [
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                HeadError::LengthAndEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                HeadError::LengthAndEncoding,
            ),
            (
                "Content-Length: 1\r\nContent-Length: 2\r\n",
                HeadError::ManyLengths,
            ),
            (
                "Content-Length: 1\r\ncontent-length: 1\r\n",
                HeadError::ManyLengths,
            ),
            ("Content-Length: 1, 1\r\n", HeadError::Length),
            ("Content-Length: +1\r\n", HeadError::Length),
            ("Content-Length: -1\r\n", HeadError::Length),
            ("Content-Length: 0x1\r\n", HeadError::Length),
            ("Content-Length: 1 2\r\n", HeadError::Length),
            ("Content-Length:\t1\r\n", HeadError::TabbedFraming),
            ("content-length: 1 \t\r\n", HeadError::TabbedFraming),
            ("Transfer-Encoding:\tchunked\r\n", HeadError::TabbedFraming),
            ("Transfer-Encoding: chunked\t\r\n", HeadError::TabbedFraming),
            ("Content-Length:\r\n", HeadError::Length),
            (
                "Content-Length: 18446744073709551616\r\n",
                HeadError::Length,
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", HeadError::Encoding),
            ("Transfer-Encoding: chunked, gzip\r\n", HeadError::Encoding),
            ("Transfer-Encoding: xchunked\r\n", HeadError::Encoding),
            ("Transfer-Encoding: \"chunked\"\r\n", HeadError::Encoding),
            ("Transfer-Encoding: chunked;q=1\r\n", HeadError::Encoding),
            ("Transfer-Encoding:\r\n", HeadError::Encoding),
            ("Transfer-Encoding: identity\r\n", HeadError::Encoding),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                HeadError::Encoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
                HeadError::Encoding,
            ),
        ];
        for (fields, error) in cases {
            assert_eq!(of_request(fields), Err(error), "{fields:?}");
        }
    }

    #[test]
    fn http_1_0_has_no_transfer_encoding() {
        let head = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head = RequestHead::parse(head).unwrap();
        assert_eq!(
            Framing::of_request(&head.fields, head.version),
            Err(HeadError::EncodingInHttp10)
        );
    }

    #[test]
    fn responses_that_never_have_a_body_have_none() {
        let fields = "Content-Length: 5\r\n";
        for status in ["100", "103", "204", "304"] {
            let line = format!("HTTP/1.1 {status} X");
            assert_eq!(of_response(&line, fields, false), Ok(Framing::EMPTY));
        }
        assert_eq!(
            of_response("HTTP/1.1 200 OK", fields, true),
            Ok(Framing::EMPTY)
        );
        assert_eq!(
            of_response("HTTP/1.1 200 OK", fields, false),
            Ok(Framing::Length(5))
        );
        assert_eq!(
            of_response("HTTP/1.0 200 OK", "", false),
            Ok(Framing::UntilClose)
        );
    }
}
