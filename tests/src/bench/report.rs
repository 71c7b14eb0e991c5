//! Tables of medians over several runs, with minimum and maximum.

/// A figure measured several times.
#[derive(Clone, Debug)]
pub struct Figure(Vec<f64>);

impl Figure {
    /// Measures a figure `times` times.
    pub fn of(times: usize, mut measure: impl FnMut() -> f64) -> Self {
        Self::from((0..times).map(|_| measure()).collect::<Vec<_>>())
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Median, minimum and maximum as text, with `digits` after the decimal point.
    pub fn shown(&self, digits: usize) -> String {
        let (first, last) = (self.0[0], self.0[self.0.len() - 1]);
        format!("{:.digits$} ({first:.digits$} – {last:.digits$})", self.median())
    }
}

impl From<Vec<f64>> for Figure {
    fn from(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a figure is measured at least once");
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

/// A table in Markdown.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row. Prints it to standard error, so that a long run shows its progress.
    pub fn row(&mut self, cells: Vec<String>) {
        eprintln!("| {} |", cells.join(" | "));
        self.add(cells);
    }

    /// Adds a row of a run that shows its progress otherwise.
    pub fn add(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Prints the whole table.
    pub fn print(&self) {
        println!("\n| {} |", self.columns.join(" | "));
        println!("|{}", " --- |".repeat(self.columns.len()));
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// The number of measurements of each figure: `BENCH_RUNS`, by default 3.
pub fn runs() -> usize {
    std::env::var("BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3)
}

/// A count times `BENCH_SCALE`, by default 1.
pub fn scaled(count: usize) -> usize {
    let scale: f64 = std::env::var("BENCH_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1.0);
    ((count as f64 * scale) as usize).max(1)
}

/// The seconds of each measurement whose end is a time and not a count: `BENCH_SECS`, by default 4.
pub fn seconds() -> f64 {
    std::env::var("BENCH_SECS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4.0)
}

/// Whether `BENCH_ONLY` picks what has this name: it lists names, in any case, or is not set.
pub fn wanted(name: &str) -> bool {
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    only.trim().is_empty() || only.split_whitespace().any(|one| one.eq_ignore_ascii_case(name))
}

/// Prints the heading of a report: its name, the day, the machine and the number of runs.
pub fn heading(name: &str) {
    println!("\n{name}, {}; medians of {} runs (least – most)", machine(), runs());
}

/// The day and the machine.
pub fn machine() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown CPU").to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = std::process::Command::new("date").arg("+%F").output().expect("date starts");
    format!("{}: {cores} cores of {model}", String::from_utf8_lossy(&date.stdout).trim())
}
