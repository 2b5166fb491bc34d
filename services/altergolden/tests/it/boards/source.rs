//! The sources of the Grafana boards, `deploy/grafana/*.toml`, as types.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};

/// The boards, in the order of the documents.
const BOARDS: [&str; 7] = ["fleet", "shards", "workers", "identify", "relay", "rest", "bots"];

/// All sources.
pub(super) struct Source {
    /// By label, or `series` for fixed legends: colours by value.
    pub(super) colors: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) boards: Vec<Board>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    /// The file's name, and the end of the board's address.
    #[serde(skip)]
    pub(super) id: String,
    pub(super) title: String,
    pub(super) about: String,
    /// Has the variable `worker`.
    #[serde(default)]
    pub(super) worker: bool,
    #[serde(rename = "panel")]
    pub(super) panels: Vec<Panel>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Draw {
    Stat,
    Lines,
    Stacked,
    Bars,
    Table,
    Heatmap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panel {
    /// The header of a row that begins here.
    pub(super) row: Option<String>,
    title: Option<String>,
    pub(super) question: String,
    pub(super) note: Option<String>,
    /// The id of a board to link to.
    pub(super) see: Option<String>,
    pub(super) draw: Draw,
    pub(super) unit: Option<String>,
    size: Option<[u32; 2]>,
    pub(super) warn: Option<f64>,
    pub(super) bad: Option<f64>,
    pub(super) low_warn: Option<f64>,
    pub(super) low_bad: Option<f64>,
    /// Legend and PromQL.
    pub(super) queries: Vec<(String, String)>,
}

impl Source {
    pub(super) fn read() -> Self {
        let board = |id: &str| Board { id: id.to_owned(), ..parsed(&format!("deploy/grafana/{id}.toml")) };
        Self { colors: parsed("deploy/grafana/colors.toml"), boards: BOARDS.map(board).into() }
    }

    /// Every query of every board, with where it stands.
    pub(super) fn queries(&self) -> impl Iterator<Item = (String, &str)> {
        self.boards.iter().flat_map(|board| {
            board.panels.iter().flat_map(|panel| {
                let place = format!("{}.toml, {:?}", board.id, panel.title());
                panel.queries.iter().map(move |(_, query)| (place.clone(), query.as_str()))
            })
        })
    }
}

impl Panel {
    /// Width of 24, and height.
    pub(super) fn size(&self) -> [u32; 2] {
        self.size.unwrap_or(if self.draw == Draw::Stat { [4, 4] } else { [8, 7] })
    }

    /// A short title, or else the question.
    pub(super) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.question)
    }
}

fn parsed<T: DeserializeOwned>(path: &str) -> T {
    toml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of the repository.
pub(super) fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A path from the root of the repository.
pub(super) fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
