//! A histogram of durations with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// Upper bounds of the buckets in microseconds; one more bucket has no bound.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// Counts durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let buckets = self
            .buckets
            .iter()
            .enumerate()
            .map(|(at, bucket)| {
                count += bucket.load(Relaxed);
                Bucket { le: BOUNDS_US.get(at).map(|us| *us as f64 / 1e3), count }
            })
            .collect();
        HistogramSnapshot { count, sum: self.sum_us.load(Relaxed) as f64 / 1e3, buckets }
    }
}

/// A [`Histogram`] at a point in time, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct HistogramSnapshot {
    pub count: u64,
    pub sum: f64,
    /// Cumulative, as Prometheus has them.
    pub buckets: Vec<Bucket>,
}

/// How many durations were at most `le` milliseconds; `None` is no bound.
#[derive(Clone, Debug, Serialize)]
pub struct Bucket {
    pub le: Option<f64>,
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_their_bounds_inclusive() {
        let histogram = Histogram::default();
        for us in [50, 100, 101, 10_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count, 4);
        assert_eq!(snapshot.buckets[0].count, 2);
        assert_eq!(snapshot.buckets[1].count, 3);
        assert_eq!(snapshot.buckets[14].count, 3);
        assert_eq!(snapshot.buckets[15].count, 4);
        assert!((snapshot.sum - 10_000.251).abs() < 1e-9);
    }
}
