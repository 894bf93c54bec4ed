use kelvin_app::SettingsError;

/// The reason why a channel cannot be opened. Once a client runs, it runs until shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Settings that cannot work, such as files that cannot be read.
    #[error("{0}")]
    Settings(#[from] SettingsError),
}
