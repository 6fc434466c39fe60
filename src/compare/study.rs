//! A study as its file says it: who is compared, with which seeds, and what all have in common.
//!
//! ```toml
//! seeds = [0, 1, 2, 3, 4]
//!
//! [search]                 # keys of a search's plan, for all contenders that search by gradients
//! data = "digits"
//! epochs = 12
//!
//! [train]                  # keys of a training's plan: each genotype is trained so; without it, none is
//! epochs = 20
//!
//! [settings.gentle]        # the same once more with other values of these keys
//! weight_lr = 0.01
//!
//! [contenders.darts]       # a gradient search, with the values in which it differs
//! method = { name = "darts" }
//! [contenders.random]      # genotypes drawn at random, each with about as many weights as that of a contender
//! kind = "random"
//! weights_of = "darts"
//! [contenders.evolution]   # a search without gradients on the table of the space
//! kind = "regularised-evolution"
//! queries = 100
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::baseline;
use crate::benchmark::nasbench201;
use crate::plan::keys::Preset;
use crate::plan::merge::Written;
use crate::plan::{PlanTable, search, train};
use crate::toml_text::located;
use crate::{Error, Result};

/// The longest file of a study that is read, in bytes.
pub const MAX_STUDY: usize = 64 * 1024;
/// The most runs of a study: contenders times seeds.
const MOST_RUNS: usize = 100_000;
/// The most that a search without gradients may ask.
const MOST_QUERIES: usize = 100_000;

/// Contenders beside each other.
#[derive(Clone, Debug)]
pub struct Study {
    /// The seeds of each contender's runs.
    pub seeds: Vec<u64>,
    /// Who is compared, in the order of their names.
    pub contenders: Vec<Contender>,
    /// How each genotype is trained, once for each; the first has no name of its own.
    pub trainings: Vec<Training>,
}

/// One of those that are compared.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name, which is that of its directory.
    pub name: String,
    /// How it finds genotypes.
    pub kind: Kind,
}

/// How a contender finds genotypes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// By a search with this plan, whose seed is replaced.
    Gradient(Box<search::Plan>),
    /// By drawing one at random from the space of this plan.
    Random {
        /// The plan that names space and data.
        plan: Box<search::Plan>,
        /// The contender whose genotype of the same seed has about as many weights.
        weights_of: Option<usize>,
    },
    /// By asking a table.
    Table {
        /// The search.
        search: baseline::Kind,
        /// How often it asks.
        queries: usize,
    },
}

/// A way of training genotypes.
#[derive(Clone, Debug)]
pub struct Training {
    /// Its name; empty for the values of `[train]` alone.
    pub name: String,
    /// The plan, whose seed is replaced.
    pub plan: train::Plan,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seeds: Vec<u64>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    search: Table,
    #[serde(default)]
    train: Option<Table>,
    #[serde(default)]
    settings: Table,
    contenders: Table,
}

impl Study {
    /// Reads the file of a study. The path is for messages.
    ///
    /// # Errors
    /// No study, or one that cannot be run; the sentence names file, place and what was expected.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| Error::Plan(located(&error, text, path)))?;
        file.study(path).map_err(|error| match error {
            Error::Usage(reason) => Error::Plan(format!("{}: {reason}", path.display())),
            other => other,
        })
    }

    /// The place of a contender.
    pub fn contender(&self, name: &str) -> Option<usize> {
        self.contenders.iter().position(|contender| contender.name == name)
    }
}

