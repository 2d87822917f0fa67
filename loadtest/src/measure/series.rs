//! How a run went over time: one sample per interval, for the charts and for the memory slope of a
//! soak.

use serde::Serialize;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the measured part began.
    pub at_s: f64,
    pub publications_per_s: f64,
    pub events_per_s: f64,
    pub calls_per_s: f64,
    /// Event latency, nanoseconds.
    pub event_p50: Option<u64>,
    pub event_p99: Option<u64>,
    /// Call latency, nanoseconds.
    pub call_p50: Option<u64>,
    pub call_p99: Option<u64>,
    /// The router's resident memory, bytes.
    pub router_rss: Option<u64>,
    /// Share of one core.
    pub router_cpu: Option<f64>,
    pub generator_cpu: f64,
}

/// The slope of the router's memory over the later half of the run, in bytes per hour, by least
/// squares; `None` with fewer than 4 samples.
pub fn memory_slope(series: &[Sample]) -> Option<f64> {
    let later = &series[series.len() / 2..];
    let points: Vec<(f64, f64)> = later
        .iter()
        .filter_map(|sample| Some((sample.at_s / 3600.0, sample.router_rss? as f64)))
        .collect();
    if points.len() < 4 {
        return None;
    }
    let count = points.len() as f64;
    let (mean_x, mean_y) =
        points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_of_a_line() {
        let sample = |second: u32| Sample {
            at_s: f64::from(second),
            router_rss: Some(1_000_000 + u64::from(second) * 10),
            ..Sample::default()
        };
        let series: Vec<Sample> = (0..100).map(sample).collect();
        assert!((memory_slope(&series).unwrap() - 36_000.0).abs() < 1.0);
        assert!(memory_slope(&series[..4]).is_none());
    }
}
