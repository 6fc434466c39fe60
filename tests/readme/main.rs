//! README.md as a reader follows it: its commands, files and programs, in the order of the text and in one directory.
//!
//! Two things differ from what the text says. Runs are smaller, by the flags in [`SMALLER`], and what stands for
//! something of the reader's own is replaced by [`STAND_INS`]. What is not run stands in [`NOT_RUN`], with the reason.

mod blocks;
#[path = "../common/command.rs"]
mod command;
#[path = "../common/digits.rs"]
mod digits;
#[path = "../common/held.rs"]
mod held;
#[path = "../common/onnxruntime.rs"]
mod onnxruntime;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blocks::{Block, Printed, blocks, readme, within_sentences};
use command::text;
use held::{Held, signal};

/// Flags of each command that make it small: the value of the text is replaced, or the flag is added.
const SMALLER: [(&str, &[(&str, &str)]); 2] = [
    (
        "darts search",
        &[
            ("--epochs", "9"),
            ("--init-channels", "4"),
            ("--nodes", "2"),
            ("--batch-size", "32"),
            ("--image-size", "8"),
        ],
    ),
    ("darts train", &[("--epochs", "3"), ("--init-channels", "4"), ("--batch-size", "32")]),
];

/// Words of the text and what the test has in their place.
const STAND_INS: [(&str, &str); 6] = [
    ("--out RUN", "--out runs/again"),
    ("RUN", "runs/search"),
    ("--seed N", "--seed 1"),
    ("--method NAME", "--method fair-darts"),
    ("COMMAND", "search"),
    ("--data fashion-mnist", "--data fashion-mnist:fashion"),
];

/// How lines begin that are not run, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("python3 -m venv nvcc", "it brings a compiler from PyPI; .ci/nvcc does the same"),
    ("NVCC=", "it builds this program, which tests do not"),
    ("DARTS_CUDA_LINEINFO=1", "it builds the benchmarks"),
    ("  Executable", "cargo prints it"),
    ("ncu ", "it needs a GPU and its profiler"),
    ("ncu-ui", "it needs a display"),
];

/// The directory of the reader.
struct Reader(tempfile::TempDir);

#[test]
fn what_the_text_shows_works() {
    let text = readme();
    let reader = Reader::new();
    for block in blocks(&text) {
        println!("README.md, line {}", block.place);
        match &*block.language {
            "python" => programs::run(reader.here(), &block),
            "toml" => reader.write_named(&block),
            "" if block.lines.iter().all(|line| line.starts_with("pictures/")) => reader.write_tree(&block),
            "" => block.commands().iter().for_each(|printed| reader.follow(printed)),
            other => panic!("README.md, line {}: no rule for a block of {other}", block.place),
        }
    }
    within_sentences(&text).iter().for_each(|command| reader.follow_mentioned(command));
}

impl Reader {
    fn new() -> Self {
        let reader = Reader(tempfile::tempdir().unwrap());
        write_idx(&reader.here().join("fashion"), "train", 100);
        write_idx(&reader.here().join("fashion"), "t10k", 30);
        reader
    }

    fn here(&self) -> &Path {
        self.0.path()
    }

    /// A file whose name stands in its first line.
    fn write_named(&self, block: &Block) {
        let name = block.lines[0].strip_prefix("# ").and_then(|first| first.split_whitespace().next());
        let name = name.filter(|name| name.ends_with(".toml"));
        let name =
            name.unwrap_or_else(|| panic!("README.md, line {}: no name such as # own.toml", block.place));
        fs::write(self.here().join(name), block.text()).unwrap();
    }

