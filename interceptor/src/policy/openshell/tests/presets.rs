//! Presets as NemoClaw wrote them in three generations, and what they mean.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;

/// Generation and name of a preset, program, destination, request, and what becomes of it: `denied` is the connection,
/// `forbidden` the request.
const MEANING: &str = "
2026-03/discord      node  discord.com:443                     GET            /api/v10/gateway/bot    allowed
2026-03/discord      node  discord.com:443                     PATCH          /api/v10/users/@me      allowed
2026-03/discord      node  discord.com:443                     CONNECT        /                       forbidden
2026-03/discord      node  discord.com:80                      GET            /                       denied
2026-03/discord      curl  discord.com:443                     GET            /                       denied
2026-03/discord      node  gateway.discord.gg:443              GET            /?v=10                  allowed
2026-03/discord      node  gateway.discord.gg:443              WEBSOCKET_TEXT /?v=10                  allowed
2026-03/discord      node  gateway-us-east1-b.discord.gg:443   GET            /?v=10                  denied
2026-03/discord      node  cdn.discordapp.com:443              HEAD           /avatars/1/2.png        allowed
2026-03/discord      node  cdn.discordapp.com:443              POST           /avatars/1/2.png        forbidden
2026-04/discord      node  discord.com:443                     POST           /api/v10/channels/1     allowed
2026-04/discord      node  gateway.discord.gg:443              GET            /?v=10                  tunnel
2026-04/discord      curl  gateway.discord.gg:443              GET            /?v=10                  denied
2026-04/discord      node  media.discordapp.net:443            DELETE         /x                      forbidden
2026-06/discord      node  gateway.discord.gg:443              GET            /?v=10&encoding=json    allowed
2026-06/discord      node  gateway.discord.gg:443              WEBSOCKET_TEXT /?v=10&encoding=json    allowed
2026-06/discord      node  gateway.discord.gg:443              POST           /                       forbidden
2026-06/discord      node  gateway-us-east1-b.discord.gg:443   WEBSOCKET_TEXT /?v=10                  allowed
2026-06/discord      node  a.b.discord.gg:443                  GET            /?v=10                  denied
2026-06/discord      node  discord.gg:443                      GET            /invite                 denied
2026-06/discord      curl  gateway.discord.gg:443              GET            /?v=10                  denied
2026-03/slack        node  slack.com:443                       POST           /api/chat.postMessage   allowed
2026-03/slack        node  hooks.slack.com:443                 DELETE         /services/1             forbidden
2026-03/slack        node  wss-primary.slack.com:443           GET            /link/                  denied
2026-04/slack        node  api.slack.com:443                   GET            /api/auth.test          allowed
2026-06/slack        node  slack.com:443                       POST           /api/apps.connections.open allowed
2026-06/slack        node  wss-primary.slack.com:443           GET            /link/?ticket=1         allowed
2026-06/slack        node  wss-backup.slack.com:443            WEBSOCKET_TEXT /link/?ticket=1         allowed
2026-06/slack        node  wss-backup.slack.com:443            POST           /link/                  forbidden
2026-06/slack        node  evil.slack.com:443                  GET            /                       denied
2026-03/telegram     node  api.telegram.org:443                POST           /bot1:A/sendMessage     allowed
2026-03/telegram     node  api.telegram.org:443                GET            /file/bot1:A/photo.jpg  forbidden
2026-04/telegram     node  api.telegram.org:443                GET            /other                  forbidden
2026-06/telegram     node  api.telegram.org:443                GET            /file/bot1:A/a/b.jpg    allowed
2026-06/telegram     node  api.telegram.org:443                POST           /file/bot1:A/a/b.jpg    forbidden
2026-06/telegram     node  api.telegram.org:443                PUT            /bot1:A/sendMessage     forbidden
2026-03/jira         node  acme.atlassian.net:443              GET            /rest/api/3/myself      allowed
2026-04/jira         node  a.b.atlassian.net:443               GET            /                       denied
2026-04/jira         node  api.atlassian.com:443               DELETE         /x                      forbidden
2026-03/npm          node  registry.npm.example:443            GET            /ws                     allowed
2026-04/npm          node  registry.npm.example:443            PUT            /ws                     forbidden
2026-06/npm          node  registry.yarn.example:443           GET            /ws                     allowed
2026-03/pypi         python3.11 pypi.example:443               GET            /simple/requests/       allowed
2026-04/pypi         node  pypi.example:443                    GET            /simple/requests/       denied
2026-06/pypi         pip3  files.pypi.example:443              POST           /x                      forbidden
2026-03/outlook      node  graph.microsoft.com:443             POST           /v1.0/me/sendMail       allowed
2026-04/outlook      node  login.microsoftonline.com:443       PUT            /x                      forbidden
2026-03/huggingface  node  huggingface.co:443                  POST           /api/repos/create       forbidden
2026-04/huggingface  node  api-inference.huggingface.co:443    POST           /models/x               allowed
2026-03/docker       docker registry-1.docker.io:443           GET            /v2/                    allowed
2026-04/docker       node  registry-1.docker.io:443            GET            /v2/                    denied
2026-06/whatsapp     node  web.whatsapp.com:443                GET            /ws/chat                tunnel
2026-06/whatsapp     node  static.whatsapp.net:443             POST           /x                      forbidden
2026-06/github       gh    api.github.com:443                  POST           /repos/a/b/issues       allowed
2026-06/github       gh    api.github.com:443                  POST           /user/keys              forbidden
2026-06/github       git   github.com:443                      POST           /a/b/git-receive-pack   allowed
2026-06/local-inference node host.openshell.internal:11434     GET            /api/tags               allowed
2026-06/local-inference node host.openshell.internal:8000      POST           /v1/chat/completions    allowed
2026-06/local-inference node host.openshell.internal:8000      POST           /v1/completions         forbidden
2026-06/local-inference node host.openshell.internal:443       GET            /                       denied
2026-06/tools        node  tools.example.com:443               POST           /mcp                    denied
2026-06/tools        node  graph.example.com:443               POST           /graphql                denied
";

