//! The second-order gradient of the alphas: that of the validation loss one step of the weights ahead
//! (DARTS, equations 6 to 8).
//!
//! With `w' = w - xi * (momentum * buffer + grad_w L_train(w) + decay * w)` it is
//! `grad_alpha L_valid(w') - xi * P`, where the product `P` of the mixed second derivative of `L_train` and
//! `v = grad_w' L_valid(w')` is the difference of `grad_alpha L_train` at `w + r v` and `w - r v`, divided by
//! `2 r`, with `r = distance / |v|`.
//!
//! `L_train` is smooth between the kinks of ReLU and maximum, where its gradient by the alphas jumps. What a jump within
//! reach of the difference adds is the jump divided by `2 r`, a multiple of `P`; the terms of Taylor's series add next to
//! nothing (on the golden nets about `1e-9 * (distance / 1e-5)^2` of `P`), so to extrapolate them away gains nothing. A
//! distance that crosses no kink finds `P`, but for rounding, which in f32 is about `2e-7 / distance` of it; where kinks
//! are nearer than that, a long distance is best, over which jumps average out: see [`Product::Extrapolated`].
//!
//! Here everything is by the mixing weights m instead of the alphas: the alphas are the same in all passes, and the
//! gradient by them is a linear function of that by m, so the relaxation pulls the sum back once.

use crate::Result;
use crate::autograd::Recorder;
use crate::backend::{Backend, Gradients, Mode, Scalar, Span, VectorKernels};

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

/// How the gradient by the alphas is approximated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AlphaGradient {
    /// That of the validation loss at the present weights.
    First,
    /// That one step of the weights ahead, with the product found in this way.
    Second(Product),
}

/// How `P` is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Product {
    /// By the difference at this distance, how far the weights move in each direction (Euclidean distance). The official
    /// code has 0.01.
    Difference(f64),
    /// By the difference at [`SHORT`] if no kink shows within it, else by the difference at [`LONG`]. With
    /// `g(w) = grad_alpha L_train(w)`, the difference is the mean of its halves `(g(w + r v) - g(w)) / r` and
    /// `(g(w) - g(w - r v)) / r`. A kink shows where the distance of the halves is more than [`SMOOTH`] of the length of
    /// their mean (both Euclidean).
    Extrapolated,
}

/// A distance at which f32 rounds the difference by some hundredths.
pub const SHORT: f64 = 5e-6;
/// The distance of the least error among those that cross many kinks.
pub const LONG: f64 = 0.1;
/// How far apart the halves of the difference at [`SHORT`] may be, as a share of its length. Rounding alone makes it up to
/// 0.15 on the golden nets, a kink a multiple of 1.
pub const SMOOTH: f64 = 0.5;

