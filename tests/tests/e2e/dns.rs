//! Names resolve in a namespace without a resolver, and only names that policy knows.

use anyhow::Result;
use tests::{netns::Netns, sandbox::Sandbox, scenario::Scenario};

/// RFC 1035 §4.1.1.
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

#[test]
fn node_glibc_and_musl_resolve_known_names_and_no_others() -> Result<()> {
    let scenario = Scenario::discord()?;
    let clients = &scenario.clients;
    for netns in [Netns::new()?, Netns::without_ipv6()?] {
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
        for resolver in ["node", "cc", "musl-gcc"] {
            let command = |name| match resolver {
                "node" => Ok(clients.resolve_with_node(name)),
                compiler => clients.resolve_with_c(compiler, name),
            };
            let known = sandbox.run(&netns, &command("gateway.discord.gg")?)?;
            known.event("resolved")?;
            let unknown = sandbox.run(&netns, &command("exfiltrated.evil.example")?)?;
            let unknown = unknown.event("unresolved")?;
            let error = unknown["error"].as_str().unwrap_or_default();
            assert!(
                ["ENOTFOUND", "EAI_NONAME"].contains(&error),
                "{resolver}: {unknown}"
            );
        }
        sandbox.detach(&scenario.daemon)?;
    }
    Ok(())
}

#[test]
fn every_way_to_ask_a_resolver_is_answered_by_policy() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    for server in [
        "192.0.2.53:53",
        "127.0.0.53:53",
        "[2001:db8::53]:53",
        "[::ffff:192.0.2.53]:53",
    ] {
        for way in [&[][..], &["--unconnected"], &["--tcp"], &["--aaaa"]] {
            for (name, code) in [("discord.com", NOERROR), ("evil.example", NXDOMAIN)] {
                let mut ask = vec!["dns", server, name];
                ask.extend(way);
                let finished = sandbox.run(&netns, &scenario.clients.probe(&ask))?;
                let answer = finished.event("answer")?;
                assert_eq!(answer["code"], code, "{ask:?}: {answer}");
                assert_eq!(answer["from"], server, "{ask:?}");
            }
        }
    }
    Ok(())
}