fn presets() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/presets"))
}

#[test]
fn every_preset_of_three_generations_does_what_it_says() {
    let mut spoken_of = BTreeSet::new();
    for line in MEANING.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [preset, program, destination, method, target, expected] = words[..] else {
            panic!("{line}");
        };
        spoken_of.insert(preset.to_owned());
        let text = fs::read_to_string(presets().join(format!("{preset}.yaml"))).unwrap();
        let (policy, _) = loaded(&text);
        let (host, port) = destination.split_once(':').unwrap();
        let host = host.parse().unwrap();
        let port = port.parse().unwrap();
        let caller = Caller {
            executables: vec![format!("/usr/bin/{program}").into_bytes().into()],
        };
        let caller = if preset.ends_with("/npm") {
            Caller {
                executables: vec![b"/usr/local/bin/node".as_slice().into()],
            }
        } else {
            caller
        };
        let found = match policy.decide(&host, port, &caller) {
            Verdict::Deny(_) => "denied",
            Verdict::Tunnel(_) => "tunnel",
            Verdict::Tcp(_) => "tcp",
            Verdict::Intercept(_) => {
                let request = RequestView::new(method, target);
                match policy.judge(&host, port, &caller, &request) {
                    Judgement::Allow => "allowed",
                    Judgement::Audit(_) => "audited",
                    Judgement::Deny(_) => "forbidden",
                }
            }
        };
        assert_eq!(found, expected, "{line}");
    }
    let mut there = BTreeSet::new();
    for generation in fs::read_dir(presets()).unwrap() {
        let generation = generation.unwrap();
        for preset in fs::read_dir(generation.path()).unwrap() {
            let folder = generation.file_name();
            let path = preset.unwrap().path();
            let name = path.file_stem().unwrap();
            there.insert(format!("{}/{}", folder.display(), name.display()));
        }
    }
    assert_eq!(there, spoken_of, "every preset is spoken of");
}

#[test]
fn an_endpoint_without_a_name_that_is_not_raw_tcp_is_listed_and_denied() {
    let (declared, reports) = findings_of(&endpoint("host: 10.1.2.3\nport: 443\nprotocol: rest"));
    assert_eq!(
        declared[0].endpoint.handling,
        Handling::Unsupported(Protocol::Rest)
    );
    assert!(
        warnings(&reports.unwrap())
            .iter()
            .any(|(_, message)| message.contains("without a host name"))
    );
    let policy = Policy::new(declared.into_iter().map(|one| one.endpoint));
    let address = "10.1.2.3".parse().unwrap();
    assert_eq!(policy.tcp_address(address, 443, &node()), None);
}
