//! The second-order gradient of the alphas: that of the validation loss one step of the weights ahead
//! (DARTS, equations 6 to 8).
//!
//! With `w' = w - xi * (momentum * buffer + grad_w L_train(w) + decay * w)` it is
//! `grad_alpha L_valid(w') - xi * P`, where the product `P` of the mixed second derivative of `L_train` and
//! `v = grad_w' L_valid(w')` is the difference of `grad_alpha L_train` at `w + r v` and `w - r v`, divided by
//! `2 r`, with `r = distance / |v|`.
//!
//! Here everything is by the mixing weights m instead of the alphas: the alphas are the same in all passes, and the
//! gradient by them is a linear function of that by m, so the relaxation pulls the sum back once.

use crate::Result;
use crate::autograd::Recorder;
use crate::backend::{Backend, Gradients, Mode, Span, VectorKernels};

/// Which half of the data a loss is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The half that trains the weights.
    Train,
    /// The half that trains the alphas.
    Valid,
}

/// The flat vectors of a bilevel problem.
#[derive(Clone, Copy, Debug)]
pub struct ProblemSpans {
    /// w.
    pub weights: Span,
    /// The gradient by w.
    pub gradients: Span,
    /// The momentum buffer of w.
    pub momentum: Span,
    /// The gradient by m.
    pub mixing_gradient: Span,
}

/// Two losses that share weights and mixing weights.
pub trait Problem {
    /// The device on which the vectors lie.
    type Device: Backend;
    /// The device.
    fn device(&mut self) -> &mut Self::Device;
    /// Where the vectors lie.
    fn spans(&self) -> ProblemSpans;
    /// Leaves the gradient of one loss by m and, where wanted, by the weights.
    fn differentiate(&mut self, half: Half, mode: Mode, wanted: Gradients) -> Result<()>;
}

/// The look-ahead step and the finite difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookAhead {
    /// Its learning rate.
    pub xi: f64,
    /// Momentum of the weights.
    pub momentum: f64,
    /// Decay of the weights.
    pub decay: f64,
    /// How far the finite difference moves the weights in each direction (Euclidean distance).
    pub distance: f64,
}

/// What the second order remembers on the device.
#[derive(Clone, Copy, Debug)]
pub struct SecondOrderSpans {
    /// The weights while others stand in their place.
    pub saved: Span,
    /// `v`.
    pub vector: Span,
    /// `grad_m L_valid(w')`.
    pub mixing_gradient: Span,
    /// `P` by m.
    pub product: Span,
    /// `|v|`.
    pub norm: Span,
    /// `r`.
    pub radius: Span,
    /// The number 1.
    one: Span,
}

impl SecondOrderSpans {
    /// Reserves the memory.
    pub fn new<B: Backend>(recorder: &mut Recorder<B>, weights: usize, mixing: usize) -> Self {
        SecondOrderSpans {
            saved: recorder.span(weights),
            vector: recorder.span(weights),
            mixing_gradient: recorder.span(mixing),
            product: recorder.span(mixing),
            norm: recorder.span(1),
            radius: recorder.span(1),
            one: recorder.span(1),
        }
    }

    /// Leaves the second-order gradient in the problem's gradient by m; the weights are as before.
    pub fn gradient(&self, problem: &mut impl Problem, step: LookAhead) -> Result<()> {
        let spans = problem.spans();
        self.look_ahead(problem, step)?;
        problem.differentiate(Half::Valid, Mode::TrainKeepRunning, Gradients::All)?;
        let device = problem.device();
        device.copy(self.vector, spans.gradients);
        device.copy(self.mixing_gradient, spans.mixing_gradient);
        self.finite_difference(problem, step.distance)?;
        let device = problem.device();
        device.copy(spans.mixing_gradient, self.mixing_gradient);
        device.scaled_add(spans.mixing_gradient, -step.xi, None, self.product);
        Ok(())
    }

    /// Saves w and puts w' in its place: the next step of the weights, without clipping.
    pub fn look_ahead(&self, problem: &mut impl Problem, step: LookAhead) -> Result<()> {
        let ProblemSpans { weights, gradients, momentum, .. } = problem.spans();
        problem.device().copy(self.saved, weights);
        problem.differentiate(Half::Train, Mode::Train, Gradients::All)?;
        let device = problem.device();
        device.scaled_add(weights, -step.xi * step.momentum, None, momentum);
        device.scaled_add(weights, -step.xi, None, gradients);
        device.scaled_add(weights, -step.xi * step.decay, None, self.saved);
        Ok(())
    }

