//! Docker's engine: a directory for each container below its data root.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Host, Known};

const DATA: &str = "var/lib/docker";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    data_root: PathBuf,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "ID")]
    id: String,
    /// With a slash before it.
    #[serde(rename = "Name")]
    name: String,
}

pub(super) fn containers(host: &Host) -> Vec<Known> {
    let settings: Option<Settings> = host.json("etc/docker/daemon.json");
    let moved = settings.map(|settings| settings.data_root);
    let data = moved.as_deref().map_or(Path::new(DATA), relative);
    let files = host.list(data.join("containers")).into_iter();
    files
        .filter_map(|(_, path)| {
            let Container { id, name } = host.json(path.join("config.v2.json"))?;
            Some(Known {
                id,
                names: vec![name.trim_start_matches('/').to_owned()],
                ..Known::default()
            })
        })
        .collect()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
