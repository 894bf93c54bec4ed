use kelvin_store::{AlertSettings, Limits, StoreFactory};

/// Makes an empty store.
pub(crate) trait Maker {
    async fn make(&self, limits: Limits, alerts: AlertSettings) -> StoreFactory;
}
