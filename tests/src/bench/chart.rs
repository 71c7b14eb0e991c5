//! A chart of two panels as SVG: answered orders per second, and their latency, over offered orders per second.

use std::fmt::Write;

/// What was measured at one rate.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Offered orders per second.
    pub offered: f64,
    /// Answered orders per second.
    pub answered: f64,
    /// The 99th percentile of the latency, in milliseconds since the order was due.
    pub p99: f64,
}

/// A line of the chart.
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its colour.
    pub colour: &'static str,
    /// The points, ordered by the offered rate.
    pub points: Vec<Point>,
}

/// One half of the chart.
struct Panel<'a> {
    left: f64,
    name: &'a str,
    /// The ticks: a height from 0 to 1, and its label.
    ticks: &'a [(f64, String)],
    /// The height of a point, from 0 to 1.
    height: &'a dyn Fn(&Point) -> f64,
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 56.0;
const GAP: f64 = 90.0;

/// The chart as SVG.
pub fn svg(title: &str, series: &[Series]) -> String {
    let (width, tall) = (LEFT * 2.0 + WIDTH * 2.0 + GAP, TOP + HEIGHT + 84.0);
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {tall}' font-family='sans-serif' font-size='12' \
         fill='#333'>\n<rect width='100%' height='100%' fill='white'/>\n<text x='{LEFT}' y='24' \
         font-size='15'>{title}</text>\n"
    );
    let points = || series.iter().flat_map(|series| &series.points);
    let most = points().map(|point| point.offered).fold(1.0, f64::max);
    let answered: Vec<(f64, String)> =
        (0..=4).map(|step| most * f64::from(step) / 4.0).map(|rate| (rate / most, format!("{rate:.0}"))).collect();
    // Latencies range from 1 ms to 10 s, so the scale is logarithmic.
    let latency: Vec<(f64, String)> =
        (0..=4).map(|step| (f64::from(step) / 4.0, format!("{}", 10_u32.pow(step as u32)))).collect();
    let log = |millis: f64| (millis.clamp(1.0, 10_000.0).log10() / 4.0).clamp(0.0, 1.0);
    let right = LEFT + WIDTH + GAP;
    let panels = [
        Panel {
            left: LEFT,
            name: "answered, orders a second",
            ticks: &answered,
            height: &|point| point.answered / most,
        },
        Panel { left: right, name: "p99, milliseconds", ticks: &latency, height: &|point| log(point.p99) },
    ];
    for Panel { left, name, ticks, height: value } in panels {
        let _ = writeln!(out, "<text x='{left}' y='{}'>{name}</text>", TOP - 10.0);
        for (share, label) in ticks {
            let y = TOP + HEIGHT * (1.0 - share);
            let _ = writeln!(
                out,
                "<path d='M{left} {y:.1}h{WIDTH}' stroke='#ddd'/><text x='{}' y='{:.1}' \
                 text-anchor='end'>{label}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        for (share, label) in &answered {
            let x = left + WIDTH * share;
            let _ = writeln!(out, "<text x='{x:.1}' y='{}' text-anchor='middle'>{label}</text>", TOP + HEIGHT + 18.0);
        }
        let offered = "offered, orders a second";
        let _ =
            writeln!(out, "<text x='{}' y='{}' text-anchor='end'>{offered}</text>", left + WIDTH, TOP + HEIGHT + 36.0);
        for series in series {
            let at = |point: &Point| {
                format!("{:.1},{:.1}", left + WIDTH * point.offered / most, TOP + HEIGHT * (1.0 - value(point)))
            };
            let line: Vec<String> = series.points.iter().map(at).collect();
            let colour = series.colour;
            let _ =
                writeln!(out, "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2'/>", line.join(" "));
            for point in line {
                let (x, y) = point.split_once(',').unwrap_or_default();
                let _ = writeln!(out, "<circle cx='{x}' cy='{y}' r='3' fill='{colour}'/>");
            }
        }
    }
    for (index, series) in series.iter().enumerate() {
        let (x, y) = (LEFT + 300.0 * index as f64, TOP + HEIGHT + 62.0);
        let (colour, name) = (series.colour, &series.name);
        let _ = writeln!(
            out,
            "<circle cx='{x}' cy='{y}' r='5' fill='{colour}'/><text x='{}' y='{}'>{name}</text>",
            x + 12.0,
            y + 4.0
        );
    }
    out.push_str("</svg>\n");
    out
}
