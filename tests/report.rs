//! The report of a run: what the page holds, that it needs nothing but itself, and what a browser makes of it.

#[path = "common/command.rs"]
mod command;

use darts::plan::PlanTable;
use darts::space::{Space, Wiring};
use darts::store::genotype::load_genotype;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use command::{printed, refused};
use scraper::{ElementRef, Html, Selector};

/// Edges of a supernet cell of two nodes.
const EDGES: usize = 5;
const OPERATIONS: usize = 8;
const FILES: [&str; 5] =
    ["report.html", "cell_normal.svg", "cell_reduce.svg", "cell_normal.dot", "cell_reduce.dot"];

/// A run of three epochs, searched once for all tests.
fn run() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let scratch = tempfile::tempdir().unwrap();
        let size = ["--epochs=3", "--init-channels=2", "--nodes=2", "--batch-size=64", "--device=cpu"];
        printed(scratch.path(), &[&["search", "--quiet", "--out=run"], &size[..]].concat());
        let path = scratch.path().join("run");
        (scratch, path)
    });
    path
}

/// A training of three epochs, for all tests.
fn training() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let scratch = tempfile::tempdir().unwrap();
        let size = ["--epochs=3", "--init-channels=2", "--cells=3", "--batch-size=64", "--device=cpu"];
        printed(scratch.path(), &[&["train", "darts-v2", "--quiet", "--out=run"], &size[..]].concat());
        let path = scratch.path().join("run");
        (scratch, path)
    });
    path
}

/// A copy of the run without its report, in a directory of the same name.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("run");
    fs::create_dir_all(copy.join("alphas")).unwrap();
    for file in ["plan.toml", "metrics.jsonl", "timings.jsonl", "genotype.json", "sheet.json"] {
        fs::copy(run().join(file), copy.join(file)).unwrap();
    }
    for epoch in 1..=3 {
        let file = format!("alphas/epoch-{epoch:04}.safetensors");
        fs::copy(run().join(&file), copy.join(&file)).unwrap();
    }
    (scratch, copy)
}

fn page_of(run: &Path) -> String {
    fs::read_to_string(run.join("report.html")).unwrap()
}