/// The look-ahead step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookAhead {
    /// Its learning rate.
    pub xi: f64,
    /// Momentum of the weights.
    pub momentum: f64,
    /// Decay of the weights.
    pub decay: f64,
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
    /// `grad_m L_train(w)`.
    present: Span,
    /// The sum of the gradients at `w + r v` and `w - r v`, less twice that at `w`.
    bend: Span,
    /// The norm of `product` or of `bend`.
    length: Span,
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
            present: recorder.span(mixing),
            bend: recorder.span(mixing),
            length: recorder.span(1),
            norm: recorder.span(1),
            radius: recorder.span(1),
            one: recorder.span(1),
        }
    }

    /// Leaves the second-order gradient in the problem's gradient by m; the weights are as before.
    pub fn gradient(&self, problem: &mut impl Problem, step: LookAhead, product: Product) -> Result<()> {
        let spans = problem.spans();
        self.look_ahead(problem, step)?;
        problem.differentiate(Half::Valid, Mode::TrainKeepRunning, Gradients::All)?;
        let device = problem.device();
        device.copy(self.vector, spans.gradients);
        device.copy(self.mixing_gradient, spans.mixing_gradient);
        device.euclidean_norm(self.vector, self.norm);
        device.fill(self.one, 1.0);
        match product {
            Product::Difference(distance) => self.finite_difference(problem, distance)?,
            Product::Extrapolated => self.extrapolated(problem)?,
        }
        let device = problem.device();
        device.copy(spans.weights, self.saved);
        device.copy(spans.mixing_gradient, self.mixing_gradient);
        device.scaled_add(spans.mixing_gradient, -step.xi, None, self.product);
        Ok(())
    }

    /// Saves w and puts w' in its place: the next step of the weights, without clipping.
    pub fn look_ahead(&self, problem: &mut impl Problem, step: LookAhead) -> Result<()> {
        let ProblemSpans { weights, gradients, momentum, mixing_gradient } = problem.spans();
        problem.device().copy(self.saved, weights);
        problem.differentiate(Half::Train, Mode::Train, Gradients::All)?;
        let device = problem.device();
        device.copy(self.present, mixing_gradient);
        device.scaled_add(weights, -step.xi * step.momentum, None, momentum);
        device.scaled_add(weights, -step.xi, None, gradients);
        device.scaled_add(weights, -step.xi * step.decay, None, self.saved);
        Ok(())
    }

    /// Leaves the difference that [`Product::Extrapolated`] chooses in `product`; w is moved.
    fn extrapolated(&self, problem: &mut impl Problem) -> Result<()> {
        self.finite_difference(problem, SHORT)?;
        let device = problem.device();
        device.scaled_add(self.bend, -2.0, None, self.present);
        let [bend, whole] = [self.bend, self.product].map(|vector| {
            device.euclidean_norm(vector, self.length);
            read(device, self.length)
        });
        if bend > SMOOTH * whole * read(device, self.radius) {
            self.finite_difference(problem, LONG)?;
        }
        Ok(())
    }

    /// Leaves the difference at a distance in `product`, and its gradients' sum in `bend`; w is moved.
    fn finite_difference(&self, problem: &mut impl Problem, distance: f64) -> Result<()> {
        let ProblemSpans { weights, mixing_gradient, .. } = problem.spans();
        let device = problem.device();
        device.fill(self.radius, 0.0);
        device.scaled_add(self.radius, distance, Some(self.norm), self.one);
        device.fill(self.product, 0.0);
        device.fill(self.bend, 0.0);
        for sign in [1.0, -1.0] {
            let device = problem.device();
            device.copy(weights, self.saved);
            device.scaled_add(weights, sign * distance, Some(self.norm), self.vector);
            problem.differentiate(Half::Train, Mode::Train, Gradients::Inputs)?;
            let device = problem.device();
            device.scaled_add(self.product, sign * 0.5, Some(self.radius), mixing_gradient);
            device.scaled_add(self.bend, 1.0, None, mixing_gradient);
        }
        Ok(())
    }
}

