//! Whom a request is addressed to, and whether that is whom the connection was authorised for.

use http::{HeaderValue, Method, request::Parts, uri::PathAndQuery};

use super::head::RequestHead;
use crate::address::{Authority, Host, HostError};

/// What the connection carries HTTP over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a request's addressee is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("the host field is missing")]
    NoHost,
    #[error("the host field stands more than once")]
    ManyHosts,
    #[error("the host field or the target has user information (user@host)")]
    UserInfo,
    #[error("the host field or the target names no host: {0}")]
    Host(HostError),
    #[error("the host field or the target has a malformed port")]
    Port,
    #[error("CONNECT asks for a tunnel, which this connection already is")]
    Connect,
    #[error("the request target is neither a path, nor `*` for OPTIONS, nor an http or https URI")]
    Target,
    #[error("the target's scheme is not the connection's")]
    Scheme,
    #[error("the target and the host field name different hosts")]
    Contradiction,
    #[error("this connection is for {expected}: the request is addressed to another host or port")]
    Misdirected { expected: Authority },
}

/// Checks that `head` is addressed to `expected`: host without regard to case or trailing dot, port with the scheme's
/// default.
///
/// RFC 9112 §3.2 lets HTTP/1.0 do without Host; here it is needed too, since a server would choose by other means.
pub(crate) fn check(
    head: &RequestHead<'_>,
    scheme: Scheme,
    expected: &Authority,
) -> Result<(), AuthorityError> {
    if claimed(head, scheme)? == *expected {
        return Ok(());
    }
    Err(AuthorityError::Misdirected {
        expected: expected.clone(),
    })
}

/// Whom `head` says that it is addressed to.
pub(crate) fn claimed(head: &RequestHead<'_>, scheme: Scheme) -> Result<Authority, AuthorityError> {
    let target = target_authority(head, scheme)?;
    let host = host_field(head.fields.all("host"), scheme)?.ok_or(AuthorityError::NoHost)?;
    if target.is_some_and(|target| target != host) {
        return Err(AuthorityError::Contradiction);
    }
    Ok(host)
}

/// Checks that a request of HTTP/2 is addressed to `expected`: its `:authority`, a host field, or both (RFC 9113
/// §8.3.1).
pub(crate) fn check_http2(
    head: &Parts,
    scheme: Scheme,
    expected: &Authority,
) -> Result<(), AuthorityError> {
    if head.method.as_str().eq_ignore_ascii_case("connect") {
        return Err(AuthorityError::Connect);
    }
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let in_order = target.starts_with('/') || (target == "*" && head.method == Method::OPTIONS);
    if !in_order || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AuthorityError::Target);
    }
    if let Some(named) = head.uri.scheme_str()
        && !named.eq_ignore_ascii_case(scheme.as_str())
    {
        return Err(AuthorityError::Scheme);
    }
    let authority = head.uri.authority();
    let authority = authority
        .map(|authority| parse(authority.as_str(), scheme))
        .transpose()?;
    let hosts = head.headers.get_all("host").into_iter();
    let host = host_field(hosts.map(HeaderValue::as_bytes), scheme)?;
    let claimed = match (authority, host) {
        (Some(authority), Some(host)) if authority != host => {
            return Err(AuthorityError::Contradiction);
        }
        (Some(claimed), _) | (None, Some(claimed)) => claimed,
        (None, None) => return Err(AuthorityError::NoHost),
    };
    if claimed == *expected {
        return Ok(());
    }
    Err(AuthorityError::Misdirected {
        expected: expected.clone(),
    })
}

fn host_field<'f>(
    mut hosts: impl Iterator<Item = &'f [u8]>,
    scheme: Scheme,
) -> Result<Option<Authority>, AuthorityError> {
    let Some(host) = hosts.next() else {
        return Ok(None);
    };
    if hosts.next().is_some() {
        return Err(AuthorityError::ManyHosts);
    }
    let host = std::str::from_utf8(host)
        .ok()
        .ok_or(AuthorityError::Host(HostError::Byte))?;
    parse(host, scheme).map(Some)
}

/// The authority of a target in absolute form; `None` for a path and for `*`.
fn target_authority(
    head: &RequestHead<'_>,
    scheme: Scheme,
) -> Result<Option<Authority>, AuthorityError> {
    let target = head.target;
    if head.method.eq_ignore_ascii_case("connect") {
        return Err(AuthorityError::Connect);
    }
    if !target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(AuthorityError::Target);
    }
    if target.starts_with('/') || (target == "*" && head.method == "OPTIONS") {
        return Ok(None);
    }
    let (named, rest) = target.split_once("://").ok_or(AuthorityError::Target)?;
    if !named.eq_ignore_ascii_case(scheme.as_str()) {
        return Err(AuthorityError::Scheme);
    }
    // Not before a backslash, where browsers' rules have the path begin: no host has one, and no reader of the path looks
    // for one.
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, _) = rest.split_at(end);
    parse(authority, scheme).map(Some)
}

