//! The page that shows a fleet in a browser: its files, its data, and its HTTP routes.
//!
//! The page asks for [`PageSource`] alone, which the coordinator implements over its published snapshots; nothing here reaches the
//! driver or the store. Once a second, while a page is open, [`feed`] makes one frame of the source's fleet and shares its bytes among
//! all pages. Without an open page nothing runs.
//!
//! The page is read-only: every route answers GET.

mod assets;
mod document;
mod feed;
mod guard;
mod input;
mod rates;
mod routes;

pub use feed::MOST_PAGES;
pub use input::{
    FleetData, HistoryData, IdentifyData, LineData, PageSource, PlanData, ShardData, ShardDetail, StepData,
    WhyData, WorkerData,
};
pub use routes::LivePage;
