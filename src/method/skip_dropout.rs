//! How much of skip connections is dropped: the schedule of P-DARTS (Chen, Xie, Wu, Tian, ICCV 2019; the official code).

use super::progress::Progress;

/// How far the rate falls in the epochs in which alphas move, as the exponent of e; a fifth an epoch in the official ones.
const DECAY: f64 = 3.0;

/// The probability that an element of a skip connection is dropped. With epochs e of T, of which the alphas are frozen in the
/// first F, it falls along a line while they are, `rate * (T - e - 1) / T`, and then from the rate anew, `rate * exp(-3 (e - F)
/// / (T - F))`; with the official T = 25 and F = 10 that is `exp(-0.2 (e - 10))`.
pub fn dropped(rate: f64, frozen_epochs: usize, progress: Progress) -> f64 {
    let Progress { epoch, epochs, .. } = progress;
    if epoch < frozen_epochs {
        return rate * (epochs.saturating_sub(epoch + 1)) as f64 / epochs as f64;
    }
    let moving = epochs.saturating_sub(frozen_epochs).max(1);
    // Epochs behind the last of the search, in which a selection goes on, have its end.
    let gone = ((epoch - frozen_epochs) as f64 / moving as f64).min(1.0);
    rate * (-DECAY * gone).exp()
}

/// The rates of a text, one for each stage, or one for all: probabilities below 1.
pub fn rates(text: &str) -> Option<Vec<f64>> {
    let rate = |text: &str| text.trim().parse().ok().filter(|rate: &f64| (0.0..1.0).contains(rate));
    text.split(',').map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_falls_and_begins_anew_where_the_alphas_begin_to_move() {
        let at = |epoch| dropped(0.5, 2, Progress { epoch, epochs: 5, ..Progress::default() });
        let expected = [0.4, 0.3, 0.5, 0.5 * (-1.0f64).exp(), 0.5 * (-2.0f64).exp(), 0.5 * (-3.0f64).exp()];
        for (epoch, expected) in expected.into_iter().enumerate() {
            assert!((at(epoch) - expected).abs() < 1e-15, "epoch {epoch}");
        }
        assert_eq!(at(9), at(5));
    }

    #[test]
    fn a_text_has_a_rate_for_each_stage() {
        assert_eq!(rates("0"), Some(vec![0.0]));
        assert_eq!(rates("0, 0.4, 0.7"), Some(vec![0.0, 0.4, 0.7]));
        for text in ["", "1", "-0.1", "0.1,", "0 to 0.1", "nan"] {
            assert_eq!(rates(text), None, "{text}");
        }
    }
}
