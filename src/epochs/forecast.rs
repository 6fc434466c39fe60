//! How long a run still takes, from how long its steps, its evaluations and the ends of its epochs have taken.
//!
//! Nothing here asks a clock: the driver tells durations.

use super::checkpoint::Position;

/// So many durations make a mean; a longer row is followed as slowly as one of this length.
const LONGEST_MEAN: usize = 100;
/// A duration counts as at most so many times the mean: one that is longer is a pause, such as that of a laptop asleep.
const LONGEST: f64 = 4.0;
/// A batch of the evaluation as a share of a step, as long as none was measured: it is one of at least four passes of like
/// length.
const EVALUATION: f64 = 0.25;
/// Of what a forecast differs from the one before, the share that it takes over once there were many.
const SLOWEST: usize = 16;

/// The slow mean of some durations.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    seconds: f64,
    count: usize,
}

impl Mean {
    /// Adds a duration; returns as what it counted. The first is longer than those that follow, for it finds nothing in any
    /// cache: it counts until there is another.
    fn add(&mut self, seconds: f64) -> f64 {
        let seconds = if self.count < 2 { seconds } else { seconds.min(LONGEST * self.seconds) };
        let others = self.count.clamp(1, LONGEST_MEAN);
        self.seconds += (seconds - self.seconds) / others as f64;
        self.count += 1;
        seconds
    }

    fn known(&self) -> Option<f64> {
        (self.count > 0).then_some(self.seconds)
    }
}

/// What is known of the pace of a run.
#[derive(Clone, Debug)]
pub struct Forecast {
    epochs: usize,
    steps: usize,
    batches: usize,
    step: Mean,
    batch: Mean,
    end: Mean,
    /// The time since the last forecast, that forecast, and how many there were.
    since: f64,
    told: f64,
    count: usize,
}

impl Forecast {
    /// Of a run of so many epochs, each with so many steps and an evaluation of so many batches.
    pub fn new(epochs: usize, steps: usize, batches: usize) -> Self {
        let none = Mean::default();
        Forecast {
            epochs,
            steps,
            batches,
            step: none,
            batch: none,
            end: none,
            since: 0.0,
            told: 0.0,
            count: 0,
        }
    }

    /// Tells how long a step took, in seconds.
    pub fn add_step(&mut self, seconds: f64) {
        self.since += self.step.add(seconds);
    }

    /// Tells how long a batch of an evaluation took, in seconds.
    pub fn add_batch(&mut self, seconds: f64) {
        self.since += self.batch.add(seconds);
    }

    /// Tells how long the end of an epoch took, which stores its result and a checkpoint, in seconds.
    pub fn add_end(&mut self, seconds: f64) {
        self.since += self.end.add(seconds);
    }

    /// The seconds to the end of the run from a position: 0 before the first step, for nothing is known. A forecast runs down
    /// with the time that is told, and takes over what was learnt since little by little.
    pub fn left(&mut self, at: Position) -> f64 {
        let learnt = self.of_the_means(at);
        let ran_down = (self.told - self.since).max(0.0);
        let share = self.count.clamp(2, SLOWEST + 1) - 1;
        self.told = if self.count < 2 { learnt } else { ran_down + (learnt - ran_down) / share as f64 };
        (self.count, self.since) = (self.count + 1, 0.0);
        self.told
    }