/// One number on the device.
fn read<B: Backend>(device: &B, number: Span) -> f64 {
    let mut values = [B::Scalar::default()];
    device.read(number, &mut values);
    values[0].wide()
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
        /// How far the first weight grows before the gradient jumps.
        kink: f64,
        /// `grad_alpha L_train` at each call.
        seen: Vec<Vec<f64>>,
    }

    const A: [[f64; 3]; 3] = [[2.0, 0.3, -0.1], [0.3, 1.5, 0.2], [-0.1, 0.2, 1.1]];
    const B: [[f64; 3]; 2] = [[0.7, -0.4, 0.9], [-0.2, 1.3, 0.5]];
    const C: [f64; 3] = [0.5, -1.0, 0.25];
    const K: f64 = 0.6;
    const W: [f64; 3] = [0.4, -0.3, 0.8];
    const MOMENTUM: [f64; 3] = [0.1, 0.2, -0.5];
    const ALPHAS: [f64; 2] = [0.9, -1.1];

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
            let (gradient, mut alpha_gradient): (Vec<f64>, Vec<f64>) = match half {
                Half::Train => {
                    let pull = |i: usize| B[0][i] * alphas[0] + B[1][i] * alphas[1];
                    ((0..3).map(|i| dot(&A[i]) - pull(i)).collect(), B.iter().map(|row| -dot(row)).collect())
                }
                Half::Valid => {
                    ((0..3).map(|i| w[i] - C[i]).collect(), alphas.iter().map(|a| K * a).collect())
                }
            };
            if half == Half::Train && w[0] - W[0] > self.kink {
                alpha_gradient[0] += 1e-3;
            }
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

    /// A problem at a start that is the same each time, its memory of the second order, and the look-ahead step.
    fn problem() -> (Quadratic, SecondOrderSpans, LookAhead) {
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
        device.write(spans.weights, &W);
        device.write(spans.momentum, &MOMENTUM);
        device.write(alphas, &ALPHAS);
        let step = LookAhead { xi: 0.1, momentum: 0.9, decay: 3e-4 };
        (Quadratic { device, spans, alphas, kink: f64::INFINITY, seen: Vec::new() }, second_order, step)
    }

    /// w', by hand.
    fn ahead(step: LookAhead) -> [f64; 3] {
        std::array::from_fn(|i| {
            let product: f64 = A[i].iter().zip(W).map(|(a, w)| a * w).sum();
            let gradient = product - B[0][i] * ALPHAS[0] - B[1][i] * ALPHAS[1];
            W[i] - step.xi * (step.momentum * MOMENTUM[i] + gradient + step.decay * W[i])
        })
    }

    /// The hypergradient, and that of the first order.
    fn exact(step: LookAhead) -> [[f64; 2]; 2] {
        let ahead = ahead(step);
        let product = |i: usize| -> f64 { (0..3).map(|j| B[i][j] * (ahead[j] - C[j])).sum() };
        [0, 1].map(|i| [K * ALPHAS[i] + step.xi * product(i), K * ALPHAS[i]])
    }

    #[test]
    fn the_hypergradient_of_a_quadratic_problem_is_exact() {
        // Rounding counts more at shorter distances.
        for (product, bar) in [(Product::Difference(0.01), 1e-12), (Product::Extrapolated, 1e-9)] {
            let (mut problem, second_order, step) = problem();
            second_order.gradient(&mut problem, step, product).unwrap();
            for (ours, [exact, first_order]) in
                problem.read(problem.spans.mixing_gradient).into_iter().zip(exact(step))
            {
                assert!((ours - exact).abs() < bar, "{product:?}: {ours} instead of {exact}");
                assert!((exact - first_order).abs() > 0.01, "the second order must matter here");
            }
            assert_eq!(problem.read(problem.spans.weights), W, "the weights are as before");
            let [_, pairs @ ..] = &problem.seen[..] else { panic!("no gradient") };
            let [plus, minus] = pairs else { panic!("{} gradients", pairs.len()) };
            let moved = plus.iter().zip(minus).all(|(a, b)| (a - b).abs() > 1e-7);
            assert!(moved, "{plus:?} and {minus:?} must differ");
        }
    }

    /// A kink within the short distance would add 1e-3 / 1e-5 to the product, a hundred times itself.
    #[test]
    fn the_order_extrapolated_keeps_clear_of_a_kink() {
        let (_, _, step) = problem();
        let vector: Vec<f64> = ahead(step).iter().zip(C).map(|(w, c)| w - c).collect();
        let share = vector[0].abs() / vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        let error = |product, kink| {
            let (mut problem, second_order, step) = problem();
            problem.kink = kink * share;
            second_order.gradient(&mut problem, step, product).unwrap();
            let ours = problem.read(problem.spans.mixing_gradient);
            ours.iter().zip(exact(step)).map(|(ours, [exact, _])| (ours - exact).abs()).fold(0.0, f64::max)
        };
        assert!(error(Product::Difference(SHORT), 0.5 * SHORT) > 1.0);
        assert!(error(Product::Extrapolated, 0.5 * SHORT) < 0.01);
        assert!(error(Product::Difference(LONG), 2.0 * SHORT) > 1e-4);
        assert!(error(Product::Extrapolated, 2.0 * SHORT) < 1e-9);
    }
}
