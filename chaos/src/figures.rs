//! Distributions as a few words.

use std::time::Duration;

/// Median, 99th percentile and largest of some times; nothing if there are none.
pub fn quantiles(what: &'static str, mut times: Vec<Duration>) -> Option<(&'static str, String)> {
    times.sort_unstable();
    let last = times.last()?;
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    let text = format!("p50 {}, p99 {}, max {}", show(at(50)), show(at(99)), show(*last));
    Some((what, text))
}

/// A time in milliseconds.
pub fn show(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::quantiles;
    use std::time::Duration;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let (_, text) = quantiles("x", times).expect("there are some");
        assert_eq!(text, "p50 50.0 ms, p99 99.0 ms, max 100.0 ms");
        assert_eq!(quantiles("x", Vec::new()), None);
    }
}
