//! Draws the chart of the README as SVG, for light and for dark pages. Each bar shows a ratio: the
//! requests per second of one contender (see `rounds::Contender`), divided by those of the native
//! handler (see `main.rs`).

use std::fmt::Write as _;

use crate::report::Figure;

/// The width of the chart, in pixels.
const WIDTH: usize = 760;
const ROW_HEIGHT: usize = 30;
const FIRST_ROW_Y: usize = 56;
const BAR_X: usize = 290;
/// The width of a bar that shows the ratio 1, in pixels.
const RATIO_1_WIDTH: f64 = 400.0;

const STYLE: &str = "
    text { font: 14px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    .note { font-size: 12px; fill: #59636e; }
    .own { fill: #0969da; }
    .other { fill: #8c959f; }
    .line { stroke: #d1d9e0; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .own { fill: #4493f8; }
      .other { fill: #656c76; }
      .line { stroke: #3d444d; }
    }
";

struct Bar<'f> {
    name: &'f str,
    /// The figure whose median is the length of the bar. A median above 1.1 is drawn as 1.1.
    figure: &'f Figure,
    is_jackfield: bool,
}

/// Draws a chart of the figures whose names end in `/ native` or `/ native KPI`. `jackfield_names`
/// are the names of the bars that show Jackfield.
pub(crate) fn draw_svg(figures: &[Figure], jackfield_names: &[&str]) -> String {
    let bars: Vec<_> = figures
        .iter()
        .filter_map(|figure| {
            let suffixes = [" / native", " / native KPI"];
            let name = suffixes.iter().find_map(|suffix| figure.name.strip_suffix(suffix))?;
            Some(Bar { name, figure, is_jackfield: jackfield_names.contains(&name) })
        })
        .collect();
    let height = FIRST_ROW_Y + bars.len() * ROW_HEIGHT + 24;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Requests per second as a ratio to a native handler</title>\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"0\" y=\"18\">Requests per second, one core, 64 connections</text>\n\
         <text class=\"note\" x=\"0\" y=\"38\">as a ratio to an axum handler that answers the same \
         JSON; the line shows the lowest and highest round</text>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        push_bar(&mut svg, bar, FIRST_ROW_Y + row * ROW_HEIGHT);
    }
    let native = BAR_X as f64 + RATIO_1_WIDTH;
    let bottom = height - 20;
    let _ = writeln!(
        svg,
        "<line class=\"line\" x1=\"{native}\" x2=\"{native}\" y1=\"{FIRST_ROW_Y}\" y2=\"{bottom}\"/>\n\
         <text class=\"note\" x=\"{native}\" y=\"{}\" text-anchor=\"middle\">native = 1</text>\n</svg>",
        height - 6
    );
    svg
}

/// Adds a bar to the chart. `top` is the y coordinate of the bar's row.
fn push_bar(svg: &mut String, bar: &Bar<'_>, top: usize) {
    let (name, figure) = (escape_xml(bar.name), bar.figure);
    let width = |value: f64| value.clamp(0.0, 1.1) * RATIO_1_WIDTH;
    let (class, bold) = if bar.is_jackfield { ("own", " class=\"title\"") } else { ("other", "") };
    let (text_y, middle_y) = (top + 17, top + 12);
    let (low, high) = (BAR_X as f64 + width(figure.low), BAR_X as f64 + width(figure.high));
    let label_x = high.max(BAR_X as f64 + width(figure.median)) + 8.0;
    let _ = writeln!(
        svg,
        "<text{bold} x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text>\n\
         <rect class=\"{class}\" x=\"{BAR_X}\" y=\"{}\" width=\"{:.1}\" height=\"18\" rx=\"3\"/>\n\
         <line stroke=\"#bf8700\" stroke-width=\"2\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle_y}\" \
         y2=\"{middle_y}\"/>\n\
         <text class=\"note\" x=\"{label_x:.1}\" y=\"{text_y}\">{:.2}</text>",
        BAR_X - 10,
        top + 3,
        width(figure.median),
        figure.median
    );
}

fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    #[test]
    fn the_chart_has_a_bar_for_each_ratio_to_native() {
        let figures = [
            Figure::from_rounds("throughput", "create / native", Unit::Ratio, vec![0.2, 0.25, 0.3]),
            Figure::from_rounds("peers", "a < b / native KPI", Unit::Ratio, vec![0.5]),
            Figure::from_rounds("peers", "create / a < b", Unit::Ratio, vec![9.0]),
        ];
        let svg = draw_svg(&figures, &["create"]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("class=\"own\" x=\"290\" y=\"59\" width=\"100.0\""), "{svg}");
        assert!(svg.contains(">a &lt; b</text>"), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"), "{svg}");
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }
}
