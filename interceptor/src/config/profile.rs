//! Profiles: named sets of bindings, shipped as data.

use super::binding::{self, Binding};
use crate::{
    policy::HostPattern,
    yaml::{self, Entry, Findings, Node},
};

#[derive(Clone, Copy, Debug)]
enum Profile {
    /// Its bindings say which hosts they are for.
    Hosted(&'static str),
    /// Its bindings are for the hosts that the user names.
    Hostless(&'static str),
}

const PROFILES: &[(&str, Profile)] = &[
    (
        "anthropic",
        Profile::Hosted(include_str!("../../profiles/anthropic.yaml")),
    ),
    (
        "discord",
        Profile::Hosted(include_str!("../../profiles/discord.yaml")),
    ),
    (
        "generic",
        Profile::Hostless(include_str!("../../profiles/generic.yaml")),
    ),
    (
        "github",
        Profile::Hosted(include_str!("../../profiles/github.yaml")),
    ),
    (
        "openai",
        Profile::Hosted(include_str!("../../profiles/openai.yaml")),
    ),
    (
        "slack",
        Profile::Hosted(include_str!("../../profiles/slack.yaml")),
    ),
    (
        "telegram",
        Profile::Hosted(include_str!("../../profiles/telegram.yaml")),
    ),
];

/// The bindings of the profile that a secret names; `hosts` is what stands beside it.
pub(super) fn read(name: &Node, hosts: Option<&Entry>, findings: &mut Findings) -> Vec<Binding> {
    let Some(profile) = name.choice(PROFILES, findings) else {
        return Vec::new();
    };
    match (profile, hosts) {
        (Profile::Hosted(text), None) => parse(text, None, findings),
        (Profile::Hosted(_), Some(hosts)) => {
            findings.fault(
                &hosts.key_at,
                "this profile has hosts of its own: leave `hosts` out, or add `bindings` for others",
            );
            Vec::new()
        }
        (Profile::Hostless(text), Some(hosts)) => {
            let hosts = binding::read_hosts(&hosts.value, findings);
            parse(text, Some(&hosts), findings)
        }
        (Profile::Hostless(_), None) => {
            findings.fault(
                &name.at,
                "this profile is for hosts that you name: add `hosts` beside it",
            );
            Vec::new()
        }
    }
}

/// The profiles that have hosts of their own, with their bindings.
pub(super) fn hosted() -> impl Iterator<Item = (&'static str, Vec<Binding>)> {
    PROFILES.iter().filter_map(|(name, profile)| match profile {
        // Part of the program, without faults: a test reads them all.
        Profile::Hosted(text) => Some((*name, parse(text, None, &mut Findings::default()))),
        Profile::Hostless(_) => None,
    })
}

fn parse(text: &str, hosts: Option<&[HostPattern]>, findings: &mut Findings) -> Vec<Binding> {
    let Some(root) = yaml::parse("built-in profile", text, findings) else {
        return Vec::new();
    };
    let Some(mut fields) = root.fields(findings) else {
        return Vec::new();
    };
    let bindings = fields.require("bindings", findings);
    fields.finish(findings);
    match (bindings, hosts) {
        (Some(list), Some(hosts)) => binding::read_at(hosts, list, findings),
        (Some(list), None) => binding::read(list, findings),
        (None, _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::binding::{Guard, JsonField, PathPlace, Surface};

    fn bindings_of(name: &str) -> Vec<Binding> {
        let mut findings = Findings::default();
        let (_, profile) = PROFILES.iter().find(|(known, _)| *known == name).unwrap();
        let hosts = ["a.example".parse().unwrap()];
        let bindings = match profile {
            Profile::Hosted(text) => parse(text, None, &mut findings),
            Profile::Hostless(text) => parse(text, Some(&hosts), &mut findings),
        };
        assert!(findings.finish().unwrap().is_empty(), "{name}");
        bindings
    }

    /// The places at which a profile puts a secret in on the way to a host.
    fn surfaces(profile: &str, host: &str) -> Vec<Surface> {
        let host = host.parse().unwrap();
        let mut surfaces = bindings_of(profile);
        surfaces.retain(|binding| binding.names(&host));
        surfaces
            .into_iter()
            .map(|binding| binding.surface)
            .collect()
    }

    fn header(name: &str) -> Surface {
        Surface::Header(name.into())
    }

    #[test]
    fn every_profile_reads_without_a_fault() {
        for (name, _) in PROFILES {
            assert!(!bindings_of(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn discord_binds_identify_resume_and_authorization() {
        let gateway = Surface::WebSocketJson(JsonField {
            path: vec!["d".into(), "token".into()],
            guard: Some(Guard {
                member: "op".into(),
                values: vec![2.into(), 6.into()],
            }),
            limit: Some(4096),
        });
        for host in ["gateway.discord.gg", "gateway-us-east1-b.discord.gg"] {
            assert_eq!(surfaces("discord", host), std::slice::from_ref(&gateway));
        }
        for host in ["discord.com", "discordapp.com"] {
            assert_eq!(surfaces("discord", host), [header("authorization")]);
        }
    }

    #[test]
    fn telegram_binds_the_path_of_requests_and_of_files() {
        let places = ["/bot", "/file/bot"].map(|before| {
            Surface::Path(PathPlace {
                before: before.into(),
                after: "/".into(),
            })
        });
        assert_eq!(surfaces("telegram", "api.telegram.org"), places);
        assert_eq!(surfaces("telegram", "telegram.org"), []);
    }

    #[test]
    fn profiles_bind_headers_of_their_hosts() {
        for (profile, host, headers) in [
            (
                "anthropic",
                "api.anthropic.com",
                &["x-api-key", "authorization"][..],
            ),
            (
                "generic",
                "a.example",
                &["authorization", "x-api-key", "api-key"],
            ),
            ("github", "api.github.com", &["authorization"]),
            ("github", "uploads.github.com", &["authorization"]),
            ("github", "github.com", &["authorization"]),
            ("openai", "api.openai.com", &["authorization"]),
            ("slack", "slack.com", &["authorization"]),
            ("slack", "files.slack.com", &["authorization"]),
        ] {
            let expected: Vec<_> = headers.iter().map(|name| header(name)).collect();
            assert_eq!(surfaces(profile, host), expected, "{profile} {host}");
        }
    }

    #[test]
    fn profiles_bind_nothing_to_hosts_that_need_no_secret_or_belong_to_others() {
        for (profile, hosts) in [
            ("anthropic", &["anthropic.com", "console.anthropic.com"][..]),
            (
                "discord",
                &[
                    "cdn.discordapp.com",
                    "discord.gg",
                    "evil-discord.com",
                    "a.b.discord.gg",
                ],
            ),
            ("generic", &["b.example", "b.a.example", "example"]),
            (
                "github",
                &[
                    "codeload.github.com",
                    "gist.github.com",
                    "raw.githubusercontent.com",
                ],
            ),
            ("openai", &["openai.com", "chatgpt.com"]),
            (
                "slack",
                &[
                    "wss-primary.slack.com",
                    "wss-backup.slack.com",
                    "hooks.slack.com",
                    "evil-slack.com",
                ],
            ),
        ] {
            for host in hosts {
                assert_eq!(surfaces(profile, host), [], "{profile} {host}");
            }
        }
    }
}
