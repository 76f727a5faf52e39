//! Plays the part of clients that write HTTP/2 frame by frame, and tells of each whether it ended right.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use tests::frames::table::{self, Players};

use crate::{say, tls};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    table: Table,
    /// Whom requests are for.
    host: String,
    /// Only what has this name.
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    Cases,
    Floods,
    Servers,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let table = match arguments.table {
        Table::Cases => table::Table::Cases,
        Table::Floods => table::Table::Floods,
        Table::Servers => table::Table::Servers,
    };
    let config = tls::config()?;
    let players = Players {
        host: &arguments.host,
        config: &config,
        resolve: |host| tls::resolve(host, 443),
    };
    table.play(arguments.only.as_deref(), players, |ended| {
        say(&json!({"event": "case", "name": ended.name, "wrong": ended.wrong}));
    });
    Ok(())
}
