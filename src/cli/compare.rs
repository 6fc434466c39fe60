//! `darts compare`: contenders over seeds, and whether they beat genotypes drawn at random.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::interruption::Interruption;
use super::output::{print, report, tell};
use crate::compare::standings::Standings;
use crate::compare::study::{MAX_STUDY, Study};
use crate::compare::table::{aligned, csv, markdown};
use crate::compare::task::{Part, Task};
use crate::compare::work::{Watch, Work, open};
use crate::files::{read_text, write_whole};
use crate::readable::{duration, shell_word};
use crate::report::{comparison, page};
use crate::store::run_directory::RUNS;
use crate::{Error, Result};

/// Compare searches over several seeds with each other and with genotypes drawn at random.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// The file of the study.
    study: PathBuf,
    /// The directory of the study [default: in runs, with the name of its file].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the study in its directory. What failed is tried again.
    #[arg(long)]
    resume: bool,
    /// Runs at once, which share the cores.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Print nothing but the outcome.
    #[arg(long)]
    quiet: bool,
    /// Print the outcome as JSON instead, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
A study is a TOML file:

  seeds = [0, 1, 2, 3, 4]

  [search]                      keys of a search's plan, for all contenders
  epochs = 12
  [train]                       keys of a training's plan: each genotype is trained so
  epochs = 20
  [settings.gentle]             and once more with other values of these keys
  weight_lr = 0.01

  [contenders.darts]            a gradient search, with the keys in which it differs
  [contenders.gdas]
  method = { name = \"gdas\" }
  [contenders.random-as-darts]  genotypes drawn at random, with the weights of darts to within 5 %
  kind = \"random\"
  weights_of = \"darts\"
  [contenders.random]           with any number of weights, for all that have no such contender of their own
  kind = \"random\"
  [contenders.evolution]        or random-search, reinforce: on the table of NAS-Bench-201
  kind = \"regularised-evolution\"
  queries = 100

Each run has a directory of its own below that of the study, and a contender that fails does not end the study. The outcome is \
results.json, .csv and .md, and a page, report.html. An interval is Welch's at 95 %; p is that of a permutation test, exact up to \
200,000 ways.

Examples:
  darts compare study.toml
  darts compare study.toml --out runs/study --jobs 2
  darts compare study.toml --out runs/study --resume";

impl Arguments {
    /// Works on the study and prints what comes out.
    pub fn run(self) -> Result<()> {
        let text = read_text(&self.study, MAX_STUDY)?;
        let study = Study::from_toml(&text, &self.study)?;
        let directory = self.out.clone().unwrap_or_else(|| {
            let name = self.study.file_stem().unwrap_or_default();
            Path::new(RUNS).join(name)
        });
        let progress = Progress::new(&study, &directory, self.quiet || self.json, usize::from(self.jobs));
        let interruption = Interruption::watch()?;
        let interrupted = || interruption.signal() > 0;
        let work = Work {
            study: &study,
            directory: &directory,
            jobs: self.jobs.into(),
            interrupted: &interrupted,
            watch: &progress,
        };
        work.check()?;
        let _lock = open(&directory, &text, self.resume)?;
        let Some(failures) = work.run()? else {
            let [file, place] = [&self.study, &directory].map(|path| shell_word(&path.display().to_string()));
            return Err(Error::Interrupted {
                signal: interruption.signal(),
                sentence: format!("interrupted; `darts compare {file} --out {place} --resume` goes on"),
            });
        };
        let standings = Standings::of(&study, &directory, &failures)?;
        self.finish(&standings, &directory, &text)
    }

    /// Stores what came out, and prints it.
    fn finish(&self, standings: &Standings, directory: &Path, text: &str) -> Result<()> {
        let failures: String =
            standings.failures.iter().map(|failure| format!("Failed: {failure}\n")).collect();
        let json = serde_json::to_string_pretty(standings)
            .map_err(|error| Error::io(directory, std::io::Error::from(error)))?;
        let files = [
            ("results.json", format!("{json}\n")),
            ("results.csv", csv(standings)),
            ("results.md", format!("{}\n{failures}{}\n", markdown(standings), standings.verdict)),
            ("report.html", comparison::page(standings, directory, text)),
        ];
        for (name, text) in files {
            write_whole(&directory.join(name), text.as_bytes())?;
        }
        if self.json {
            return print(&format!("{}\n", serde_json::json!(standings)));
        }
        print(&format!("{}{}\n", if self.quiet { "" } else { "\n" }, aligned(standings)))?;
        tell(&format!("{failures}{}\n", standings.verdict))?;
        if standings.lines.is_empty() {
            return Err(Error::Diverged("no contender has an accuracy: all of them failed".to_owned()));
        }
        if !self.quiet {
            let place = directory.display();
            tell(&format!(
                "The study is stored in {place}: results.json, results.csv and results.md; look at {place}/report.html.\n"
            ))?;
        }
        Ok(())
    }
}

/// Says which tasks have begun and ended, and how long the others take.
struct Progress<'a> {
    study: &'a Study,
    quiet: bool,
    jobs: usize,
    state: Mutex<State>,
}