    /// Leaves `P`, and w in its place.
    fn finite_difference(&self, problem: &mut impl Problem, distance: f64) -> Result<()> {
        let ProblemSpans { weights, mixing_gradient, .. } = problem.spans();
        let device = problem.device();
        device.euclidean_norm(self.vector, self.norm);
        device.fill(self.one, 1.0);
        device.fill(self.radius, 0.0);
        device.scaled_add(self.radius, distance, Some(self.norm), self.one);
        device.fill(self.product, 0.0);
        for sign in [1.0, -1.0] {
            let device = problem.device();
            device.copy(weights, self.saved);
            device.scaled_add(weights, sign * distance, Some(self.norm), self.vector);
            problem.differentiate(Half::Train, Mode::Train, Gradients::Inputs)?;
            problem.device().scaled_add(self.product, sign * 0.5, Some(self.radius), mixing_gradient);
        }
        problem.device().copy(weights, self.saved);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Device;
    use crate::backend::reference::Reference;

    /// `L_train = w'Aw/2 - alpha'Bw`, `L_valid = |w - c|^2/2 + k |alpha|^2/2`. Its hypergradient is
    /// `k alpha + xi B (w' - c)` with `w' = w - xi (momentum m + Aw - B'alpha + decay w)`.
    struct Quadratic {
        device: Reference<f64>,
        spans: ProblemSpans,
        alphas: Span,
        /// `grad_alpha L_train` at each call.
        seen: Vec<Vec<f64>>,
    }

    const A: [[f64; 3]; 3] = [[2.0, 0.3, -0.1], [0.3, 1.5, 0.2], [-0.1, 0.2, 1.1]];
    const B: [[f64; 3]; 2] = [[0.7, -0.4, 0.9], [-0.2, 1.3, 0.5]];
    const C: [f64; 3] = [0.5, -1.0, 0.25];
    const K: f64 = 0.6;

    impl Quadratic {
        fn read(&self, span: Span) -> Vec<f64> {
            let mut values = vec![0.0; span.len];
            self.device.read(span, &mut values);
            values
        }
    }

    impl Problem for Quadratic {
        type Device = Reference<f64>;

        fn device(&mut self) -> &mut Reference<f64> {
            &mut self.device
        }

        fn spans(&self) -> ProblemSpans {
            self.spans
        }

        fn differentiate(&mut self, half: Half, _: Mode, wanted: Gradients) -> Result<()> {
            let (w, alphas) = (self.read(self.spans.weights), self.read(self.alphas));
            let dot = |row: &[f64; 3]| row.iter().zip(&w).map(|(a, w)| a * w).sum::<f64>();
            let (gradient, alpha_gradient): (Vec<f64>, Vec<f64>) = match half {
                Half::Train => {
                    let pull = |i: usize| B[0][i] * alphas[0] + B[1][i] * alphas[1];
                    ((0..3).map(|i| dot(&A[i]) - pull(i)).collect(), B.iter().map(|row| -dot(row)).collect())
                }
                Half::Valid => {
                    ((0..3).map(|i| w[i] - C[i]).collect(), alphas.iter().map(|a| K * a).collect())
                }
            };
            if half == Half::Train {
                self.seen.push(alpha_gradient.clone());
            }
            if wanted.of_weights() {
                self.device.write(self.spans.gradients, &gradient);
            }
            self.device.write(self.spans.mixing_gradient, &alpha_gradient);
            Ok(())
        }
    }

    #[test]
    fn the_hypergradient_of_a_quadratic_problem_is_exact() {
        let mut recorder = Recorder::<Reference<f64>>::new();
        let spans = ProblemSpans {
            weights: recorder.span(3),
            gradients: recorder.span(3),
            momentum: recorder.span(3),
            mixing_gradient: recorder.span(2),
        };
        let alphas = recorder.span(2);
        let second_order = SecondOrderSpans::new(&mut recorder, 3, 2);
        let mut device = Reference::new();
        device.reserve(0, 1024).unwrap();
        let (w, momentum, alpha) = ([0.4, -0.3, 0.8], [0.1, 0.2, -0.5], [0.9, -1.1]);
        device.write(spans.weights, &w);
        device.write(spans.momentum, &momentum);
        device.write(alphas, &alpha);
        let mut problem = Quadratic { device, spans, alphas, seen: Vec::new() };
        let step = LookAhead { xi: 0.1, momentum: 0.9, decay: 3e-4, distance: 0.01 };
        second_order.gradient(&mut problem, step).unwrap();

        let ahead: Vec<f64> = (0..3)
            .map(|i| {
                let gradient: f64 =
                    (0..3).map(|j| A[i][j] * w[j]).sum::<f64>() - B[0][i] * alpha[0] - B[1][i] * alpha[1];
                w[i] - step.xi * (step.momentum * momentum[i] + gradient + step.decay * w[i])
            })
            .collect();
        for (i, ours) in problem.read(spans.mixing_gradient).into_iter().enumerate() {
            let exact = K * alpha[i] + step.xi * (0..3).map(|j| B[i][j] * (ahead[j] - C[j])).sum::<f64>();
            assert!((ours - exact).abs() < 1e-12, "alpha {i}: {ours} instead of {exact}");
            let first_order = K * alpha[i];
            assert!((exact - first_order).abs() > 0.01, "the second order must matter here");
        }
        assert_eq!(problem.read(spans.weights), w, "the weights are as before");
        let [_, plus, minus] = &problem.seen[..] else { panic!("{} gradients", problem.seen.len()) };
        assert!(
            plus.iter().zip(minus).all(|(a, b)| (a - b).abs() > 1e-4),
            "{plus:?} and {minus:?} must differ"
        );
    }
}
