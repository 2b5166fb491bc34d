//! A chart of CPU time and memory by the number of workers, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 56.0;

/// Numbers of workers, each with a value.
pub(crate) type Line = Vec<(u32, f64)>;

/// Draws both lines, one above the other.
pub(crate) fn svg(cpu_percent: &Line, mib: &Line) -> String {
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n",
        2.0 * HEIGHT
    );
    plot(&mut out, 0.0, "Coordinator: percent of a core, by workers", cpu_percent);
    plot(&mut out, HEIGHT, "Coordinator: resident memory in MiB, by workers", mib);
    out.push_str("</svg>\n");
    out
}

fn plot(out: &mut String, top: f64, title: &str, line: &Line) {
    let most = line.iter().map(|(_, value)| *value).fold(1.0, f64::max) * 1.1;
    let workers = line.iter().map(|(workers, _)| f64::from(*workers)).fold(1.0, f64::max);
    let x = |number: u32| MARGIN + f64::from(number) / workers * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| top + HEIGHT - MARGIN - value / most * (HEIGHT - 2.0 * MARGIN);
    let (left, bottom) = (MARGIN, y(0.0));
    let _ = writeln!(out, "<text x='{left}' y='{}' font-weight='bold'>{title}</text>", top + 24.0);
    let _ = writeln!(
        out,
        "<path d='M{left} {} V{bottom} H{}' fill='none' stroke='#888'/>",
        y(most),
        WIDTH - MARGIN
    );
    let points: Vec<String> =
        line.iter().map(|(number, value)| format!("{:.1},{:.1}", x(*number), y(*value))).collect();
    let _ = writeln!(
        out,
        "<polyline points='{}' fill='none' stroke='#2266bb' stroke-width='2'/>",
        points.join(" ")
    );
    for (number, value) in line {
        let (x, y) = (x(*number), y(*value));
        let _ = writeln!(out, "<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='#2266bb'/>");
        let _ = writeln!(out, "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>{value:.1}</text>", y - 8.0);
        let _ =
            writeln!(out, "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>{number}</text>", bottom + 18.0);
    }
}
