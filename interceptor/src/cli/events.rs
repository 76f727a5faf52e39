//! `interceptor events`

use std::{path::Path, thread, time::Duration};

use clap::Args;

use super::{
    Json,
    output::{self, complain},
    table::{Column, Table, or_dash},
};
use crate::{
    control::client::{Client, ClientError},
    stats::{Selection, view::EventView},
};

const EXAMPLES: &str = "\
An event is a refusal: of a connection, a request or a message, of a name, or of a socket by the kernel. The same one \
within a second is one event, COUNT says how often it came. 1,024 are remembered of each sandbox; `events: { file: PATH }` \
in the configuration keeps all of them, as the lines that --json --follow prints. Those of a daemon that drains are shown \
until it ends.

Examples:
  interceptor events --sandbox micky
  interceptor events --follow
  interceptor events --json | jq -r '.[] | .reason' | sort | uniq -c";

/// Between two questions of a follower.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EventsArgs {
    /// Go on with what is refused from now on; an event is shown a second after it came, when its count stands
    #[arg(long)]
    follow: bool,
    /// Show those of sandboxes with this name only
    #[arg(long, value_name = "NAME")]
    sandbox: Option<String>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(args: EventsArgs, run_dir: &Path) -> anyhow::Result<()> {
    let EventsArgs {
        follow: following,
        sandbox,
        json,
    } = args;
    let client = Client::new(run_dir);
    let selection = Selection {
        sandbox,
        ..Selection::default()
    };
    if following {
        return follow(&client, selection, json);
    }
    let events = client.events(&selection)?;
    if json.json {
        return output::json(&events);
    }
    if events.is_empty() {
        return output::print("nothing was refused\n");
    }
    output::print(&table(&events).render())
}

fn follow(client: &Client, mut selection: Selection, json: Json) -> anyhow::Result<()> {
    // All that are remembered.
    selection.after = Some(0);
    let (mut reached, mut complained) = (false, false);
    loop {
        match client.events(&selection) {
            Ok(events) => {
                complained = false;
                for event in &events {
                    output::print(&line(event, json)?)?;
                    go_on_behind(&mut selection, event);
                }
                reached = true;
            }
            Err(error @ (ClientError::NoDaemon(_) | ClientError::NoAnswer(_))) if reached => {
                if !complained {
                    complained = true;
                    complain(&error.to_string());
                }
            }
            Err(error) => return Err(error.into()),
        }
        thread::sleep(PERIOD);
    }
}

/// Daemons that follow each other count on, those that drain beside another one by themselves.
fn go_on_behind(selection: &mut Selection, event: &EventView) {
    let seen = selection.seen.entry(event.daemon).or_default();
    *seen = event.id.max(*seen);
}

fn line(event: &EventView, json: Json) -> anyhow::Result<String> {
    if json.json {
        return Ok(serde_json::to_string(event)? + "\n");
    }
    let cells = cells(event).map(|cell| output::escape(&cell));
    Ok(cells.join("  ") + "\n")
}

pub(super) fn table(events: &[EventView]) -> Table {
    let mut table = Table::new(&[
        Column::Word("REFUSED AT"),
        Column::Number("COUNT"),
        Column::Text("SANDBOX"),
        Column::Text("PROCESS"),
        Column::Number("UID"),
        Column::Text("DESTINATION"),
        Column::Text("REASON"),
        Column::Text("DETAIL"),
    ]);
    for event in events {
        table.row(cells(event));
    }
    table
}

fn cells(event: &EventView) -> [String; 8] {
    [
        event.at.clone(),
        event.count.to_string(),
        or_dash(event.sandbox.clone()),
        format!("{}[{}]", event.comm, event.pid),
        event.uid.to_string(),
        destination(event),
        event.reason.clone(),
        event.detail.clone(),
    ]
}

fn destination(event: &EventView) -> String {
    let address = event.destination.map(|address| address.to_string());
    match (&event.name, address) {
        (Some(name), Some(address)) => format!("{name} ({address})"),
        (Some(name), None) => name.clone(),
        (None, address) => or_dash(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventView {
        EventView {
            daemon: 77,
            id: 7,
            at: "2026-01-31T23:59:11.000Z".into(),
            count: 40,
            sandbox_id: Some(1),
            sandbox: Some("micky".into()),
            pid: 4242,
            uid: 1000,
            comm: "\x1b]0;evil\x07".into(),
            destination: Some("192.0.2.1:443".parse().unwrap()),
            name: Some("example.com".into()),
            connection: None,
            reason: "policy".into(),
            detail: "no rule for example.com:443".into(),
        }
    }

    #[test]
    fn a_follower_goes_on_behind_the_last_event_of_each_daemon() {
        let mut selection = Selection::default();
        for (daemon, id) in [(77, 7), (66, 3), (77, 9), (77, 8)] {
            let event = EventView {
                daemon,
                id,
                ..event()
            };
            go_on_behind(&mut selection, &event);
        }
        assert_eq!(selection.seen, [(66, 3), (77, 9)].into());
    }

    #[test]
    fn a_follower_reads_a_line_for_each_event_that_steers_no_terminal() {
        let json = |json| Json { json };
        assert_eq!(
            line(&event(), json(false)).unwrap(),
            "2026-01-31T23:59:11.000Z  40  micky  \\u{1b}]0;evil\\u{7}[4242]  1000  \
             example.com (192.0.2.1:443)  policy  no rule for example.com:443\n"
        );
        let text = line(&event(), json(true)).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<EventView>(&text).unwrap(), event());
    }
}
