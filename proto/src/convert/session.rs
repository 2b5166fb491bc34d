//! What sessions are opened with.

use fleet_model::SessionNeeds;

use crate::v1;

impl From<SessionNeeds> for v1::SessionNeeds {
    fn from(needs: SessionNeeds) -> Self {
        let SessionNeeds { intents, transport, resources } = needs;
        Self { intents, transport, resources: resources.into_iter().collect() }
    }
}

impl From<v1::SessionNeeds> for SessionNeeds {
    fn from(needs: v1::SessionNeeds) -> Self {
        let v1::SessionNeeds { intents, transport, resources } = needs;
        Self { intents, transport, resources: resources.into_iter().collect() }
    }
}
