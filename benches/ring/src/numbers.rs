//! From measured seconds to what may be said about them.

/// First quartile, median and third quartile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter of the values is below.
    pub first: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub third: f64,
}

impl Quartiles {
    /// Of any values; zeros for none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            first: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            third: quantile(&sorted, 0.75),
        }
    }

    /// Of the ratios, pair by pair.
    pub fn of_ratios(ours: &[f64], rivals: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(rivals).map(|(one, other)| one / other).collect();
        Self::of(&ratios)
    }
}

/// The value below which a part of the sorted values lies, interpolated between neighbours.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let position = part * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let all = Quartiles::of(&[4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((all.first, all.median, all.third), (2.0, 3.0, 4.0));
        assert_eq!(Quartiles::of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(Quartiles::of(&[]).median, 0.0);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The medians are equal; within the pairs ours took half or double.
        let ratios = Quartiles::of_ratios(&[1.0, 2.0, 4.0], &[2.0, 4.0, 2.0]);
        assert_eq!(ratios.median, 0.5);
    }
}
