//! A chart that compares the systems, as SVG: pure.

use std::fmt::Write as _;

use super::figures::Measured;

const WIDTH: f64 = 760.0;
/// Where bars begin, after the systems' names.
const LEFT: f64 = 190.0;
/// What the longest bar leaves for its figure.
const RIGHT: f64 = 110.0;
const BAR: f64 = 20.0;
const TITLE: f64 = 34.0;

/// Ours, and the peers. Each is readable on white and on black.
const COLOURS: [&str; 3] = ["#d29922", "#5b8def", "#8b7ec8"];

const PANELS: [(&str, &str, &str); 5] = [
    ("start_pss_mib", "Memory with all guilds cached", "MiB"),
    ("start_cpu_s", "Processor time to start", "s"),
    ("calm_total_p99_ms", "Number of all guilds, 99 % of the calls within", "ms"),
    ("kill_lost", "Events lost when a process is killed", ""),
    ("deploy_lost", "Events lost in a deployment", ""),
];

/// Draws one group of bars for each of the figures.
pub(crate) fn svg(systems: &[(&str, Measured)]) -> String {
    let panel = TITLE + BAR * systems.len() as f64 + 14.0;
    let height = panel * PANELS.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title description\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title id=\"title\">altergolden beside other sharding managers</title>\n\
         <desc id=\"description\">{}</desc>\n\
         <style>text {{ fill: #24292f }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}</style>\n",
        escaped(&description(systems))
    );
    for (place, (name, title, unit)) in PANELS.into_iter().enumerate() {
        bars(&mut out, panel * place as f64, systems, name, title, unit);
    }
    out.push_str("</svg>\n");
    out
}

fn bars(out: &mut String, top: f64, systems: &[(&str, Measured)], name: &str, title: &str, unit: &str) {
    let _ =
        writeln!(out, "<text x=\"8\" y=\"{:.1}\" font-weight=\"bold\">{}</text>", top + 22.0, escaped(title));
    let values = systems.iter().map(|(_, measured)| measured.figures.get(name).copied());
    let most = values.clone().flatten().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for (place, ((system, _), value)) in systems.iter().zip(values).enumerate() {
        let y = top + TITLE + BAR * place as f64;
        let width = value.unwrap_or_default() / most * (WIDTH - LEFT - RIGHT);
        let said = value.map_or_else(|| "failed".to_owned(), |value| said(value, unit));
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{said}</text>",
            LEFT - 8.0,
            y + 14.0,
            escaped(system),
            y + 2.0,
            width.max(1.0),
            BAR - 4.0,
            COLOURS[place % COLOURS.len()],
            LEFT + width + 8.0,
            y + 14.0,
        );
    }
}

fn said(value: f64, unit: &str) -> String {
    let number =
        if value < 10.0 && value.fract() != 0.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!("{number} {unit}").trim_end().to_owned()
}

/// The chart in words.
fn description(systems: &[(&str, Measured)]) -> String {
    let panels = PANELS.into_iter().map(|(name, title, unit)| {
        let values = systems.iter().map(|(system, measured)| {
            let value = measured.figures.get(name);
            format!("{system} {}", value.map_or_else(|| "failed".to_owned(), |value| said(*value, unit)))
        });
        format!("{title}: {}.", values.collect::<Vec<_>>().join(", "))
    });
    panels.collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
