//! What every phase needs: the simulated Discord, the truth about it, and the load.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use discord_sim::{Control, Fault};
use tokio::time::sleep;

use crate::{seen::Seen, system::Setup, verdict::Truth};

/// Length of the measurements of processor time, and of the calls beside a kill or a stop.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// Messages a second where there is load.
pub(crate) const RATE: f64 = 500.0;
/// Time between two looks at a system.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Everything that the phases need beside the system.
pub(crate) struct Stage {
    pub(crate) control: Control,
    pub(crate) truth: Arc<Truth>,
    pub(crate) setup: Setup,
}

/// Returns figures with the name of their phase before theirs.
pub(crate) fn figures<const N: usize>(of: &str, figures: [(&str, f64); N]) -> BTreeMap<String, f64> {
    figures.into_iter().map(|(name, value)| (format!("{of}_{name}"), value)).collect()
}

/// Sets how many messages a second Discord sends.
pub(crate) fn set_rate(stage: &Stage, per_second: f64) -> Result<(), String> {
    stage.control.inject(Fault::EventRate { per_second }).map(drop).map_err(|error| error.to_string())
}

/// Waits until bot code has handled all that still comes: no new message for 2 s.
pub(crate) async fn settled(stage: &Stage) -> Result<Seen, String> {
    let mut before = read(&stage.setup.folder).await?;
    loop {
        sleep(Duration::from_secs(2)).await;
        let now = read(&stage.setup.folder).await?;
        if now.len() == before.len() {
            return Ok(now);
        }
        before = now;
    }
}

async fn read(folder: &Path) -> Result<Seen, String> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || Seen::read(&folder)).await.map_err(|error| error.to_string())?
}