fn page() -> String {
    page_of(run())
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

/// The next commands to type.
fn next(page: &Html) -> Vec<String> {
    let sections = all(page, "section").into_iter();
    let title = |section: &ElementRef| {
        section.select(&Selector::parse("h2").unwrap()).next().map(|title| title.text().collect::<String>())
    };
    let next = sections.filter(|section| title(section).as_deref() == Some("Next"));
    let commands = Selector::parse("pre").unwrap();
    next.flat_map(|section| {
        section.select(&commands).map(|command| command.text().collect()).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_page_holds_every_figure() {
    let text = page();
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(all(&page, "svg.cell").len(), 2);
    assert_eq!(all(&page, ".charts figure").len(), 5);
    // Loss, accuracy, entropy and skip connections have two curves, the throughput has one.
    let curves = |figures: &str, colours: &str| {
        all(&page, &format!("{figures} polyline[stroke^='var(--{colours}-']")).len()
    };
    assert_eq!(curves(".charts", "curve"), 9);
    assert_eq!(all(&page, ".edges figure").len(), 2 * EDGES);
    assert_eq!(curves(".edges", "operation"), 2 * EDGES * OPERATIONS);
    assert_eq!(all(&page, ".legend.over li").len(), OPERATIONS);
    let rows = all(&page, ".heat tbody tr");
    assert_eq!(rows.len(), 2 * EDGES);
    let cell = Selector::parse("td").unwrap();
    for row in rows {
        let weights = row.select(&cell).map(|cell| cell.text().collect::<String>());
        let weights: Vec<f64> = weights.map(|weight| weight.parse().unwrap()).collect();
        assert_eq!(weights.len(), OPERATIONS);
        assert!((weights.iter().sum::<f64>() - 100.0).abs() < 0.5, "{weights:?}");
    }
    // Two kept edges for each of two nodes, in two cells.
    assert_eq!(all(&page, ".heat td.kept").len(), 8);
    assert_eq!(all(&page, ".edges .kept").len(), 8);
    assert_eq!(all(&page, ".signs li").len(), 7);
    let verdict: String = all(&page, ".verdict")[0].text().collect();
    assert!(
        verdict.starts_with("Undecided: ") && verdict.contains("Advice: search again with --"),
        "{verdict}"
    );
    assert_eq!(next(&page), ["darts search --plan run/plan.toml --alpha-lr 0.1", "darts train run"]);
    // The entropy is drawn as a share, from nothing on.
    let entropy = all(&page, ".charts figure")[2];
    assert!(entropy.text().collect::<String>().contains("in percent of that of equal weights"));
    let marks: Vec<String> =
        entropy.select(&Selector::parse("svg text").unwrap()).map(|mark| mark.text().collect()).collect();
    assert!(["0", "100"].iter().all(|mark| marks.iter().any(|text| text.trim() == *mark)), "{marks:?}");
    let plan = all(&page, ".plan tr").iter().map(|row| row.text().collect::<String>()).collect::<Vec<_>>();
    let keys = darts::plan::search::Plan::default().to_table().unwrap().len();
    assert_eq!(plan.len(), keys);
    assert!(plan.iter().any(|row| row.starts_with("nodes") && row.ends_with('2')), "{plan:?}");
    assert!(text.contains(fs::read_to_string(run().join("genotype.txt")).unwrap().trim()));
}

#[test]
fn the_page_of_a_training_holds_every_figure() {
    let text = page_of(training());
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(all(&page, "h1")[0].text().collect::<String>(), "Training on digits");
    assert_eq!(all(&page, "svg.cell").len(), 2);
    assert_eq!(all(&page, ".charts figure").len(), 5);
    // Loss and accuracy have two curves, learning rate, drop path and throughput have one.
    assert_eq!(all(&page, ".charts polyline[stroke^='var(--curve-']").len(), 7);
    let facts: Vec<String> =
        all(&page, ".facts strong").iter().map(|fact| fact.text().collect::<String>()).collect();
    let metrics = fs::read_to_string(training().join("metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let percent = |key: &str| format!("{:.2}\u{a0}%", 100.0 * last[key].as_f64().unwrap());
    let percents = ["test_accuracy", "test_balanced_accuracy", "train_accuracy"].map(percent);
    assert_eq!((&facts[..3], &facts[3][..]), (&percents[..], "3"));
    assert_eq!(next(&page), ["darts predict run IMAGE", "darts export run --format onnx"]);
    // The matrix of confusions: a row and a column for each digit, and the share that was right.
    let counts: Vec<String> = all(&page, ".heat td").iter().map(|cell| cell.text().collect()).collect();
    assert_eq!(counts.len(), 10 * 11);
    let right: usize = (0..10).map(|digit| counts[digit * 11 + digit].parse::<usize>().unwrap()).sum();
    assert_eq!(right, (359.0 * last["test_accuracy"].as_f64().unwrap()).round() as usize);
    let keys = darts::plan::train::Plan::default().to_table().unwrap().len();
    assert_eq!(all(&page, ".plan tr").len(), keys);
    assert!(text.contains(fs::read_to_string(training().join("genotype.txt")).unwrap().trim()));
}

#[test]
fn the_files_of_a_training_are_enough() {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("run");
    fs::create_dir(&copy).unwrap();
    let files = [
        "plan.toml",
        "metrics.jsonl",
        "timings.jsonl",
        "genotype.json",
        "last.safetensors",
        "classes.json",
        "sheet.json",
    ];
    for file in files {
        fs::copy(training().join(file), copy.join(file)).unwrap();
    }
    assert_eq!(printed(scratch.path(), &["report", "run"]), "run/report.html\n");
    for file in FILES {
        assert!(
            fs::read(copy.join(file)).unwrap() == fs::read(training().join(file)).unwrap(),
            "{file} differs"
        );
    }
    // While it is running, and without timings.
    fs::remove_file(copy.join("timings.jsonl")).unwrap();
    fs::remove_file(copy.join("classes.json")).unwrap();
    let metrics = fs::read_to_string(copy.join("metrics.jsonl")).unwrap();
    let first = metrics.lines().next().unwrap();
    fs::write(copy.join("metrics.jsonl"), format!("{first}\n{{\"epoch\":")).unwrap();
    printed(scratch.path(), &["report", "run", "--quiet"]);
    let page = Html::parse_document(&page_of(&copy));
    assert_eq!(all(&page, ".facts strong")[3].text().collect::<String>(), "1 of 3");
    assert_eq!(all(&page, ".charts circle").len(), 6, "one epoch is a point and no line");
    assert!(all(&page, ".heat").is_empty());
    fs::write(copy.join("last.safetensors"), "damaged").unwrap();
    refused(scratch.path(), &["report", "run"], 1, &["last.safetensors: is not a model file"]);
}

#[test]
fn the_page_of_a_first_epoch_shows_what_there_is() {
    let scratch = tempfile::tempdir().unwrap();
    let size = ["--nodes=2", "--init-channels=2", "--batch-size=64", "--device=cpu"];
    let over = ["--max-minutes=0", "--out=run"];
    refused(scratch.path(), &[&["search"], &size[..], &over].concat(), 124, &["before the first step"]);
    let over = ["--max-minutes=0", "--out=model", "--device=cpu"];
    refused(scratch.path(), &[&["train", "darts-v2"], &over[..]].concat(), 124, &["before the first step"]);
    let tables = [("run", "search", 2 * EDGES), ("model", "train", 0)];
    for (name, command, rows) in tables {
        let run = scratch.path().join(name);
        let text = page_of(&run);
        let page = Html::parse_document(&text);
        assert!(page.errors.is_empty(), "{:?}", page.errors);
        assert_eq!(next(&page), [format!("darts {command} --resume {name}")]);
        assert_eq!(all(&page, ".heat tbody tr").len(), rows);
        assert!(text.contains(fs::read_to_string(run.join("genotype.txt")).unwrap().trim()));
        check_drawings(&run, 2);
        needs_nothing(&run);
        let told = printed(scratch.path(), &["report", name]);
        assert!(told == format!("{name}/report.html\n") && page_of(&run) == text);
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    needs_nothing(run());
    needs_nothing(training());
}

fn needs_nothing(run: &Path) {
    let text = page_of(run);
    let page = Html::parse_document(&text);
    assert!(all(&page, "script, link, iframe, object, embed, base, form").is_empty());
    // Images are parts of the page.
    let images = all(&page, "img");
    let source = |image: &scraper::ElementRef| image.value().attr("src").unwrap().to_owned();
    assert!(images.iter().all(|image| source(image).starts_with("data:image/png;base64,")));
    let sources = all(&page, "*").into_iter().filter(|element| element.value().attr("src").is_some()).count();
    assert_eq!(images.len(), sources);
    for attribute in ["href", "xlink:href", "srcset", "data", "action", "onload", "onclick"] {
        let holders = all(&page, "*").into_iter().filter(|element| element.value().attr(attribute).is_some());
        assert_eq!(holders.count(), 0, "{attribute}");
    }
    for forbidden in ["url(", "@import", "@font-face"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    // The name of the language of drawings is no reference.
    assert_eq!(text.matches("://").count(), text.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(text.contains("name=\"viewport\"") && text.contains("prefers-color-scheme: dark"));
}

#[test]
fn every_drawing_is_well_formed() {
    check_drawings(run(), 2 + 5 + 2 * EDGES);
    check_drawings(training(), 2 + 5);
}

fn check_drawings(run: &Path, count: usize) {
    let text = page_of(run);
    let drawings: Vec<&str> =
        text.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap()).collect();
    assert_eq!(drawings.len(), count);
    for drawing in drawings {
        let drawing = format!("<svg{drawing}</svg>");
        let parsed = roxmltree::Document::parse(&drawing).unwrap();
        let root = parsed.root_element();
        assert!(root.has_attribute("viewBox") && root.has_attribute("aria-label"));
        assert!(!root.has_attribute("width"), "a drawing must take the width that it is given");
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
        // No colour is left that a page by night could not change.
        assert!(!drawing.contains("=\"#"), "{drawing}");
    }
    for kind in load_genotype(run).unwrap().space.cells() {
        let name = format!("cell_{}.svg", kind.name);
        roxmltree::Document::parse(&fs::read_to_string(run.join(name)).unwrap()).unwrap();
    }
}

/// The page of a search in a space names all of its candidates, each with its curves.
fn check_space(given: &str, space: &Space, arguments: &[&str], scratch: &Path) {
    let size = ["--epochs=1", "--init-channels=1", "--batch-size=64", "--device=cpu", "--quiet"];
    printed(scratch, &[&["search", "--space", given, "--out", space.name()], &size[..], arguments].concat());
    let run = scratch.join(space.name());
    let wirings = space.wirings(space.nodes());
    // What a table has of each epoch's genotype is two plots more.
    let of_table = if *space == *Space::nas_bench_201() { 2 } else { 0 };
    let edges = wirings.iter().map(|wiring| wiring.edges.len()).sum::<usize>();
    check_drawings(&run, space.cells().len() + 5 + of_table + edges);
    needs_nothing(&run);
    let text = page_of(&run);
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let legend: BTreeSet<_> =
        all(&page, ".legend.over li").iter().map(|entry| entry.text().collect::<String>()).collect();
    let candidates = space.candidates().iter().map(|operation| operation.name.to_owned()).collect();
    assert_eq!(legend, candidates);
    // One epoch is a point and no line: one for each candidate of each edge.
    let branches: usize = wirings.iter().map(Wiring::len).sum();
    assert_eq!(all(&page, ".edges circle").len(), branches);
    let genotype = load_genotype(&run).unwrap();
    assert_eq!(*genotype.space, *space);
    let kept: usize = genotype.cells.iter().map(|cell| cell.edges().count()).sum();
    assert_eq!([".heat td.kept", ".edges .kept"].map(|kept| all(&page, kept).len()), [kept; 2]);
}

#[test]
fn the_page_shows_a_search_in_any_space() {
    let scratch = tempfile::tempdir().unwrap();
    for space in Space::known() {
        check_space(space.name(), space, &[], scratch.path());
    }
    let text = "nodes = 2\nedges_kept = \"all\"\ncandidates = [\"none\", \"sep_conv_7x7\"]\n\
                [edges.reduce]\n\"2<-1\" = [\"max_pool_3x3\", \"avg_pool_3x3\", \"dil_conv_3x3\"]";
    let own = scratch.path().join("own.toml");
    fs::write(&own, text).unwrap();
    check_space("own.toml", &Space::from_toml(text, &own).unwrap(), &["--order=second"], scratch.path());
}

#[test]
fn the_files_of_a_run_are_enough() {
    let (scratch, copy) = copy();
    let told = printed(scratch.path(), &["report", "run"]);
    assert_eq!(told, "run/report.html\n");
    for file in FILES {
        assert!(fs::read(copy.join(file)).unwrap() == fs::read(run().join(file)).unwrap(), "{file} differs");
    }
    assert_eq!(printed(&copy, &["report", ".", "--quiet"]), "");
    // Without timings there is no throughput, and with some of them no duration in all.
    let shown = || {
        printed(scratch.path(), &["report", "run"]);
        let text = fs::read_to_string(copy.join("report.html")).unwrap();
        [text.matches("images per second</figcaption>").count(), text.matches("<span>in all</span>").count()]
    };
    assert_eq!(shown(), [1, 1]);
    let timings = fs::read_to_string(copy.join("timings.jsonl")).unwrap();
    fs::write(copy.join("timings.jsonl"), timings.lines().next().unwrap().to_owned() + "\nno timing\n")
        .unwrap();
    assert_eq!(shown(), [1, 0]);
    fs::remove_file(copy.join("timings.jsonl")).unwrap();
    assert_eq!(shown(), [0, 0]);
    // What a search that is still running has not finished, and what another version planned, is no obstacle.
    let metrics = fs::read_to_string(copy.join("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = metrics.lines().collect();
    fs::write(copy.join("metrics.jsonl"), format!("{}\n{}", lines[0], &lines[1][..30])).unwrap();
    fs::write(
        copy.join("plan.toml"),
        "data = \"<script>alert('&')</script>\"\norder = \"first\"\nnew = [1, 2]\n",
    )
    .unwrap();
    (2..=3).for_each(|epoch| {
        fs::remove_file(copy.join(format!("alphas/epoch-{epoch:04}.safetensors"))).unwrap()
    });
    printed(scratch.path(), &["report", "run"]);
    let text = fs::read_to_string(copy.join("report.html")).unwrap();
    let page = Html::parse_document(&text);
    assert!(all(&page, "script").is_empty() && page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(all(&page, "h1")[0].text().collect::<String>(), "Search on <script>alert('&')</script>");
    // One epoch is a point and no line.
    assert_eq!(all(&page, ".edges circle").len(), 2 * EDGES * OPERATIONS);
}

#[test]
fn a_run_that_cannot_be_is_refused_with_the_file() {
    let (scratch, copy) = copy();
    let here = scratch.path();
    refused(here, &["report", "absent"], 1, &["absent: no such run directory"]);
    let damage = |file: &str, content: &str, words: &[&str]| {
        let path = copy.join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let words: Vec<&str> = words.iter().copied().chain([file]).collect();
        refused(here, &["report", "run"], 1, &words);
        fs::remove_file(&path).unwrap();
        refused(here, &["report", "run"], 1, &["run"]);
        fs::write(&path, whole).unwrap();
        assert!(!copy.join("report.html").exists(), "{file}");
    };
    damage("plan.toml", "data = ", &[]);
    damage("metrics.jsonl", "", &["holds no epoch"]);
    let metrics = fs::read_to_string(copy.join("metrics.jsonl")).unwrap();
    damage("metrics.jsonl", &format!("{metrics}{{\"epoch\": 4}}\n"), &["line 4", "missing field"]);
    fs::write(copy.join("alphas/epoch-0003.safetensors"), "damaged").unwrap();
    refused(here, &["report", "run"], 1, &["epoch-0003.safetensors", "is not a safetensors file"]);
    refused(here, &["derive", "run"], 1, &["epoch-0003.safetensors", "--epoch 2 takes those before it"]);
    printed(here, &["derive", "run", "--epoch", "2"]);
}

/// A browser, if there is one.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let mut places = std::env::split_paths(&path).flat_map(|place| names.map(|name| place.join(name)));
    places.find(|place| place.is_file())
}

/// Measures the page in the browser and tells the window around it: appended, for the report itself has no scripts.
const MEASURE: &str = "<script>
const root = document.documentElement, texts = [...document.querySelectorAll('svg.cell text')];
const place = element => element.getBoundingClientRect();
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const overlaps = [...document.querySelectorAll('svg.cell')].flatMap(cell => {
  const texts = [...cell.querySelectorAll('text')].map(place);
  return texts.flatMap((a, i) => texts.slice(i + 1).filter(b => meet(a, b)));
});
const wider = [...document.querySelectorAll('svg.cell rect + text')].filter(
  text => place(text).width > place(text.previousElementSibling).width - 4);
const unseen = [...document.querySelectorAll('.sheet img')].filter(
  image => image.naturalWidth === 0 || place(image).width < 30 || place(image).right > innerWidth);
const outside = [...document.querySelectorAll('svg')].map(place).filter(
  box => box.left < 0 || box.right > innerWidth || box.width < 100 || box.height < 50);
parent.postMessage({
  measured: [innerWidth, root.scrollWidth, overlaps.length, wider.length, outside.length, unseen.length].join(' '),
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector('.charts text')).fill,
}, '*');
</script>";

/// A window of any width, which a browser without a screen does not have.
fn window(width: usize) -> String {
    format!(
        "<!DOCTYPE html><html style='color-scheme: light dark'><body>
        <script>onmessage = event => Object.assign(document.documentElement.dataset, event.data);</script>
        <iframe src='page.html' style='border: 0; width: {width}px; height: 900px'></iframe></body></html>"
    )
}

#[test]
fn a_browser_shows_the_page_on_a_desk_and_on_a_telephone_by_day_and_by_night() {
    let Some(browser) = chromium() else { return println!("skipped: there is no Chromium here") };
    check_looks(&browser, run());
    check_looks(&browser, training());
}

/// Ten digits, each as it is and varied twice: a search shifts none of them, a training does.
#[test]
fn the_page_shows_an_image_of_each_class() {
    for (run, images, words) in
        [(run(), 10, "network reads it."), (training(), 30, "shifted by up to 1 pixel")]
    {
        let page = Html::parse_document(&page_of(run));
        assert_eq!(all(&page, ".sheet figure").len(), 10);
        assert_eq!(all(&page, ".sheet img[alt]").len(), images);
        assert!(page.root_element().text().collect::<String>().contains(words), "{words}");
    }
}

fn check_looks(browser: &Path, run: &Path) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("window.html");
    fs::write(scratch.path().join("page.html"), page_of(run) + MEASURE).unwrap();
    let mut looks = Vec::new();
    for (width, scheme) in [(1280, 1), (390, 1), (390, 0)] {
        fs::write(&file, window(width)).unwrap();
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
            .arg(format!("--user-data-dir={}", scratch.path().join("profile").display()))
            .args(["--window-size=1400,1000", "--virtual-time-budget=5000"])
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("file://{}", file.display()))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let page = Html::parse_document(&shown);
        let root = page.root_element();
        let told =
            |name: &str| root.value().attr(name).unwrap_or_else(|| panic!("not shown: {shown}")).to_owned();
        assert_eq!(told("data-measured"), format!("{width} {width} 0 0 0 0"), "at {width} pixels");
        looks.push((told("data-paper"), told("data-ink")));
    }
    assert_eq!(looks[0], looks[1]);
    assert!(looks[0].0 != looks[2].0 && looks[0].1 != looks[2].1, "{looks:?}");
}
