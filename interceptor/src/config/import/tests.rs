use std::{fs, path::Path};

use super::*;

fn preset(generation: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/presets/{generation}/{name}.yaml"))
}

fn imported_of(generation: &str, name: &str, intercept: &[&str]) -> Import {
    let intercept: Vec<_> = intercept.iter().map(|host| host.parse().unwrap()).collect();
    import(&[preset(generation, name)], "micky", &intercept).unwrap()
}

/// Host and fate of every endpoint.
fn fates(import: &Import) -> Vec<(&str, Fate)> {
    let endpoints = import.endpoints.iter();
    endpoints
        .map(|endpoint| (endpoint.host.as_deref().unwrap(), endpoint.fate))
        .collect()
}

#[test]
fn each_generation_of_discord_has_its_own_fate_at_the_gateway() {
    for (generation, intercept, gateway, shut, gaps) in [
        ("2026-03", &[][..], Fate::Rewrite, 0, 1),
        ("2026-04", &[], Fate::Tunnel, 1, 1),
        ("2026-04", &["gateway.discord.gg"], Fate::Rewrite, 0, 1),
        ("2026-06", &[], Fate::Rewrite, 0, 0),
    ] {
        let import = imported_of(generation, "discord", intercept);
        let fates = fates(&import);
        assert!(
            fates.contains(&("gateway.discord.gg", gateway)),
            "{fates:?}"
        );
        assert!(fates.contains(&("discord.com", Fate::Rewrite)), "{fates:?}");
        assert!(
            fates.contains(&("cdn.discordapp.com", Fate::Intercept)),
            "{fates:?}"
        );
        assert_eq!(import.shut().len(), shut, "{generation}");
        // Where a session is resumed.
        assert_eq!(import.gaps.len(), gaps, "{:?}", import.gaps);
        assert_eq!(import.profiles(), ["discord"]);
        assert!(import.is_supported());
    }
}

#[test]
fn slack_and_telegram_are_rewritten_where_their_tokens_are_sent() {
    let slack = imported_of("2026-06", "slack", &[]);
    assert_eq!(
        fates(&slack),
        [
            ("slack.com", Fate::Rewrite),
            ("api.slack.com", Fate::Intercept),
            ("hooks.slack.com", Fate::Intercept),
            ("wss-primary.slack.com", Fate::Intercept),
            ("wss-backup.slack.com", Fate::Intercept),
        ]
    );
    let telegram = imported_of("2026-06", "telegram", &[]);
    assert_eq!(fates(&telegram), [("api.telegram.org", Fate::Rewrite)]);
}

#[test]
fn a_tunnel_that_no_profile_wants_is_not_offered_to_be_opened() {
    let import = imported_of("2026-06", "whatsapp", &[]);
    assert_eq!(
        fates(&import).first(),
        Some(&("web.whatsapp.com", Fate::Tunnel))
    );
    assert!(import.shut().is_empty());
}

#[test]
fn what_is_unsupported_is_said_to_be() {
    let import = imported_of("2026-06", "tools", &[]);
    assert!(!import.is_supported());
    assert_eq!(
        fates(&import),
        [
            ("tools.example.com", Fate::Unsupported(Protocol::Mcp)),
            ("graph.example.com", Fate::Unsupported(Protocol::GraphQl)),
        ]
    );
}

#[test]
fn of_endpoints_for_the_same_host_each_shares_the_fate_of_the_one_that_decides() {
    let files = [preset("2026-04", "discord"), preset("2026-06", "discord")];
    let import = import(&files, "micky", &[]).unwrap();
    let gateway: Vec<_> = fates(&import)
        .into_iter()
        .filter(|(host, _)| *host == "gateway.discord.gg")
        .collect();
    assert_eq!(gateway, [("gateway.discord.gg", Fate::Tunnel); 2]);
    assert_eq!(import.shut().len(), 1, "each host once");
}

#[test]
fn a_host_that_is_no_tunnel_cannot_be_opened_and_faults_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    fs::write(&path, "version: 1\ncolour: red\n").unwrap();
    let missing = folder.path().join("missing.yaml");
    let intercept = ["discord.com".parse().unwrap()];
    let faults = import(&[path, missing], "micky", &intercept).unwrap_err();
    let shown = faults.to_string();
    assert_eq!(faults.0.len(), 3, "{shown}");
    assert!(shown.contains("cannot open discord.com"), "{shown}");
}
