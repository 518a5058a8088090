//! When to try again, and how long to wait before.

use std::time::Duration;

use crate::registry::Error;

/// Bytes that count as progress: a transfer that brings this much between two cuts may be cut again.
const PROGRESS: u64 = 1 << 20;
/// The longest pause between two tries, unless the registry asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The policy: so many tries in a row, with a pause that grows by `pause` each time.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    pub attempts: u32,
    pub pause: Duration,
}

impl Default for Retry {
    /// As Docker: five tries, 5, 10, 15, 20 seconds apart.
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_secs(5) }
    }
}

/// How often something has failed so far.
pub(crate) struct Failures {
    policy: Retry,
    count: u32,
    offset: u64,
}

impl Failures {
    pub(crate) fn new(policy: Retry) -> Self {
        Self { policy, count: 0, offset: 0 }
    }

    /// The pause before the next try; the error comes back when there shall be none. `offset` is how far the
    /// transfer is.
    pub(crate) fn again(&mut self, error: Error, offset: u64) -> Result<Duration, Error> {
        if offset >= self.offset + PROGRESS {
            self.count = 0;
            self.offset = offset;
        }
        self.count += 1;
        if !error.is_retryable() || self.count >= self.policy.attempts {
            return Err(error);
        }
        let pause = (self.policy.pause * self.count).min(MAX_PAUSE);
        Ok(error.retry_after().map_or(pause, |asked| asked.max(pause)))
    }
}

/// Runs a small request again while that makes sense.
pub(crate) async fn retrying<T, F>(policy: Retry, mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut failures = Failures::new(policy);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => tokio::time::sleep(failures.again(error, 0)?).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Kind;

    #[test]
    fn tries_are_counted_and_progress_forgives() {
        let cut = || Error::new(Kind::Unavailable, "cut");
        let policy = Retry { attempts: 3, pause: Duration::from_secs(5) };
        let mut failures = Failures::new(policy);
        assert_eq!(failures.again(cut(), 0).unwrap(), Duration::from_secs(5));
        assert_eq!(failures.again(cut(), 10).unwrap(), Duration::from_secs(10));
        assert_eq!(failures.again(cut(), 2 << 20).unwrap(), Duration::from_secs(5));
        assert_eq!(failures.again(cut(), 2 << 20).unwrap(), Duration::from_secs(10));
        assert!(failures.again(cut(), 2 << 20).is_err());
    }

    #[test]
    fn some_errors_stay() {
        let mut failures = Failures::new(Retry::default());
        assert!(failures.again(Error::new(Kind::NotFound, "gone"), 0).is_err());
        let slow = Error::new(Kind::TooManyRequests, "slow").with_retry_after(Some(Duration::from_secs(90)));
        assert_eq!(failures.again(slow, 0).unwrap(), Duration::from_secs(90));
    }
}
