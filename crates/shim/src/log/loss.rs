//! Counting what never reached the log, and telling of it once.

/// Records that were lost, all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    pub records: u64,
    pub bytes: u64,
    /// Why, for the newest of them.
    pub error: String,
}

/// The account of one log's losses.
#[derive(Debug, Default)]
pub(super) struct Losses {
    total: Loss,
    told: u64,
}

impl Losses {
    pub(super) fn total(&self) -> &Loss {
        &self.total
    }

    pub(super) fn add(&mut self, records: u64, bytes: usize) {
        self.total.records += records;
        self.total.bytes += bytes as u64;
    }

    /// Why whatever is lost from now on is lost.
    pub(super) fn blame(&mut self, error: String) {
        self.total.error = error;
    }

    /// The total, if it has grown since this was last asked.
    pub(super) fn take(&mut self) -> Option<Loss> {
        let told = std::mem::replace(&mut self.told, self.total.records);
        (told != self.total.records).then(|| self.total.clone())
    }
}