    /// A command of a block: it works, or is refused as the text says, and prints lines that begin alike.
    fn follow(&self, printed: &Printed) {
        let line = printed.command.split("  #").next().unwrap().trim_end();
        if let Some((_, reason)) = NOT_RUN.iter().find(|(start, _)| printed.command.starts_with(start)) {
            return println!("not run: {line}: {reason}");
        }
        if line.starts_with("cargo ") && !line.starts_with("cargo run ") {
            return check_cargo(line);
        }
        let line = line.replace("cargo run --release --", "darts");
        assert!(line.starts_with("darts "), "no rule for the line {line:?}");
        if let Some(place) = printed.output.iter().position(|line| *line == "^C") {
            return self.interrupt(&line, &printed.output[place + 1..]);
        }
        let refusal = printed.output.first().filter(|line| line.starts_with("darts: "));
        if refusal.is_some_and(|line| line.contains("is damaged")) {
            damage(&newest_checkpoint(&self.here().join("runs/digits")));
        }
        if line.starts_with("darts show genotypes.py:BEST") {
            let genotype = fs::read_to_string(self.here().join("runs/search/genotype.txt")).unwrap();
            fs::write(self.here().join("genotypes.py"), format!("BEST = {genotype}")).unwrap();
        }
        let output = self.run(&smaller(&line));
        let (told, message) = (text(&output.stdout), text(&output.stderr));
        match refusal {
            Some(refusal) => {
                assert!(!output.status.success(), "{line} works");
                assert_eq!(masked(message.trim_end()), masked(refusal));
            }
            None if output.status.success() => check_labels(&line, &printed.output, &told),
            // There may be no GPU, of which a sentence tells.
            None => assert!(
                line.contains("--device cuda") && message.contains("CUDA") && message.lines().count() == 1,
                "{line}: {message}"
            ),
        }
    }

    /// A command in a sentence. Two words name a command, and a flag behind them a flag; what is longer is run.
    fn follow_mentioned(&self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let (name, flag) = match words[..] {
            [_, name] => (name, "--help"),
            [_, name, flag] if flag.starts_with("--") => (name, flag),
            _ => return self.follow(&Printed { command, output: Vec::new() }),
        };
        let output = self.run(&format!("darts {name} --help").replace("COMMAND", "search"));
        assert!(output.status.success() && text(&output.stdout).contains(flag), "darts {name} has no {flag}");
    }

