//! A number that changes from epoch to epoch.

use std::fmt;
use std::str::FromStr;

use super::progress::Progress;

/// A number that stays as it is or moves along a line. Texts are `0.5`, `0 to 50` and `10 through 0.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    from: f64,
    to: f64,
    /// Whether the last epoch has `to`; otherwise an epoch behind the last would.
    through: bool,
}

impl Schedule {
    /// Always the same number.
    pub fn constant(number: f64) -> Self {
        Schedule { from: number, to: number, through: false }
    }

    /// The number of an epoch. With epochs `e` counted from 0 of `T`, that is `from + (to - from) * e / T`, or with
    /// `T - 1` for `T` where the last epoch has `to`.
    pub fn at(self, progress: Progress) -> f64 {
        let Schedule { from, to, through } = self;
        let epochs = progress.epochs.saturating_sub(usize::from(through)).max(1);
        // Epochs behind the last of the search, in which a selection goes on, have its end.
        from + (to - from) * (progress.epoch as f64 / epochs as f64).min(1.0)
    }

    /// Whether the number is always 0.
    pub fn is_zero(self) -> bool {
        self.from == 0.0 && self.to == 0.0
    }

    /// The schedule of a text, where something holds for both of its ends.
    pub fn within(text: &str, holds: impl Fn(f64) -> bool) -> Option<Self> {
        text.parse().ok().filter(|schedule: &Schedule| holds(schedule.from) && holds(schedule.to))
    }
}

/// The schedule of a text, whose numbers are probabilities below 1.
pub fn probability(text: &str) -> Option<Schedule> {
    Schedule::within(text, |probability| (0.0..1.0).contains(&probability))
}

impl FromStr for Schedule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let words: Vec<_> = text.split(' ').collect();
        let schedule = match words[..] {
            [one] => number(one).map(Schedule::constant),
            [from, word @ ("to" | "through"), to] => {
                let ends = number(from).zip(number(to));
                ends.map(|(from, to)| Schedule { from, to, through: word == "through" })
            }
            _ => None,
        };
        schedule.ok_or("expected a number, or two numbers with `to` or `through` between them")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schedule { from, to, through } = self;
        let word = if *through { "through" } else { "to" };
        if from == to { write!(formatter, "{from}") } else { write!(formatter, "{from} {word} {to}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, epochs: usize) -> Vec<f64> {
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.to_string(), text);
        (0..epochs).map(|epoch| schedule.at(Progress { epoch, epochs, ..Progress::default() })).collect()
    }

    #[test]
    fn numbers_move_along_a_line() {
        assert_eq!(at("10", 3), [10.0; 3]);
        assert_eq!(at("0 to 50", 4), [0.0, 12.5, 25.0, 37.5]);
        assert_eq!(at("10 through 1", 4), [10.0, 7.0, 4.0, 1.0]);
        assert_eq!(at("10 through 1", 1), [10.0]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1 to", "to 1", "1 until 2", "1  to 2", "inf", "0 to nan", "1 to 2 to 3"] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
        assert!(Schedule::within("1 to 0", |number| number > 0.0).is_none());
        assert!(Schedule::within("1 to 0", |number| number >= 0.0).is_some());
    }
}
