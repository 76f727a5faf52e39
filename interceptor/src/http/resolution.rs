//! Puts secrets into the parts of a request's head, whatever version of HTTP it came in.

use zeroize::Zeroizing;

use super::Exchange;
use crate::{
    rewrite::{
        RELEASES_MAX, Unresolvable, grammar, header,
        outcome::HeadOutcome,
        release::{NotBound, Release},
        target,
    },
    secrets::SecretName,
    stats::connection::Connection,
};

/// A head that is gone through part by part.
pub(super) struct Resolution<'e> {
    release: &'e Release,
    stats: &'e Connection,
    /// Once for each placeholder that was resolved.
    used: Vec<SecretName>,
    /// Places with placeholders that stay the text they are.
    passed: u64,
}

/// What goes out in a part's place; `None`: it stays.
type Instead = Option<Zeroizing<Vec<u8>>>;

impl<'e> Resolution<'e> {
    pub(super) fn new(exchange: &'e Exchange) -> Self {
        Self {
            release: &exchange.release,
            stats: &exchange.stats,
            used: Vec::new(),
            passed: 0,
        }
    }

    pub(super) fn target(&mut self, target: &str) -> Result<Instead, Unresolvable> {
        self.take(target::rewrite(target.as_bytes(), self.release))
    }

    /// The field `name` (lower case).
    pub(super) fn field(&mut self, name: &str, value: &[u8]) -> Result<Instead, Unresolvable> {
        if !may_carry_secret(name) {
            self.pass(value);
            return Ok(None);
        }
        self.take(header::rewrite(name, value, self.release))
    }

    /// A field's value that no secret goes into.
    pub(super) fn pass(&mut self, value: &[u8]) {
        self.passed += u64::from(grammar::mentions(value));
    }

    /// That was the head. How many secrets it takes.
    ///
    /// # Errors
    /// The policy does not let it go on with what stays.
    pub(super) fn settle(&self) -> Result<usize, NotBound> {
        for _ in 0..self.passed {
            self.release.pass_unbound(self.stats)?;
        }
        Ok(self.used.len())
    }

    /// The head may go. It may be held back still, but a reload has to know what is in it.
    pub(super) fn count(self) {
        for name in &self.used {
            self.stats.count_rewrite(name);
        }
    }

    fn take(&mut self, outcome: HeadOutcome) -> Result<Instead, Unresolvable> {
        match outcome {
            HeadOutcome::Unchanged => Ok(None),
            HeadOutcome::Passed(places) => {
                self.passed += places;
                Ok(None)
            }
            HeadOutcome::Rewritten {
                value,
                used,
                passed,
            } => {
                self.used.extend(used);
                self.passed += passed;
                if self.used.len() > RELEASES_MAX {
                    return Err(Unresolvable::TooMany);
                }
                Ok(Some(value))
            }
            HeadOutcome::Refused(unresolvable) => Err(unresolvable),
        }
    }
}

/// Servers repeat these fields in their answers, or they never reach the server that the secret is for: no secret is
/// put in them, whatever the bindings say.
fn may_carry_secret(name: &str) -> bool {
    let echoed = name.starts_with("sec-websocket-")
        || name.starts_with("access-control-request-")
        || matches!(
            name,
            "origin" | "idempotency-key" | "last-event-id" | "content-disposition" | "host"
        );
    // RFC 9110 §7.6.1, and what frames the message.
    let hop_by_hop = matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    !echoed && !hop_by_hop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_servers_echo_never_carry_a_secret() {
        for name in [
            "sec-websocket-protocol",
            "sec-websocket-key",
            "origin",
            "access-control-request-headers",
            "idempotency-key",
            "last-event-id",
            "content-disposition",
            "host",
            "te",
        ] {
            assert!(!may_carry_secret(name), "{name}");
        }
        for name in ["authorization", "cookie", "x-api-key"] {
            assert!(may_carry_secret(name), "{name}");
        }
    }
}
