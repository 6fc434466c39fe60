//! The tasks of a study: for each contender and seed, to find a genotype and to train it in each of the ways.

use std::path::{Path, PathBuf};

use super::study::{Kind, Study};

/// A task, which ends with a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The place of the contender.
    pub contender: usize,
    /// The seed.
    pub seed: u64,
    /// What is done.
    pub part: Part,
}

/// What is done for a contender and a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A genotype is found.
    Find,
    /// It is trained in the way at this place.
    Train(usize),
}

impl Study {
    /// All tasks, each behind those that it needs: seed after seed, so that the first ones of all contenders come early.
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for &seed in &self.seeds {
            // What follows the weights of others is found last.
            for follows in [false, true] {
                for (contender, entry) in self.contenders.iter().enumerate() {
                    let matched = matches!(entry.kind, Kind::Random { weights_of: Some(_), .. });
                    if matched == follows {
                        tasks.push(Task { contender, seed, part: Part::Find });
                    }
                }
            }
            for contender in 0..self.contenders.len() {
                if !matches!(self.contenders[contender].kind, Kind::Table { .. }) {
                    let train = |training| Task { contender, seed, part: Part::Train(training) };
                    tasks.extend((0..self.trainings.len()).map(train));
                }
            }
        }
        tasks
    }

    /// The task that must be done before another.
    pub fn before(&self, task: Task) -> Option<Task> {
        match (task.part, &self.contenders[task.contender].kind) {
            (Part::Train(_), _) => Some(Task { part: Part::Find, ..task }),
            (Part::Find, Kind::Random { weights_of: Some(other), .. }) => {
                Some(Task { contender: *other, ..task })
            }
            (Part::Find, _) => None,
        }
    }

    /// The run directory of a task below that of the study.
    pub fn run_directory(&self, below: &Path, task: Task) -> PathBuf {
        let contender = below.join(&self.contenders[task.contender].name);
        contender.join(match task.part {
            Part::Find => format!("seed-{}", task.seed),
            Part::Train(place) => match &self.trainings[place].name[..] {
                "" => format!("seed-{}-train", task.seed),
                name => format!("seed-{}-train-{name}", task.seed),
            },
        })
    }

    /// The file in which a task ends.
    pub fn outcome_file(&self, below: &Path, task: Task) -> PathBuf {
        let mut name = self.run_directory(below, task).into_os_string();
        name.push(".json");
        name.into()
    }

    /// A task in words.
    pub fn title(&self, task: Task) -> String {
        let (name, seed) = (&self.contenders[task.contender].name, task.seed);
        match task.part {
            Part::Find => format!("{name}, seed {seed}"),
            Part::Train(place) => match &self.trainings[place].name[..] {
                "" => format!("{name}, seed {seed}, training"),
                setting => format!("{name}, seed {seed}, training {setting}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_comes_behind_what_it_needs() {
        let text = "seeds = [4, 2]\n[train]\nepochs = 1\n[settings.gentle]\nweight_lr = 0.01\n[contenders.zero]\n\
            [contenders.matched]\nkind = \"random\"\nweights_of = \"zero\"\n\
            [contenders.asked]\nkind = \"reinforce\"\nqueries = 3\n";
        let study = Study::from_toml(text, Path::new("study.toml")).unwrap();
        let tasks = study.tasks();
        // Three find, and two of them are trained in two ways; twice.
        assert_eq!(tasks.len(), 14);
        for (place, task) in tasks.iter().enumerate() {
            assert!(study.before(*task).is_none_or(|before| tasks[..place].contains(&before)), "{task:?}");
        }
        let places: Vec<_> = tasks.iter().map(|task| study.outcome_file(Path::new("x"), *task)).collect();
        assert!(places.contains(&PathBuf::from("x/matched/seed-4-train-gentle.json")), "{places:?}");
        assert!(places.contains(&PathBuf::from("x/asked/seed-2.json")), "{places:?}");
        let mut different = places.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 14);
    }
}
