//! The servers that policy knows: where secrets are bound to, and where none may go.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    ground::{GOOD, Ground, LISTED, METRICS, PORT, PUBLIC},
    vector::Place,
};
use crate::{
    bytes::count,
    configuration::Configuration,
    mirror::Mirror,
    scenario::TOKEN,
    site::{Site, Versions},
};

/// A server that sends everything back, and one that speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) mirror: Mirror,
    pub(super) site: Site,
}

const SITE: &str = "10.231.9.11";

/// The user whose sockets are exempt in one of the sandboxes.
pub(super) const EXEMPT: u32 = 991;

/// Names that the mirror has, by the flaws of their certificates among others.
const MIRRORED: [&str; 8] = [
    "mirror.example",
    "unbound.example",
    "tunnel.example",
    "expired.mirror.example",
    "self-signed.mirror.example",
    "wrong-name.mirror.example",
    "untrusted.mirror.example",
    "reader.example",
];

const POLICY: &str = "\
version: 1
network_policies:
  all:
    name: all
    endpoints:
      - {host: mirror.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: unbound.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: expired.mirror.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: self-signed.mirror.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: wrong-name.mirror.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: untrusted.mirror.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: site.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: other.site.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: reader.example, port: 443, protocol: rest, enforcement: enforce, access: read-only}
      - {host: tunnel.example, port: 443, tls: skip}
      - {host: plain.example, port: 80, protocol: rest, enforcement: enforce, access: full}
      - {host: rebind.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: private.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: metadata.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: loopback.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: looked-up.example, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: metrics.example, port: 80, protocol: rest, enforcement: enforce, access: full}
";

/// Whether policy has a rule for the name, which the daemon may ask for therefore.
pub(super) fn knows(name: &str) -> bool {
    let hosts = POLICY.split("host: ").skip(1);
    hosts
        .filter_map(|rest| rest.split(',').next())
        .any(|host| host == name)
}

/// What the host's own resolver says of names that lead where none should.
pub(super) const HOSTS: &str = "\
127.0.0.1 localhost
10.231.9.1 private.example
169.254.169.254 metadata.example
127.0.0.1 loopback.example
";

/// The secret as it is, and what it becomes in base64 behind any number of bytes.
pub(super) fn spellings() -> Vec<Vec<u8>> {
    let shifted = (0..3).map(|shift| {
        let coded = STANDARD.encode([&vec![0; shift][..], TOKEN.as_bytes()].concat());
        // What the bytes before it and behind it have a part in is not its own.
        let end = coded.trim_end_matches('=').len() - 1;
        let begin = (shift * 8).div_ceil(6);
        coded
            .as_bytes()
            .get(begin..end)
            .unwrap_or_default()
            .to_vec()
    });
    std::iter::once(TOKEN.as_bytes().to_vec())
        .chain(shifted)
        .collect()
}

impl Upstream {
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        ground
            .outside
            .ip(&["addr", "add", &format!("{SITE}/32"), "dev", "lo"])?;
        let listen = |text: String| ground.outside.listen(text.parse()?);
        let site = Site::start(Versions::Both)?;
        site.listen(listen(format!("{SITE}:443"))?)?;
        let mirror = Mirror::start_on(listen(format!("{GOOD}:443"))?)?;
        mirror.listen(listen(format!("{PUBLIC}:443"))?);
        mirror.listen_plain(listen(format!("{GOOD}:80"))?);
        Ok(Self { mirror, site })
    }

    /// A sandbox `hostile` that may talk to them, and others that may not.
    pub(super) fn configuration(&self, ground: &Ground) -> Configuration {
        let excepted = format!(
            "exempt: {{processes: [{{netns: {}, uid: {EXEMPT}}}]}}",
            ground.excepted.path().display()
        );
        let bound = "bindings: [{hosts: [mirror.example, \"*.mirror.example\", site.example, other.site.example, \
                     plain.example, tunnel.example, reader.example, rebind.example, private.example, metadata.example], \
                     header: authorization}, {hosts: [mirror.example], websocket.json: {type: auth, path: /token}}]";
        let mut configuration = Configuration::default()
            .bound_secret("KEY", TOKEN, bound)
            .bound_secret(
                "OTHER",
                "a-secret-for-another-host-alone",
                "bindings: [{hosts: [unbound.example], header: authorization}]",
            )
            .sandbox(Place::Sandbox.sandbox(), POLICY, &["KEY", "OTHER"])
            .setting(&format!("udp: [{{address: {LISTED}, port: {PORT}}}]"))
            .setting(&format!(
                "exempt: {{destinations: [{{address: {LISTED}, port: {PORT}}}]}}"
            ))
            .sandbox(Place::Late.sandbox(), POLICY, &[])
            .sandbox(Place::Excepted.sandbox(), POLICY, &[])
            .setting(&excepted)
            .sandbox(Place::Armed.sandbox(), POLICY, &[])
            .sandbox(Place::Bounded.sandbox(), POLICY, &[])
            .setting("limits: {connections: 20, connects_per_second: 100}")
            .sandbox(Place::Hosted.sandbox(), POLICY, &[])
            .top_level(&format!("metrics: {{listen: \"0.0.0.0:{METRICS}\"}}"))
            .resolve("metrics.example", format!("127.0.0.1:{METRICS}"))
            .root(self.mirror.authority().pem())
            .root(self.site.authority().pem())
            .resolve("site.example", format!("{SITE}:443"))
            .resolve("other.site.example", format!("{SITE}:443"))
            .resolve("plain.example", format!("{GOOD}:80"));
        for name in MIRRORED {
            configuration = configuration.resolve(name, format!("{GOOD}:443"));
        }
        configuration
    }

    /// How often the secret has arrived so far, as it is or in base64.
    pub(super) fn secrets(&self) -> usize {
        let spellings = spellings();
        let count = |bytes: &[u8]| -> usize {
            let spellings = spellings.iter();
            spellings.map(|spelling| count(bytes, spelling)).sum()
        };
        let heard = self.mirror.heard();
        let mirrored: usize = heard.iter().map(|heard| count(&heard.bytes())).sum();
        let seen = self.site.seen();
        let served: usize = seen
            .iter()
            .map(|seen| {
                let fields = seen.headers.iter().chain(&seen.trailers);
                let fields: usize = fields.map(|(_, value)| count(value)).sum();
                fields + count(&seen.body) + count(seen.target.as_bytes())
            })
            .sum();
        mirrored + served
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::holds;

    #[test]
    fn a_secret_in_base64_is_found_wherever_it_begins() {
        let spellings = spellings();
        for before in ["", "u", "u:", "user", "a:b:c"] {
            let coded = STANDARD.encode(format!("{before}{TOKEN} and more"));
            assert!(
                spellings.iter().any(|one| holds(coded.as_bytes(), one)),
                "behind {before:?}"
            );
        }
    }

    #[test]
    fn only_names_of_rules_are_known() {
        assert!(knows("mirror.example") && knows("metrics.example"));
        assert!(!knows("example") && !knows("x.mirror.example") && !knows("evil.test"));
    }
}
