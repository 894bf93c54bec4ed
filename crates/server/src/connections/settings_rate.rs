/// The number of SETTINGS frames that a peer may send in a burst, and per second. gRPC clients send one when their estimate
/// of the bandwidth changes, and h2 visits every stream for each. PING frames need no limit: clients that estimate the
/// bandwidth send one per round trip, and h2 answers each before it reads the next.
const SETTINGS_BURST: u64 = 50;
const SETTINGS_PER_SECOND: u64 = 20;

/// A token bucket for SETTINGS frames.
#[derive(Debug)]
pub(super) struct SettingsRate {
    left: u64,
    /// The time of the last refill, in milliseconds.
    refilled: u64,
}

impl Default for SettingsRate {
    fn default() -> Self {
        Self { left: SETTINGS_BURST, refilled: 0 }
    }
}

impl SettingsRate {
    /// Takes a token for one frame; returns false if none is left. `now` is in milliseconds.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let refill = now.saturating_sub(self.refilled).saturating_mul(SETTINGS_PER_SECOND) / 1000;
        if refill > 0 {
            (self.left, self.refilled) = (SETTINGS_BURST.min(self.left + refill), now);
        }
        let enough = self.left > 0;
        self.left = self.left.saturating_sub(1);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_beyond_burst_and_rate_are_refused() {
        let mut settings = SettingsRate::default();
        let burst = (0..100).filter(|_| settings.take(1000)).count();
        assert_eq!(burst as u64, SETTINGS_BURST);
        let second = (0..100).filter(|_| settings.take(2000)).count();
        assert_eq!(second as u64, SETTINGS_PER_SECOND);
    }
}
