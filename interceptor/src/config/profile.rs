//! Profiles: named sets of bindings, shipped as data.

use super::binding::{self, Binding};
use crate::yaml::{self, Findings, Node};

const PROFILES: &[(&str, &str)] = &[("discord", include_str!("../../profiles/discord.yaml"))];

/// The bindings of the profile that a secret names.
pub(super) fn read(name: &Node, findings: &mut Findings) -> Vec<Binding> {
    match name.choice(PROFILES, findings) {
        Some(text) => parse(text, findings),
        None => Vec::new(),
    }
}

fn parse(text: &str, findings: &mut Findings) -> Vec<Binding> {
    let Some(root) = yaml::parse("built-in profile", text, findings) else {
        return Vec::new();
    };
    let Some(mut fields) = root.fields(findings) else {
        return Vec::new();
    };
    let bindings = fields.require("bindings", findings);
    fields.finish(findings);
    bindings.map_or_else(Vec::new, |list| binding::read(list, findings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::binding::{Guard, JsonField, Surface};

    #[test]
    fn every_profile_reads_without_a_fault() {
        for (name, text) in PROFILES {
            let mut findings = Findings::default();
            assert!(!parse(text, &mut findings).is_empty(), "{name}");
            assert!(findings.finish().unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn discord_binds_identify_resume_and_authorization() {
        let mut findings = Findings::default();
        let (_, text) = PROFILES
            .iter()
            .find(|(name, _)| *name == "discord")
            .unwrap();
        let bindings = parse(text, &mut findings);
        let surfaces = |host: &str| -> Vec<Surface> {
            let host = host.parse().unwrap();
            bindings
                .iter()
                .filter(|binding| binding.names(&host))
                .map(|binding| binding.surface.clone())
                .collect()
        };
        let gateway = Surface::WebSocketJson(JsonField {
            path: vec!["d".into(), "token".into()],
            guard: Some(Guard {
                member: "op".into(),
                values: vec![2.into(), 6.into()],
            }),
            limit: Some(4096),
        });
        let authorization = Surface::Header("authorization".into());
        assert_eq!(
            surfaces("gateway.discord.gg"),
            std::slice::from_ref(&gateway)
        );
        assert_eq!(surfaces("gateway-us-east1-b.discord.gg"), [gateway]);
        assert_eq!(
            surfaces("discord.com"),
            std::slice::from_ref(&authorization)
        );
        assert_eq!(surfaces("discordapp.com"), [authorization]);
        for stranger in [
            "cdn.discordapp.com",
            "discord.gg",
            "evil-discord.com",
            "a.b.discord.gg",
        ] {
            assert_eq!(surfaces(stranger), [], "{stranger}");
        }
    }
}