/// What has been done.
struct State {
    /// Tasks that were not done when the study began or went on, and those of them that are done now.
    all: Vec<Task>,
    done: usize,
    running: Vec<(Task, Instant)>,
    /// For each task that was done, what it was and how many seconds it took.
    took: Vec<(Task, f64)>,
    /// Tasks that failed without having begun.
    skipped: Vec<Task>,
}

impl<'a> Progress<'a> {
    fn new(study: &'a Study, directory: &Path, quiet: bool, jobs: usize) -> Self {
        let left = |task: &Task| !study.outcome_file(directory, *task).exists();
        let all = study.tasks().into_iter().filter(left).collect();
        let state = State { all, done: 0, running: Vec::new(), took: Vec::new(), skipped: Vec::new() };
        Progress { study, quiet, jobs, state: Mutex::new(state) }
    }

    /// Takes note of the end of a task, and prints a line.
    fn ended(&self, task: Task, how: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += 1;
        if let Some(place) = state.running.iter().position(|(running, _)| *running == task) {
            let (task, began) = state.running.swap_remove(place);
            state.took.push((task, began.elapsed().as_secs_f64()));
        } else {
            state.skipped.push(task);
        }
        if self.quiet {
            return;
        }
        let left = state.left(self.study) / self.jobs as f64;
        let left = if left > 0.0 { format!("; about {} left", duration(left)) } else { String::new() };
        let (done, all, title) = (state.done, state.all.len(), self.study.title(task));
        // A reader that went away has read enough.
        let _ = tell(&format!("{done} of {all}: {title}: {how}{left}\n"));
    }
}

impl State {
    /// The seconds that the tasks take which are not done, by the mean of those like them.
    fn left(&self, study: &Study) -> f64 {
        let open = self
            .all
            .iter()
            .filter(|task| !self.skipped.contains(task) && !self.took.iter().any(|(done, _)| done == *task));
        let mean = |like: &dyn Fn(&Task) -> bool| {
            let took = || self.took.iter().filter(|(task, _)| like(task));
            let count = took().count();
            (count > 0).then(|| took().map(|(_, seconds)| seconds).sum::<f64>() / count as f64)
        };
        let find = |task: &Task| task.part == Part::Find;
        let seconds = open.map(|task| {
            let same =
                |other: &Task| other.part == task.part && (!find(task) || other.contender == task.contender);
            let kind = |other: &Task| std::mem::discriminant(&study.contenders[other.contender].kind);
            let alike = |other: &Task| find(other) == find(task) && kind(other) == kind(task);
            mean(&same).or_else(|| mean(&alike)).or_else(|| mean(&|_| true)).unwrap_or_default()
        });
        seconds.sum()
    }
}

impl Watch for Progress<'_> {
    fn begun(&self, task: Task) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.push((task, Instant::now()));
    }

    fn done(&self, task: Task, run: Option<&Path>) {
        // The study does not depend on the page of a run.
        if let Some(Err(error)) = run.map(page::write) {
            report(&error.to_string());
        }
        self.ended(task, "done");
    }

    fn failed(&self, task: Task, reason: &Error) {
        self.ended(task, &format!("failed: {reason}"));
    }
}