    fn of_the_means(&self, Position { epochs, steps }: Position) -> f64 {
        let epochs = self.epochs.saturating_sub(epochs) as f64;
        let steps = epochs * self.steps as f64 - steps as f64;
        let batch = self.batch.known().unwrap_or(EVALUATION * self.step.seconds);
        (steps * self.step.seconds + epochs * (self.batches as f64 * batch + self.end.seconds)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCHS: usize = 10;
    const STEPS: usize = 40;
    const BATCHES: usize = 20;

    /// Durations of a run in seconds: of a step by its number in the whole run, of a batch of an evaluation, and of the end
    /// of an epoch.
    struct Clock {
        step: fn(usize) -> f64,
        batch: f64,
        end: f64,
    }

    /// Goes through a run from a position; gives each forecast with the time that was really left then.
    fn forecasts(clock: &Clock, from: Position) -> Vec<(f64, f64)> {
        let mut forecast = Forecast::new(EPOCHS, STEPS, BATCHES);
        let (mut now, mut told) = (0.0, Vec::new());
        for epoch in from.epochs..EPOCHS {
            for step in if epoch == from.epochs { from.steps } else { 0 }..STEPS {
                let seconds = (clock.step)(epoch * STEPS + step);
                now += seconds;
                forecast.add_step(seconds);
                told.push((forecast.left(Position { epochs: epoch, steps: step + 1 }), now));
            }
            (0..BATCHES).for_each(|_| forecast.add_batch(clock.batch));
            forecast.add_end(clock.end);
            now += BATCHES as f64 * clock.batch + clock.end;
        }
        told.into_iter().map(|(left, at)| (left, now - at)).collect()
    }

    const START: Position = Position { epochs: 0, steps: 0 };

    /// The largest error of forecasts, as a share of the time that was left.
    fn error(forecasts: &[(f64, f64)]) -> f64 {
        forecasts.iter().map(|(told, real)| (told - real).abs() / real).fold(0.0, f64::max)
    }

    /// The largest jump between two forecasts beyond the time between them, as a share of the forecast.
    fn jump(forecasts: &[(f64, f64)]) -> f64 {
        let pairs = forecasts.windows(2);
        let jump =
            |pair: &[(f64, f64)]| ((pair[1].0 - pair[0].0) - (pair[1].1 - pair[0].1)).abs() / pair[0].0;
        pairs.map(jump).fold(0.0, f64::max)
    }

    #[test]
    fn a_steady_run_is_foretold_from_its_first_steps() {
        // The true share of a batch of the evaluation is unknown until there was one.
        for (batch, end, before) in [(0.25, 0.0, 1e-9), (0.2, 1.0, 0.05), (0.35, 0.5, 0.08), (0.1, 0.0, 0.08)]
        {
            let told = forecasts(&Clock { step: |_| 1.0, batch, end }, START);
            assert_eq!(told.len(), EPOCHS * STEPS);
            assert!(error(&told[..STEPS]) <= before, "{batch}: {}", error(&told[..STEPS]));
            assert!(error(&told[2 * STEPS..]) < 0.01, "{batch}: {}", error(&told[2 * STEPS..]));
            assert!(jump(&told) < 0.01, "{batch}: {}", jump(&told));
        }
    }

    #[test]
    fn a_slow_first_step_is_forgotten_with_the_second() {
        let clock = Clock { step: |step| if step == 0 { 9.0 } else { 1.0 }, batch: 0.25, end: 0.0 };
        let told = forecasts(&clock, START);
        assert!(told[0].0 > 8.0 * told[0].1, "{:?}", told[0]);
        assert!(error(&told[1..]) < 1e-9);
    }

    #[test]
    fn a_pause_hardly_shows() {
        let clock = Clock { step: |step| if step == 90 { 4000.0 } else { 1.0 }, batch: 0.25, end: 0.0 };
        let told = forecasts(&clock, START);
        assert!(error(&told[90..]) < 0.03, "{}", error(&told[90..]));
        assert!(jump(&told[91..]) < 0.01, "{}", jump(&told[91..]));
    }

    #[test]
    fn steps_that_vary_make_a_figure_that_does_not() {
        let clock = Clock { step: |step| [0.5, 1.5, 1.0, 0.7, 1.3][step % 5], batch: 0.25, end: 0.0 };
        let told = forecasts(&clock, START);
        assert!(error(&told[9..]) < 0.15 && error(&told[STEPS..]) < 0.05, "{}", error(&told[STEPS..]));
        assert!(jump(&told[9..]) < 0.03 && jump(&told[STEPS..]) < 0.01, "{}", jump(&told[9..]));
    }

    #[test]
    fn a_run_that_becomes_slower_is_followed() {
        let clock = Clock { step: |step| if step < 100 { 1.0 } else { 2.0 }, batch: 0.25, end: 0.0 };
        let told = forecasts(&clock, START);
        let late = &told[300..EPOCHS * STEPS - STEPS];
        assert!(error(&told[99..101]) > 0.3 && error(late) < 0.15, "{}", error(late));
        assert!(jump(&told[1..]) < 0.02, "{}", jump(&told[1..]));
    }

    #[test]
    fn a_run_that_goes_on_counts_what_is_left() {
        let from = Position { epochs: 7, steps: 30 };
        let told = forecasts(&Clock { step: |_| 2.0, batch: 0.5, end: 0.0 }, from);
        assert_eq!(told.len(), 2 * STEPS + 10);
        assert!(error(&told) < 1e-9 && (told[0].0 - (2.0 * 89.0 + 3.0 * 10.0)).abs() < 1e-9, "{:?}", told[0]);
    }

    #[test]
    fn no_run_is_left_for_less_than_nothing() {
        let mut forecast = Forecast::new(1, 2, 0);
        assert_eq!(forecast.left(START), 0.0);
        for steps in 1..5 {
            forecast.add_step(1.0);
            assert!(forecast.left(Position { epochs: 0, steps }) >= 0.0);
        }
        assert_eq!(Forecast::new(1, 1, 1).left(Position { epochs: 9, steps: 0 }), 0.0);
    }
}