/// `host[:port]` (RFC 9110 §7.2).
fn parse(text: &str, scheme: Scheme) -> Result<Authority, AuthorityError> {
    if text.contains('@') {
        return Err(AuthorityError::UserInfo);
    }
    if text.starts_with('[') {
        return Err(AuthorityError::Host(HostError::Address));
    }
    let (host, port) = match text.split_once(':') {
        None => (text, scheme.default_port()),
        Some((host, port)) => {
            // `u16::from_str` alone would take a plus sign.
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(AuthorityError::Port);
            }
            (host, port.parse().ok().ok_or(AuthorityError::Port)?)
        }
    };
    let host: Host = host.parse().map_err(AuthorityError::Host)?;
    Ok(Authority { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str, fields: &str) -> Result<(), AuthorityError> {
        let head = format!("{line} HTTP/1.1\r\n{fields}\r\n");
        let expected = Authority {
            host: "api.example.com".parse().unwrap(),
            port: 443,
        };
        check(
            &RequestHead::parse(head.as_bytes()).unwrap(),
            Scheme::Https,
            &expected,
        )
    }

    #[test]
    fn spellings_of_the_same_host_agree() {
        for host in [
            "api.example.com",
            "API.Example.COM",
            "api.example.com.",
            "api.example.com:443",
            "api.example.com.:443",
        ] {
            assert_eq!(
                verdict("GET /", &format!("Host: {host}\r\n")),
                Ok(()),
                "{host}"
            );
        }
        for target in [
            "https://api.example.com/x?y",
            "HTTPS://api.example.com:443",
            "https://API.example.com?q",
        ] {
            let line = format!("GET {target}");
            assert_eq!(
                verdict(&line, "Host: api.example.com\r\n"),
                Ok(()),
                "{target}"
            );
        }
        assert_eq!(verdict("OPTIONS *", "Host: api.example.com\r\n"), Ok(()));
    }

    #[test]
    fn another_host_or_port_is_misdirected() {
        for host in [
            "evil.example.com",
            "example.com",
            "api.example.com:80",
            "api.example.com:8443",
            "xapi.example.com",
            "api.example.com.evil.net",
        ] {
            let found = verdict("GET /", &format!("Host: {host}\r\n"));
            assert!(
                matches!(found, Err(AuthorityError::Misdirected { .. })),
                "{host}: {found:?}"
            );
        }
    }

    #[test]
    fn a_port_that_is_not_the_default_must_be_named() {
        let expected = Authority {
            host: "api.example.com".parse().unwrap(),
            port: 8443,
        };
        let head = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let named = head("api.example.com:8443");
        let named = RequestHead::parse(named.as_bytes()).unwrap();
        assert_eq!(check(&named, Scheme::Https, &expected), Ok(()));
        let silent = head("api.example.com");
        let silent = RequestHead::parse(silent.as_bytes()).unwrap();
        assert!(check(&silent, Scheme::Https, &expected).is_err());
    }

    #[test]
    fn addressees_that_readers_disagree_on_are_refused() {
        let host = "Host: api.example.com\r\n";
        let cases = [
            ("GET /", "", AuthorityError::NoHost),
            (
                "GET /",
                "Host: api.example.com\r\nhost: api.example.com\r\n",
                AuthorityError::ManyHosts,
            ),
            (
                "GET /",
                "Host: user@api.example.com\r\n",
                AuthorityError::UserInfo,
            ),
            (
                "GET /",
                "Host: evil.com@api.example.com\r\n",
                AuthorityError::UserInfo,
            ),
            (
                "GET /",
                "Host:\r\n",
                AuthorityError::Host(HostError::Length),
            ),
            (
                "GET /",
                "Host: a, b\r\n",
                AuthorityError::Host(HostError::Byte),
            ),
            (
                "GET /",
                "Host: api.example.com/x\r\n",
                AuthorityError::Host(HostError::Byte),
            ),
            (
                "GET /",
                "Host: b\u{fc}cher.example\r\n",
                AuthorityError::Host(HostError::Byte),
            ),
            (
                "GET /",
                "Host: 127.0.0.1\r\n",
                AuthorityError::Host(HostError::Address),
            ),
            (
                "GET /",
                "Host: [::1]\r\n",
                AuthorityError::Host(HostError::Address),
            ),
            ("GET /", "Host: api.example.com:\r\n", AuthorityError::Port),
            (
                "GET /",
                "Host: api.example.com:+443\r\n",
                AuthorityError::Port,
            ),
            (
                "GET /",
                "Host: api.example.com:443:443\r\n",
                AuthorityError::Port,
            ),
            (
                "GET /",
                "Host: api.example.com:65979\r\n",
                AuthorityError::Port,
            ),
            ("CONNECT api.example.com:443", host, AuthorityError::Connect),
            ("connect /", host, AuthorityError::Connect),
            ("GET *", host, AuthorityError::Target),
            ("GET api.example.com", host, AuthorityError::Target),
            ("GET /a#b", host, AuthorityError::Target),
            ("GET http://api.example.com/", host, AuthorityError::Scheme),
            ("GET file:///etc/passwd", host, AuthorityError::Scheme),
            ("GET https://evil.com/", host, AuthorityError::Contradiction),
            (
                "GET https://api.example.com:80/",
                host,
                AuthorityError::Contradiction,
            ),
            (
                "GET https://u@api.example.com/",
                host,
                AuthorityError::UserInfo,
            ),
            (
                "GET https://evil.com\\@api.example.com/",
                host,
                AuthorityError::UserInfo,
            ),
            (
                "GET https://api.example.com\\admin/public",
                host,
                AuthorityError::Host(HostError::Byte),
            ),
            (
                "GET https://api.example.com:443\\admin?",
                host,
                AuthorityError::Port,
            ),
            (
                "GET https://",
                host,
                AuthorityError::Host(HostError::Length),
            ),
        ];
        for (line, fields, error) in cases {
            assert_eq!(verdict(line, fields), Err(error), "{line} {fields:?}");
        }
    }
}
