//! The servers that policy knows: where secrets are bound to, and where none may go.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    ground::{GOOD, Ground},
    stage::NAME,
};
use crate::{
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
";

/// What the host's own resolver says of names that lead where none should.
pub(super) const HOSTS: &str = "\
127.0.0.1 localhost
10.231.9.1 private.example
169.254.169.254 metadata.example
127.0.0.1 loopback.example
";

impl Upstream {
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        ground
            .outside
            .ip(&["addr", "add", &format!("{SITE}/32"), "dev", "lo"])?;
        let listen = |text: String| ground.outside.listen(text.parse()?);
        let site = Site::start(Versions::Both)?;
        site.listen(listen(format!("{SITE}:443"))?)?;
        Ok(Self {
            mirror: Mirror::start_on(listen(format!("{GOOD}:443"))?)?,
            site,
        })
    }

    /// A sandbox `hostile` that may talk to them.
    pub(super) fn configuration(&self) -> Configuration {
        let bound = "bindings: [{hosts: [mirror.example, \"*.mirror.example\", site.example, other.site.example, \
                     plain.example, tunnel.example, reader.example, rebind.example, private.example, metadata.example], \
                     header: authorization}]";
        let mut configuration = Configuration::default()
            .bound_secret("KEY", TOKEN, bound)
            .bound_secret(
                "OTHER",
                "a-secret-for-another-host-alone",
                "bindings: [{hosts: [unbound.example], header: authorization}]",
            )
            .sandbox(NAME, POLICY, &["KEY", "OTHER"])
            .sandbox("late", POLICY, &[])
            .root(self.mirror.authority().pem())
            .root(self.site.authority().pem())
            .resolve("site.example", format!("{SITE}:443"))
            .resolve("other.site.example", format!("{SITE}:443"))
            .resolve("plain.example", format!("{GOOD}:443"));
        for name in MIRRORED {
            configuration = configuration.resolve(name, format!("{GOOD}:443"));
        }
        configuration
    }

    /// How often the secret has arrived so far, as it is or as the password of `u` in Basic.
    pub(super) fn secrets(&self) -> usize {
        let basic = STANDARD.encode(format!("u:{TOKEN}"));
        let count = |bytes: &[u8]| {
            let count = |word: &[u8]| bytes.windows(word.len()).filter(|w| *w == word).count();
            count(TOKEN.as_bytes()) + count(basic.as_bytes())
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
