//! The learning rate of the weights over the epochs.

/// Half a cosine from `first` towards `last` (Loshchilov and Hutter, SGDR, equation 5, without restarts):
/// `last + (first - last) * (1 + cos(pi * epoch / epochs)) / 2` for epochs counted from 0.
pub fn cosine(first: f64, last: f64, epoch: usize, epochs: usize) -> f64 {
    let progress = epoch as f64 / epochs.max(1) as f64;
    last + (first - last) * (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_official_schedule() {
        let text = include_str!("../../tests/golden/data/cosine.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let number = |key: &str| golden[key].as_f64().unwrap();
        let rates = golden["lr_epoch"].as_array().unwrap();
        assert_eq!(rates.len(), 50);
        for (epoch, rate) in rates.iter().enumerate() {
            let ours = cosine(number("base"), number("eta_min"), epoch, number("T_max") as usize);
            assert!((ours - rate.as_f64().unwrap()).abs() < 1e-15, "epoch {epoch}: {ours} instead of {rate}");
        }
    }
}
