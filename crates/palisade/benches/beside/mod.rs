//! Two programs beside each other, Palisade's and the one in C. Each time is of a fresh process, taken in it. The two
//! take turns, and the ratio is the median of the rounds' ratios, so that a busy machine disturbs it little.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

const WARM_UP: usize = 5;

/// Medians of the times of both, in µs, and of their ratio, with its quartiles.
pub struct Beside {
    pub palisade: f64,
    pub c: f64,
    pub ratio: f64,
    pub quartiles: [f64; 2],
}

pub fn compare(palisade: &mut Command, c: &mut Command, rounds: usize) -> Beside {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds + WARM_UP {
        let (a, b) = if round % 2 == 0 {
            let a = time(palisade);
            (a, time(c))
        } else {
            let b = time(c);
            (time(palisade), b)
        };
        if round >= WARM_UP {
            for (all, one) in times.iter_mut().zip([a, b, a / b]) {
                all.push(one);
            }
        }
    }
    times.iter_mut().for_each(|all| all.sort_by(f64::total_cmp));
    let [a, b, ratios] = &times;
    let at = |all: &[f64], part: f64| all[(all.len() as f64 * part) as usize];
    Beside {
        palisade: at(a, 0.5) / 1000.0,
        c: at(b, 0.5) / 1000.0,
        ratio: at(ratios, 0.5),
        quartiles: [at(ratios, 0.25), at(ratios, 0.75)],
    }
}

/// What a process says of its own time, in nanoseconds.
fn time(command: &mut Command) -> f64 {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Distinct directories, three levels down, and the file that lists them, one a line.
pub fn directories(temp: &Path, n: usize) -> PathBuf {
    let mut list = String::new();
    for i in 0..n {
        let path = temp.join(format!("{n}/{}/{}/{}", i / 100, i / 10 % 10, i % 10));
        fs::create_dir_all(&path).unwrap();
        list.push_str(&format!("{}\n", path.display()));
    }
    let file = temp.join(format!("{n}.txt"));
    fs::write(&file, list).unwrap();
    file
}

/// The paths in such a file.
pub fn paths(list: &Path) -> Vec<String> {
    BufReader::new(File::open(list).unwrap()).lines().collect::<Result<_, _>>().unwrap()
}