impl File {
    fn study(&self, path: &Path) -> Result<Study> {
        let refused = |reason: String| Err(Error::Usage(reason));
        if self.seeds.is_empty() {
            return refused("seeds is empty; expected whole numbers such as [0, 1, 2]".to_owned());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.seeds.iter().find(|&seed| !seen.insert(seed)) {
            return refused(format!("seeds names {twice} twice"));
        }
        let preset = match self.preset.as_deref() {
            None => Preset::Small,
            Some(name) => {
                let found = [Preset::Small, Preset::Paper].into_iter().find(|preset| preset.name() == name);
                match found {
                    Some(preset) => preset,
                    None => {
                        return refused(format!(
                            "preset is {name:?}; expected {}",
                            Preset::NAMES.join(" or ")
                        ));
                    }
                }
            }
        };
        if self.contenders.is_empty() {
            return refused(
                "contenders is empty; expected at least one, such as [contenders.darts]".to_owned(),
            );
        }
        let runs = self.contenders.len().saturating_mul(self.seeds.len());
        if runs > MOST_RUNS {
            return refused(format!("contenders and seeds make {runs} runs; expected at most {MOST_RUNS}"));
        }
        let contenders = self.contenders.iter().map(|(name, value)| {
            check_name("contenders", name)?;
            let place = format!("contenders.{name}");
            let Value::Table(own) = value else {
                return Err(Error::Usage(format!("{place}: expected a table, [{place}]")));
            };
            let kind = self.kind(own, &place, preset, path)?;
            Ok(Contender { name: name.clone(), kind })
        });
        let contenders = contenders.collect::<Result<Vec<_>>>()?;
        let mut study =
            Study { seeds: self.seeds.clone(), contenders, trainings: self.trainings(preset, path)? };
        study.match_plans()?;
        study.check_accuracies()?;
        Ok(study)
    }

    fn kind(&self, own: &Table, place: &str, preset: Preset, path: &Path) -> Result<Kind> {
        let mut own = own.clone();
        let name = match own.remove("kind") {
            None => "gradient".to_owned(),
            Some(Value::String(name)) => name,
            Some(other) => return Err(Error::Usage(format!("{place}.kind is {other}; expected a text"))),
        };
        let nothing_else = |own: &Table| match own.keys().next() {
            None => Ok(()),
            Some(key) => Err(Error::Usage(format!("{place}: unknown key {key} of the kind {name}"))),
        };
        if name == "gradient" {
            let plan = plan_of(&[&self.search, &own], place, preset, path)?;
            return Ok(Kind::Gradient(Box::new(plan)));
        }
        if name == "random" {
            let weights_of = match own.remove("weights_of") {
                None => None,
                Some(Value::String(other)) => {
                    Some(self.contenders.keys().position(|name| *name == other).ok_or_else(|| {
                        Error::Usage(format!(
                            "{place}.weights_of is {other:?}; expected another contender's name"
                        ))
                    })?)
                }
                Some(other) => {
                    return Err(Error::Usage(format!("{place}.weights_of is {other}; expected a text")));
                }
            };
            if weights_of.is_some() {
                nothing_else(&own)?;
            }
            let plan = plan_of(&[&self.search, &own], place, preset, path)?;
            return Ok(Kind::Random { plan: Box::new(plan), weights_of });
        }
        let Some(search) = baseline::Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known: Vec<_> = baseline::Kind::ALL.iter().map(|kind| kind.name()).collect();
            let known = known.join(", ");
            return Err(Error::Usage(format!(
                "{place}.kind is {name:?}; expected gradient, random, {known}"
            )));
        };
        let queries = match own.remove("queries") {
            Some(Value::Integer(queries)) => usize::try_from(queries).unwrap_or_default(),
            _ => 0,
        };
        if !(1..=MOST_QUERIES).contains(&queries) {
            return Err(Error::Usage(format!(
                "{place}.queries: expected a whole number from 1 to {MOST_QUERIES}"
            )));
        }
        nothing_else(&own)?;
        Ok(Kind::Table { search, queries })
    }

    fn trainings(&self, preset: Preset, path: &Path) -> Result<Vec<Training>> {
        let Some(train) = &self.train else {
            return match self.settings.keys().next() {
                None => Ok(Vec::new()),
                Some(name) => Err(Error::Usage(format!("settings.{name} changes [train], which is missing"))),
            };
        };
        // Images are those of the search, unless the training names others.
        let shared =
            ["data", "image_size", "colour", "background", "fit", "space", "threads", "device", "precision"];
        let shared =
            shared.into_iter().filter_map(|key| Some((key.to_owned(), self.search.get(key)?.clone())));
        let shared: Table = shared.collect();
        let mut trainings =
            vec![Training { name: String::new(), plan: plan_of(&[&shared, train], "train", preset, path)? }];
        for (name, value) in &self.settings {
            check_name("settings", name)?;
            let place = format!("settings.{name}");
            let Value::Table(own) = value else {
                return Err(Error::Usage(format!("{place}: expected a table, [{place}]")));
            };
            let plan = plan_of(&[&shared, train, own], &place, preset, path)?;
            trainings.push(Training { name: name.clone(), plan });
        }
        Ok(trainings)
    }
}

