//! Where the time of a step goes, operator by operator: medians of some replays, forward and backward with weight
//! gradients, in milliseconds.
//!
//! `cargo bench --bench operators -- BATCH SIDE CHANNELS CELLS` (default: 32 8 8 3, the small plan on the digits).

use darts::backend::cpu::Cpu;
use darts::backend::{Device, Gradients, Mode, Shape};
use darts::plan::search::Plan;
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{EdgeShape, Space, SupernetShape};
use std::collections::BTreeMap;
use std::time::Duration;

const REPLAYS: usize = 9;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [batch, side, init_channels, cells] = sizes[..] else { return print(32, 8, 8, 3) };
    print(batch, side, init_channels, cells);
}

fn print(batch: usize, side: usize, init_channels: usize, cells: usize) {
    let images = Shape::new(batch, side, side, 3);
    let shape = SupernetShape {
        space: Space::darts(),
        images,
        classes: 10,
        init_channels,
        cells,
        nodes: 4,
        edges: EdgeShape::default(),
    };
    let cpu = Cpu::new(0).expect("a CPU backend");
    let mut bilevel = Bilevel::new(cpu, shape, BilevelSettings::from(&Plan::paper()), 1).expect("a supernet");
    let labels: Vec<u32> = (0..batch).map(|i| i as u32 % 10).collect();
    bilevel.tape.backend().write_labels(&labels);
    let mut samples: BTreeMap<&str, [Vec<Duration>; 2]> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for replay in 0..=REPLAYS {
        let times = bilevel.tape.time(Mode::Train, Gradients::All);
        if replay == 0 {
            times.iter().for_each(|time| *counts.entry(time.name).or_default() += 1);
            continue;
        }
        let mut sums: BTreeMap<&str, [Duration; 2]> = BTreeMap::new();
        for time in times {
            let [forward, backward] = sums.entry(time.name).or_default();
            *forward += time.forward;
            *backward += time.backward;
        }
        for (name, sums) in sums {
            let entry = samples.entry(name).or_default();
            entry.iter_mut().zip(sums).for_each(|(samples, sum)| samples.push(sum));
        }
    }
    println!("batch {batch}, {side}x{side}, C={init_channels}, {cells} cells");
    println!("{:<16}{:>6}{:>12}{:>12}", "operator", "calls", "forward", "backward");
    let mut totals = [0.0; 2];
    for (name, samples) in &mut samples {
        let [forward, backward] = [0, 1].map(|i| median(&mut samples[i]));
        totals = [totals[0] + forward, totals[1] + backward];
        println!("{name:<16}{:>6}{forward:>12.3}{backward:>12.3}", counts[name]);
    }
    println!("{:<16}{:>6}{:>12.3}{:>12.3}", "all", counts.values().sum::<usize>(), totals[0], totals[1]);
}

fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e3
}
