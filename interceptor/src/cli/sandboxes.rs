//! `interceptor sandboxes`

use std::path::Path;

use super::{
    Json,
    output::{self, escape},
    table::{Column, Table},
};
use crate::control::{
    api::{NetnsView, SandboxView},
    client::Client,
};

pub(super) const EXAMPLES: &str = "\
Below the table stands what of a sandbox goes past the daemon by the configuration, with the number of connects,
datagrams or sockets that did, which doors this kernel leaves to seccomp, and what weakens its containment: capabilities in it, sockets from before it was one.

Examples:
  interceptor sandboxes
  interceptor sandboxes --json | jq '.[] | select(.warnings != [])'";

pub(super) fn run(json: Json, run_dir: &Path) -> anyhow::Result<()> {
    let sandboxes = Client::new(run_dir).sandboxes()?;
    if json.json {
        return output::json(&sandboxes);
    }
    output::print(&render(&sandboxes))
}

fn render(sandboxes: &[SandboxView]) -> String {
    if sandboxes.is_empty() {
        return "no sandboxes: `interceptor attach` makes one\n".into();
    }
    let table = table(sandboxes);
    let mut text = table.render();
    for sandbox in sandboxes {
        for exemption in &sandbox.exemptions {
            let (what, uses) = (&exemption.what, exemption.uses);
            text.push_str(&escape(&format!(
                "exempt: {}: {what} ({uses})",
                sandbox.name
            )));
            text.push('\n');
        }
        for door in &sandbox.doors {
            text.push_str(&escape(&format!(
                "left to seccomp: {}: {door}",
                sandbox.name
            )));
            text.push('\n');
        }
        for warning in &sandbox.warnings {
            text.push_str(&escape(&format!("warning: {}: {warning}", sandbox.name)));
            text.push('\n');
        }
    }
    text
}

fn table(sandboxes: &[SandboxView]) -> Table {
    let mut table = Table::new(&[
        Column::Number("ID"),
        Column::Text("NAME"),
        Column::Text("CGROUP"),
        Column::Text("IS"),
        Column::Text("NETNS"),
        Column::Text("POLICIES"),
        Column::Text("SECRETS"),
        Column::Number("LIVE"),
        Column::Text("ATTACHED"),
    ]);
    for sandbox in sandboxes {
        let secrets: Vec<_> = sandbox
            .secrets
            .iter()
            .cloned()
            .chain(sandbox.secret_keys.iter().map(|key| format!("+{key}")))
            .collect();
        table.row([
            sandbox.id.to_string(),
            sandbox.name.clone(),
            sandbox.cgroup.display().to_string(),
            sandbox
                .identity
                .as_ref()
                .map_or_else(|| "-".into(), ToString::to_string),
            list(&sandbox.netns.iter().map(netns).collect::<Vec<_>>()),
            list(&sandbox.policies),
            list(&secrets),
            sandbox.live_connections.to_string(),
            sandbox.attached_at.clone(),
        ]);
    }
    table
}

/// `4026532001:61913` with what is special about it.
fn netns(netns: &NetnsView) -> String {
    let private = if netns.private { " private" } else { "" };
    let ipv4 = if netns.ipv6 { "" } else { " IPv4 only" };
    format!("{}:{}{private}{ipv4}", netns.cookie, netns.port)
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "-".into()
    } else {
        items.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::ExemptionView;

    fn sandbox() -> SandboxView {
        SandboxView {
            id: 1,
            name: "micky".into(),
            cgroup: "/sys/fs/cgroup/micky".into(),
            cgroup_id: 4711,
            identity: serde_json::from_str(r#""pod team/micky""#).unwrap(),
            netns: vec![
                NetnsView {
                    cookie: 4097,
                    port: 61913,
                    ipv6: true,
                    private: true,
                    fenced: true,
                },
                NetnsView {
                    cookie: 1,
                    port: 61914,
                    ipv6: false,
                    private: false,
                    fenced: false,
                },
            ],
            policies: vec!["policies/discord.yaml".into()],
            secrets: vec!["DISCORD_BOT_TOKEN".into()],
            secret_keys: vec!["OPENAI_API_KEY".into()],
            sockets: Vec::new(),
            exemptions: vec![ExemptionView {
                what: "UDP to 10.0.0.1:123".into(),
                uses: 7,
            }],
            kernel_denials: 3,
            doors: vec!["AF_VSOCK is not watched".into()],
            warnings: vec!["a process has CAP_NET_ADMIN: it is not contained".into()],
            attached_at: "2026-01-31T23:59:59.123Z".into(),
            live_connections: 2,
        }
    }

    #[test]
    fn sandboxes_are_shown_with_their_warnings() {
        assert_eq!(
            render(&[sandbox()]),
            concat!(
                "ID  NAME   CGROUP                IS              NETNS                                  POLICIES               SECRETS                             LIVE  ATTACHED\n",
                " 1  micky  /sys/fs/cgroup/micky  pod team/micky  4097:61913 private, 1:61914 IPv4 only  policies/discord.yaml  DISCORD_BOT_TOKEN, +OPENAI_API_KEY     2  2026-01-31T23:59:59.123Z\n",
                "exempt: micky: UDP to 10.0.0.1:123 (7)\n",
                "left to seccomp: micky: AF_VSOCK is not watched\n",
                "warning: micky: a process has CAP_NET_ADMIN: it is not contained\n",
            )
        );
    }

    #[test]
    fn no_sandboxes_are_worth_a_word() {
        assert_eq!(
            render(&[]),
            "no sandboxes: `interceptor attach` makes one\n"
        );
    }
}