impl Study {
    /// Gives a contender whose genotypes are as large as those of another the plan of that one, which says of what space they
    /// are; refuses it where that one is no gradient search.
    fn match_plans(&mut self) -> Result<()> {
        for place in 0..self.contenders.len() {
            let Kind::Random { weights_of: Some(other), .. } = self.contenders[place].kind else { continue };
            let Kind::Gradient(model) = &self.contenders[other].kind else {
                let [name, other] = [place, other].map(|place| &self.contenders[place].name);
                return Err(Error::Usage(format!(
                    "contenders.{name}.weights_of is {other:?}, which is no gradient search"
                )));
            };
            let plan = model.clone();
            self.contenders[place].kind = Kind::Random { plan, weights_of: Some(other) };
        }
        Ok(())
    }
}

impl Study {
    /// Refuses contenders whose genotypes nobody trains, the study as little as the authors of a table.
    fn check_accuracies(&self) -> Result<()> {
        for Contender { name, kind } in &self.contenders {
            if let (true, Kind::Gradient(plan) | Kind::Random { plan, .. }) =
                (self.trainings.is_empty(), kind)
                && plan.space()?.name() != nasbench201::SPACE
            {
                return Err(Error::Usage(format!(
                    "train is missing, so contenders.{name} has no accuracy; expected a table [train], or the space {}",
                    nasbench201::SPACE
                )));
            }
        }
        Ok(())
    }
}

/// A name is that of a directory.
fn check_name(table: &str, name: &str) -> Result<()> {
    const LONGEST: usize = 40;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if !name.is_empty() && name.len() <= LONGEST && name.chars().all(plain) {
        return Ok(());
    }
    let name: String = name.chars().take(60).collect();
    Err(Error::Usage(format!(
        "{table} names {name:?}; expected 1 to {LONGEST} letters, digits, hyphens and underscores"
    )))
}

