//! A number that changes from epoch to epoch.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use super::progress::Progress;

/// A number that stays as it is or goes to another. Texts are `0.5`, `0 to 50`, `10 through 0.1` and `1 to 0 by cosine`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    from: f64,
    to: f64,
    /// Whether the last epoch has `to`; otherwise an epoch behind the last would.
    through: bool,
    course: Course,
}

/// How a number goes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Along a line.
    Line,
    /// Along half a wave: slowly at both ends.
    Cosine,
    /// Along a quarter of a wave: slowly at the start.
    SlowCosine,
}

impl Course {
    const ALL: [Course; 3] = [Course::Line, Course::Cosine, Course::SlowCosine];

    /// Its name in a text, which says nothing of a line.
    fn name(self) -> &'static str {
        match self {
            Course::Line => "",
            Course::Cosine => "cosine",
            Course::SlowCosine => "slow-cosine",
        }
    }

    /// The share of the way behind it, at this share of the epochs.
    fn gone(self, share: f64) -> f64 {
        match self {
            Course::Line => share,
            Course::Cosine => (1.0 - (PI * share).cos()) / 2.0,
            Course::SlowCosine => 1.0 - (PI / 2.0 * share).cos(),
        }
    }
}

impl Schedule {
    /// Always the same number.
    pub fn constant(number: f64) -> Self {
        Schedule { from: number, to: number, through: false, course: Course::Line }
    }

    /// The number of an epoch. With epochs `e` counted from 0 of `T` and the share `s = e / T`, or with `T - 1` for `T` where
    /// the last epoch has `to`, that is `from + (to - from) * s`; by cosine with `(1 - cos(pi s)) / 2` for `s`, by slow cosine
    /// with `1 - cos(pi s / 2)`.
    pub fn at(self, progress: Progress) -> f64 {
        let Schedule { from, to, through, course } = self;
        let epochs = progress.epochs.saturating_sub(usize::from(through)).max(1);
        // Epochs behind the last of the search, in which a selection goes on, have its end.
        from + (to - from) * course.gone((progress.epoch as f64 / epochs as f64).min(1.0))
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

/// The schedule of a text, whose numbers are weights of what is added, so not negative.
pub fn weight(text: &str) -> Option<Schedule> {
    Schedule::within(text, |weight| weight >= 0.0)
}

impl FromStr for Schedule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let words: Vec<_> = text.split(' ').collect();
        let (words, course) = match words[..] {
            [ref words @ .., "by", name] if !name.is_empty() => {
                (words, Course::ALL.into_iter().find(|course| course.name() == name))
            }
            ref words => (words, Some(Course::Line)),
        };
        let schedule = match (words, course) {
            ([one], Some(Course::Line)) => number(one).map(Schedule::constant),
            ([from, word @ ("to" | "through"), to], Some(course)) => {
                let ends = number(from).zip(number(to));
                ends.map(|(from, to)| Schedule { from, to, through: *word == "through", course })
            }
            _ => None,
        };
        schedule.ok_or(
            "expected a number, or two numbers with `to` or `through` between them, behind which may stand `by cosine` or \
             `by slow-cosine`",
        )
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schedule { from, to, through, course } = self;
        let word = if *through { "through" } else { "to" };
        match (from == to, course) {
            (true, _) => write!(formatter, "{from}"),
            (false, Course::Line) => write!(formatter, "{from} {word} {to}"),
            (false, course) => write!(formatter, "{from} {word} {to} by {}", course.name()),
        }
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
    fn numbers_move_along_waves() {
        let near = |ours: Vec<f64>, expected: [f64; 3]| {
            assert!(ours.iter().zip(expected).all(|(ours, other)| (ours - other).abs() < 1e-15), "{ours:?}");
        };
        near(at("2 through 0 by cosine", 3), [2.0, 1.0, 0.0]);
        near(at("3 to 1 by cosine", 3), [3.0, 2.5, 1.5]);
        near(at("1 to 0 by slow-cosine", 3), [1.0, 0.75f64.sqrt(), 0.5]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1 to",
            "to 1",
            "1 until 2",
            "1  to 2",
            "inf",
            "0 to nan",
            "1 to 2 to 3",
            "1 to 2 by",
            "1 to 2 by ",
            "1 to 2 by line",
            "1 by cosine",
            "by cosine",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
        assert!(Schedule::within("1 to 0", |number| number > 0.0).is_none());
        assert!(Schedule::within("1 to 0", |number| number >= 0.0).is_some());
    }
}