    /// Runs a command line with the binary in the path.
    fn run(&self, line: &str) -> Output {
        println!("$ {line}");
        let binary = Path::new(env!("CARGO_BIN_EXE_darts")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(self.here()).output().unwrap()
    }

    /// A run that Ctrl-C ends says what the text says.
    fn interrupt(&self, line: &str, said: &[&str]) {
        let line = smaller(line);
        let arguments: Vec<&str> = line.split(' ').skip(1).collect();
        let place = arguments[1 + arguments.iter().position(|word| *word == "--out").unwrap()];
        let mut held = Held::start(self.here(), &arguments);
        held.wait_for_epoch(&self.here().join(place));
        signal(&held.child, "-INT");
        let (code, message) = held.let_go();
        assert_eq!(code, Some(130), "{line}: {message}");
        // The text has it within an epoch, and shows what is printed for a reader; a held run prints JSON.
        let (sentence, shown) = said.split_last().unwrap();
        for file in ["genotype.txt", "report.html"].map(|name| self.here().join(place).join(name)) {
            assert!(file.is_file(), "{} is not there", file.display());
        }
        assert!(
            shown.iter().any(|line| line.ends_with(&format!("look at {place}/report.html."))),
            "{said:?}"
        );
        let wanted = sentence.split_once("; ").unwrap();
        assert!(wanted.0.starts_with("darts: interrupted after "), "{said:?}");
        let told = message.trim_end().split_once("; ").unwrap();
        assert!(told.0.starts_with("darts: interrupted after ") && told.1 == wanted.1, "{message}");
    }

    /// The pictures of a directory of one's own, and more beside them.
    fn write_tree(&self, block: &Block) {
        let _ = fs::remove_dir_all(self.here().join("pictures"));
        for (line, digits) in block.lines.iter().zip([0, 1, 0]) {
            let path = self.here().join(line.split("  #").next().unwrap().trim_end());
            let ending = path.extension().unwrap().to_str().unwrap();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            for (number, digit) in digits::digits().filter(|(class, _)| *class == digits).take(40).enumerate()
            {
                let name = if number == 0 {
                    path.clone()
                } else {
                    path.with_extension(format!("{number}.{ending}"))
                };
                digits::picture(digit).save(name).unwrap();
            }
        }
    }
}

/// A command line with the stand-ins and the flags that make it small.
fn smaller(line: &str) -> String {
    let stood_in = STAND_INS.iter().fold(line.to_owned(), |line, (word, ours)| line.replace(word, ours));
    let mut words: Vec<&str> = stood_in.split(' ').collect();
    let sizes = SMALLER.iter().find(|(command, _)| stood_in.starts_with(command));
    let is_new = !words.iter().any(|word| ["--resume", "--help"].contains(word));
    for (flag, value) in sizes.filter(|_| is_new).into_iter().flat_map(|(_, flags)| *flags) {
        match words.iter().position(|word| word == flag) {
            Some(place) => words[place + 1] = value,
            // Images of one size, unless they are pictures.
            None if *flag == "--image-size" => {}
            // Cells of a fixed number of nodes.
            None if *flag == "--nodes" && stood_in.contains("nas-bench-201") => {}
            None => words.extend([flag, value]),
        }
    }
    words.join(" ")
}

/// The first word of each line of the text, its digits as `#`, begins a line that was printed, in the same order.
fn check_labels(line: &str, shown: &[&str], told: &str) {
    let mut rest = told.lines().map(label);
    for wanted in shown.iter().map(|line| label(line)).filter(|label| !is_of_a_drawing(label)) {
        assert!(
            rest.any(|label| label == wanted),
            "{line}: no line begins with {wanted:?} where README.md has one: {told}"
        );
    }
}

/// The letters that a line begins with; of another line its first character, a digit as `#`.
fn label(line: &str) -> String {
    let line = line.trim_start();
    let letters: String = line.chars().take_while(char::is_ascii_alphabetic).collect();
    if letters.is_empty() { masked(&line.chars().take(1).collect::<String>()) } else { letters }
}

/// The lines of a cell depend on its genotype; three points stand for what the text leaves out.
fn is_of_a_drawing(label: &str) -> bool {
    ["k", "node", "│", "."].contains(&label)
}

/// A text with `#` for its numbers, decimal and hexadecimal of eight digits.
fn masked(text: &str) -> String {
    let is_sum = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let end = |letter: char| !letter.is_ascii_alphanumeric();
    let words = text.split_inclusive(end).map(|word| {
        let (body, tail) = word.split_at(word.trim_end_matches(end).len());
        if is_sum(body) { format!("#{tail}") } else { word.to_owned() }
    });
    let mut masked = String::new();
    for letter in words.collect::<String>().chars() {
        match letter {
            '0'..='9' if masked.ends_with('#') => {}
            '0'..='9' => masked.push('#'),
            _ => masked.push(letter),
        }
    }
    masked
}

/// A command of cargo names tests and benchmarks that exist.
fn check_cargo(line: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "--").collect();
    for pair in words.windows(2) {
        let folder = match pair[0] {
            "--test" => "tests",
            "--bench" => "benches",
            _ => continue,
        };
        let places = [format!("{folder}/{}.rs", pair[1]), format!("{folder}/{}/main.rs", pair[1])];
        assert!(places.iter().any(|place| root.join(place).is_file()), "{line}: {places:?} do not exist");
    }
}

fn newest_checkpoint(run: &Path) -> PathBuf {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors")).max().unwrap()
}

/// Flips a bit in the last byte.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Digits as IDX files of 28x28 pixels.
fn write_idx(directory: &Path, part: &str, count: usize) {
    let header = |kind: u8, sides: &[u32]| {
        let sides = sides.iter().flat_map(|side| side.to_be_bytes());
        [0, 0, 8, kind].into_iter().chain(sides).collect::<Vec<u8>>()
    };
    let (mut images, mut labels) = (header(3, &[count as u32, 28, 28]), header(1, &[count as u32]));
    for digit in digits::digits().take(count) {
        labels.push(digit.0);
        let picture = digits::picture(digit);
        images.extend(
            image::imageops::resize(&picture, 28, 28, image::imageops::FilterType::Nearest).into_raw(),
        );
    }
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
    fs::write(directory.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
}
