//! nftables as sandboxes have them around their own namespaces.

use anyhow::Result;

use crate::{netns::Netns, process::Running};

/// Nothing leaves or comes but by `lo`, and what would is refused at once.
///
/// # Errors
/// No nft, or the kernel has no nf_tables.
pub fn reject_all(netns: &Netns) -> Result<()> {
    load(netns, "")
}

/// The same, but for TCP to an address and port, as OpenShell leaves its proxy open.
///
/// # Errors
/// As those of [`reject_all`].
pub fn open_only(netns: &Netns, address: &str, port: u16) -> Result<()> {
    load(
        netns,
        &format!("ip daddr {address} tcp dport {port} accept\nct state established accept"),
    )
}

fn load(netns: &Netns, accepted: &str) -> Result<()> {
    let rules = format!(
        "table inet fence {{
            chain outgoing {{
                type filter hook output priority 0; policy drop;
                oifname lo accept
                {accepted}
                meta l4proto tcp reject with tcp reset
                reject
            }}
            chain incoming {{
                type filter hook input priority 0; policy drop;
                iifname lo accept
                ct state established accept
            }}
        }}\n"
    );
    let mut command = netns.command("nft");
    command.args(["-f", "-"]);
    let mut nft = Running::spawn(command)?;
    nft.write(rules.as_bytes())?;
    nft.finish()?.success().map(drop)
}
