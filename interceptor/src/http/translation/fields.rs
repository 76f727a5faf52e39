//! Fields that belong to one connection, and to one version.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Takes out what speaks of the connection (RFC 9110 §7.6.1), which HTTP/2 forbids (RFC 9113 §8.2.2) and which each side
/// of the translation says anew.
pub(super) fn drop_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in always.into_iter().chain(named) {
        fields.remove(name);
    }
    if fields
        .get(header::TE)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers"))
    {
        fields.remove(header::TE);
    }
}

/// HTTP/2 sends cookies one by one, HTTP/1.1 in one field (RFC 9113 §8.2.3).
pub(super) fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() < 2 {
        return;
    }
    // Fields that were valid one by one are valid together.
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        fields.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn what_speaks_of_the_connection_is_taken_out() {
        let mut some = fields(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("accept", "*/*"),
        ]);
        drop_hop_by_hop(&mut some);
        assert_eq!(some, fields(&[("accept", "*/*")]));
        let mut trailers = fields(&[("te", "trailers")]);
        drop_hop_by_hop(&mut trailers);
        assert_eq!(trailers, fields(&[("te", "trailers")]));
    }

    #[test]
    fn cookies_become_one_field() {
        let mut some = fields(&[("cookie", "a=b"), ("cookie", "c=d"), ("accept", "*/*")]);
        join_cookies(&mut some);
        assert_eq!(some, fields(&[("cookie", "a=b; c=d"), ("accept", "*/*")]));
    }
}