/// The plan of the values of some tables, of which the later go before the earlier.
fn plan_of<P: PlanTable>(tables: &[&Table], place: &str, preset: Preset, path: &Path) -> Result<P> {
    let mut values = Table::new();
    for table in tables {
        for (key_path, value) in P::keys().paths(table) {
            let refused = |reason: String| Error::Usage(format!("{place}: {key_path}: {reason}"));
            let Some(key) = P::keys().at(&key_path) else {
                return Err(refused("unknown key".to_owned()));
            };
            if key.name == "seed" {
                return Err(refused("each run has a seed of its own, those of seeds".to_owned()));
            }
            values.insert(key.name.to_owned(), key.domain.read(value.clone()).map_err(refused)?);
        }
    }
    let place = format!("{}: {place}", path.display());
    let file = Some((PathBuf::from(&place), values));
    let written = Written { preset, file, flags: Table::new() };
    let given = written.plan::<P>(Table::new()).map_err(|error| match error {
        Error::Plan(reason) if !reason.starts_with(&place) => Error::Plan(format!("{place}: {reason}")),
        other => other,
    });
    Ok(given?.plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Study> {
        Study::from_toml(text, Path::new("study.toml"))
    }

    const WHOLE: &str = "seeds = [3, 1]\n[search]\nepochs = 2\n[search.method]\norder = \"second\"\n\
        [train]\nepochs = 4\n[settings.gentle]\nweight_lr = 0.01\n\
        [contenders.darts]\n[contenders.gdas]\nepochs = 5\nmethod = { name = \"gdas\", order = \"first\" }\n\
        [contenders.matched]\nkind = \"random\"\nweights_of = \"gdas\"\n\
        [contenders.evolution]\nkind = \"regularised-evolution\"\nqueries = 7\n";

    #[test]
    fn a_study_is_read_whole() {
        let study = read(WHOLE).unwrap();
        assert_eq!(study.seeds, [3, 1]);
        let names: Vec<_> = study.contenders.iter().map(|contender| &contender.name[..]).collect();
        assert_eq!(names, ["darts", "evolution", "gdas", "matched"]);
        let plan = |place: usize| match &study.contenders[place].kind {
            Kind::Gradient(plan) => plan,
            other => panic!("{other:?}"),
        };
        assert_eq!((plan(0).epochs, plan(2).epochs), (2, 5));
        assert!(plan(2).relaxation.starts_with("gumbel-hard"), "{}", plan(2).relaxation);
        assert!(matches!(study.contenders[3].kind, Kind::Random { weights_of: Some(2), .. }));
        assert!(matches!(
            study.contenders[1].kind,
            Kind::Table { search: baseline::Kind::Evolution, queries: 7 }
        ));
        let trainings: Vec<_> =
            study.trainings.iter().map(|training| (&training.name[..], training.plan.weight_lr)).collect();
        assert_eq!((trainings[0].0, trainings[1]), ("", ("gentle", 0.01)));
        assert_eq!(study.trainings[1].plan.epochs, 4);
        assert_eq!(study.contender("gdas"), Some(2));
    }

    #[test]
    fn what_is_as_large_as_another_is_of_its_space() {
        let text = "seeds = [0]\n[contenders.a]\nkind = \"random\"\nweights_of = \"b\"\n[contenders.b]\n\
            space = \"nas-bench-201\"\n[contenders.c]\nkind = \"random\"\nspace = \"s2\"\n[train]\n";
        let spaces: Vec<_> = (read(text).unwrap().contenders.into_iter())
            .filter_map(|contender| match contender.kind {
                Kind::Random { plan, .. } => Some(plan.space),
                _ => None,
            })
            .collect();
        assert_eq!(spaces, ["nas-bench-201", "s2"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_place() {
        let seeds = "seeds = [0]\n";
        let cases = [
            ("", "missing field `seeds`"),
            ("seeds = []\n[contenders.darts]", "seeds is empty"),
            ("seeds = [1, 2, 1]\n[contenders.darts]", "seeds names 1 twice"),
            ("seeds = [-1]\n[contenders.darts]", "line 1"),
            (seeds, "missing field `contenders`"),
            ("seeds = [0]\n[contenders]", "contenders is empty"),
            ("seeds = [0]\ncontenders = 3", "line 2"),
            ("seeds = [0]\nsead = 1\n[contenders.darts]", "unknown field `sead`"),
            (
                "seeds = [0]\npreset = \"large\"\n[contenders.darts]",
                "preset is \"large\"; expected small or paper",
            ),
            ("seeds = [0]\n[contenders]\ndarts = 1", "contenders.darts: expected a table"),
            ("seeds = [0]\n[contenders.\"a/b\"]", "contenders names \"a/b\""),
            (
                "seeds = [0]\n[contenders.x]\nmethod = { name = \"dart\" }",
                "contenders.x: method.name: unknown word `dart`",
            ),
            ("seeds = [0]\n[contenders.x]\nepoch = 3", "contenders.x: epoch: unknown key"),
            ("seeds = [0]\n[contenders.x]\nepochs = 0", "study.toml: contenders.x: epochs is 0; expected"),
            ("seeds = [0]\n[contenders.x]\nepochs = \"many\"", "contenders.x: epochs: "),
            ("seeds = [0]\n[contenders.x]\nseed = 3", "contenders.x: seed: each run has a seed of its own"),
            ("seeds = [0]\n[search]\nepochs = 0\n[contenders.x]", "epochs is 0; expected"),
            (
                "seeds = [0]\n[contenders.x]\nkind = \"best\"",
                "contenders.x.kind is \"best\"; expected gradient, random",
            ),
            (
                "seeds = [0]\n[contenders.x]\nkind = \"random\"\nweights_of = \"y\"",
                "weights_of is \"y\"; expected",
            ),
            ("seeds = [0]\n[contenders.x]\nkind = \"random\"\nweights_of = \"x\"", "is no gradient search"),
            (
                "seeds = [0]\n[contenders.x]\nkind = \"random\"\nqueries = 3",
                "contenders.x: queries: unknown key",
            ),
            (
                "seeds = [0]\n[contenders.x]\nkind = \"reinforce\"",
                "contenders.x.queries: expected a whole number",
            ),
            ("seeds = [0]\n[contenders.x]\nkind = \"reinforce\"\nqueries = 0", "contenders.x.queries"),
            ("seeds = [0]\n[settings.y]\n[contenders.x]", "settings.y changes [train], which is missing"),
            ("seeds = [0]\n[contenders.x]", "train is missing, so contenders.x has no accuracy"),
            ("seeds = [0]\n[train]\nepochs = 0\n[contenders.x]", "train: epochs is 0"),
        ];
        for (text, sentence) in cases {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains("study.toml") && refused.contains(sentence), "{text}\n{refused}");
        }
    }
}
