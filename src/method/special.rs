//! Functions of the Gamma and the Beta distribution, in f64.

/// From here on the asymptotic series below are exact to rounding.
const FAR: f64 = 15.0;

/// `x` moved to [`FAR`] or beyond by whole steps, and the sum of `term` over the places that it left.
fn moved(mut x: f64, term: impl Fn(f64) -> f64) -> (f64, f64) {
    let mut sum = 0.0;
    while x < FAR {
        sum += term(x);
        x += 1.0;
    }
    (x, sum)
}

/// `c_0 + c_1 y + c_2 y^2 + ...`.
fn polynomial(coefficients: &[f64], y: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * y + coefficient)
}

/// The logarithm of the Gamma function of a positive number, by Stirling's series.
pub fn ln_gamma(x: f64) -> f64 {
    let (x, logarithms) = moved(x, f64::ln);
    let series = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    (x - 0.5) * x.ln() - x + half_ln_tau + polynomial(&series, 1.0 / (x * x)) / x - logarithms
}

/// The first derivative of [`ln_gamma`].
pub fn digamma(x: f64) -> f64 {
    let (x, inverses) = moved(x, |x| 1.0 / x);
    let series = [-1.0 / 12.0, 1.0 / 120.0, -1.0 / 252.0, 1.0 / 240.0, -1.0 / 132.0];
    x.ln() - 0.5 / x + polynomial(&series, 1.0 / (x * x)) / (x * x) - inverses
}

/// The second derivative of [`ln_gamma`].
pub fn trigamma(x: f64) -> f64 {
    let (x, squares) = moved(x, |x| 1.0 / (x * x));
    let series = [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0];
    let y = 1.0 / (x * x);
    1.0 / x + 0.5 * y + polynomial(&series, y) * y / x + squares
}

/// `-(dI_x(a, b)/da) / pdf(x) / (1 - x)`, where `I` and `pdf` are the distribution and the density of Beta(a, b): how fast x
/// grows with a where its quantile stays, divided by 1 - x. All arguments are above 0, and x is below 1.
///
/// `I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) * S` with `S = sum_n x^n (a + b)_n / (a + 1)_n`, whose terms are all positive;
/// so the rate is `-x S / a * d ln(I)/da`, without the Beta function. Beyond the mean the same is said of the other tail,
/// `1 - I_x(a, b) = I_{1-x}(b, a)`: the difference that is left of 1 would lose its digits.
pub fn beta_rate(x: f64, a: f64, b: f64) -> f64 {
    // Near 1 the first series has too many terms.
    let upper = x > (a / (a + b)).min(0.9);
    let (base, first) = if upper { (1.0 - x, b) } else { (x, a) };
    let (mut term, mut slope, mut sum, mut sum_of_slopes) = (1.0, 0.0, 1.0, 0.0);
    let mut n = 0.0;
    loop {
        let ratio = (a + b + n) / (first + 1.0 + n) * base;
        if ratio < 1.0 && term * ratio / (1.0 - ratio) < 1e-18 * sum {
            break;
        }
        term *= ratio;
        slope += 1.0 / (a + b + n) - if upper { 0.0 } else { 1.0 / (a + 1.0 + n) };
        sum += term;
        sum_of_slopes += term * slope;
        n += 1.0;
    }
    let common = x.ln() + digamma(a + b) + sum_of_slopes / sum;
    match upper {
        true => x * sum / b * (common - digamma(a)),
        false => -x * sum / a * (common - digamma(a + 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(ours: f64, expected: f64, name: &str) {
        let error = (ours - expected).abs() / expected.abs().max(1e-3);
        assert!(error < 1e-13, "{name}: {ours} instead of {expected}");
    }

    /// Abramowitz and Stegun, chapter 6.
    #[test]
    fn values_in_tables() {
        let euler = 0.577_215_664_901_532_9;
        let pi = std::f64::consts::PI;
        assert_close(ln_gamma(0.5), 0.5 * pi.ln(), "ln_gamma(1/2)");
        assert_close(ln_gamma(10.0), 362_880f64.ln(), "ln_gamma(10)");
        assert_close(ln_gamma(1.0), 0.0, "ln_gamma(1)");
        assert_close(digamma(1.0), -euler, "digamma(1)");
        assert_close(digamma(0.5), -euler - 2.0 * 2f64.ln(), "digamma(1/2)");
        assert_close(trigamma(1.0), pi * pi / 6.0, "trigamma(1)");
        assert_close(trigamma(0.5), pi * pi / 2.0, "trigamma(1/2)");
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        for x in [0.01, 0.3, 1.7, 14.99, 15.01, 200.0] {
            let step = 1e-5 * x;
            let slope = |function: fn(f64) -> f64| (function(x + step) - function(x - step)) / (2.0 * step);
            assert!((slope(ln_gamma) - digamma(x)).abs() < 1e-7 * digamma(x).abs().max(1.0), "{x}");
            assert!((slope(digamma) - trigamma(x)).abs() < 1e-7 * trigamma(x).abs().max(1.0), "{x}");
        }
    }

    /// With b = 1 the distribution is `x^a`, so the rate is `-x ln(x) / a / (1 - x)`. Beyond 0.9, but below the mean, some
    /// digits go into the difference from 1.
    #[test]
    fn rates_of_distributions_with_a_closed_form() {
        for a in [1e-3, 0.2, 1.0, 3.5, 60.0] {
            for x in [1e-9, 0.01, 0.3, 0.5, 0.75, 0.899, 0.95, 1.0 - 1e-9] {
                let (ours, expected) = (beta_rate(x, a, 1.0), -x * f64::ln(x) / a / (1.0 - x));
                assert!((ours - expected).abs() < 1e-11 * expected, "{x}, {a}: {ours}, not {expected}");
            }
        }
    }

    /// The quantile stays where x moves as the rate says: by integrals of the density.
    #[test]
    fn rates_keep_the_quantile() {
        let distribution = |x: f64, a: f64, b: f64| {
            // Simpson's rule over t = s^4, whose density has no pole.
            const PIECES: usize = 4000;
            let density = |s: f64| {
                if s == 0.0 { 0.0 } else { 4.0 * s.powf(4.0 * a - 1.0) * (1.0 - s.powi(4)).powf(b - 1.0) }
            };
            let (end, mut sum) = (x.powf(0.25), 0.0);
            let step = end / PIECES as f64;
            for i in 0..=PIECES {
                let weight = if i == 0 || i == PIECES { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
                sum += weight * density(i as f64 * step);
            }
            sum * step / 3.0 * (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp()
        };
        for (x, a, b) in
            [(0.2, 1.5, 3.0), (0.6, 1.5, 3.0), (0.5, 2.5, 2.25), (0.05, 0.75, 6.0), (0.4, 0.75, 6.0)]
        {
            let step = 1e-4;
            let slope = (distribution(x, a + step, b) - distribution(x, a - step, b)) / (2.0 * step);
            let density = x.powf(a - 1.0)
                * (1.0 - x).powf(b - 1.0)
                * (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
            let expected = -slope / density / (1.0 - x);
            let ours = beta_rate(x, a, b);
            assert!((ours - expected).abs() < 1e-6 * expected.abs(), "{x}, {a}, {b}: {ours}, not {expected}");
        }
    }
}
