//! Adam (Kingma and Ba, ICLR 2015, algorithm 1) on the host in f64, as PyTorch computes it: the decay is added to the
//! gradient.

/// What does not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamSettings {
    /// The learning rate.
    pub rate: f64,
    /// The decay rates of the two moments.
    pub betas: (f64, f64),
    /// The share of the parameters that is added to the gradient.
    pub decay: f64,
}

/// PyTorch's default.
const EPSILON: f64 = 1e-8;

/// The optimiser of a vector.
#[derive(Clone, Debug)]
pub struct Adam {
    /// What does not change.
    pub settings: AdamSettings,
    /// The decaying mean of the gradient.
    pub first: Vec<f64>,
    /// The decaying mean of the squared gradient.
    pub second: Vec<f64>,
    /// Steps so far, a whole number. Both moments start at zero, and the corrections for that depend on it.
    pub steps: f64,
}

impl Adam {
    /// At its start, for so many parameters.
    pub fn new(parameters: usize, settings: AdamSettings) -> Self {
        Adam { settings, first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0.0 }
    }

    /// Back to the start.
    pub fn restart(&mut self) {
        self.first.fill(0.0);
        self.second.fill(0.0);
        self.steps = 0.0;
    }

    /// A step along a gradient.
    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.steps += 1.0;
        let AdamSettings { rate, betas: (beta1, beta2), decay } = self.settings;
        let correction = |beta: f64| 1.0 - beta.powf(self.steps);
        let (rate, root) = (rate / correction(beta1), correction(beta2).sqrt());
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient + decay * *parameter;
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            *parameter -= rate * *first / (second.sqrt() / root + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, as the paper writes it: moments corrected one by one, then the step.
    #[test]
    fn steps_are_those_of_the_paper() {
        let settings = AdamSettings { rate: 0.1, betas: (0.5, 0.999), decay: 0.25 };
        let (mut adam, mut parameters) = (Adam::new(2, settings), [0.5, -2.0]);
        let (mut expected, mut first, mut second) = (parameters, [0.0; 2], [0.0; 2]);
        for (step, gradient) in [[0.3, -1e-3], [-0.2, 4.0], [0.0, 0.5]].into_iter().enumerate() {
            adam.step(&mut parameters, &gradient);
            for i in 0..2 {
                let gradient = gradient[i] + 0.25 * expected[i];
                first[i] = 0.5 * first[i] + 0.5 * gradient;
                second[i] = 0.999 * second[i] + 0.001 * gradient * gradient;
                let power = step as i32 + 1;
                let corrected: [f64; 2] =
                    [first[i] / (1.0 - 0.5f64.powi(power)), second[i] / (1.0 - 0.999f64.powi(power))];
                expected[i] -= 0.1 * corrected[0] / (corrected[1].sqrt() + 1e-8);
                assert!((parameters[i] - expected[i]).abs() < 1e-12, "{parameters:?}, not {expected:?}");
            }
        }
        assert_eq!(adam.steps, 3.0);
        let step = parameters;
        adam.restart();
        adam.step(&mut parameters, &[7.0, -7.0]);
        for (i, sign) in [1.0, -1.0].into_iter().enumerate() {
            let moved = step[i] - parameters[i];
            assert!((moved - 0.1 * sign).abs() < 1e-8, "the first step is as long as the rate, not {moved}");
        }
    }
}
