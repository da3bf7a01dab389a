//! Draws the chart of the README as SVG, for light and dark pages. It has one bar for each ratio to
//! the native handler.

use std::fmt::Write as _;

use crate::report::Figure;

const WIDTH: usize = 760;
const ROW_HEIGHT: usize = 30;
/// The position of the first row.
const TOP: usize = 56;
/// The position at which the bars begin.
const LEFT: usize = 290;
/// The width of a bar for the ratio 1.
const FULL_WIDTH: f64 = 400.0;

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

/// One bar of the chart.
struct Bar<'f> {
    name: &'f str,
    figure: &'f Figure,
    /// Whether the bar shows Jackfield, not a peer.
    is_own: bool,
}

/// Draws a chart of the figures whose names end in `/ native` or `/ native KPI`. `own_names` are
/// the names of the bars that show Jackfield.
pub(crate) fn svg(figures: &[Figure], own_names: &[&str]) -> String {
    let bars: Vec<_> = figures
        .iter()
        .filter_map(|figure| {
            let suffixes = [" / native", " / native KPI"];
            let name = suffixes.iter().find_map(|suffix| figure.name.strip_suffix(suffix))?;
            Some(Bar { name, figure, is_own: own_names.contains(&name) })
        })
        .collect();
    let height = TOP + bars.len() * ROW_HEIGHT + 24;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Requests per second as a ratio to a native handler</title>\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"0\" y=\"18\">Requests per second, one core, 64 connections</text>\n\
         <text class=\"note\" x=\"0\" y=\"38\">as a ratio to an axum handler that answers the same \
         JSON; the line shows the lowest and highest round</text>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        push_bar(&mut svg, bar, TOP + row * ROW_HEIGHT);
    }
    let native = LEFT as f64 + FULL_WIDTH;
    let bottom = height - 20;
    let _ = writeln!(
        svg,
        "<line class=\"line\" x1=\"{native}\" x2=\"{native}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\n\
         <text class=\"note\" x=\"{native}\" y=\"{}\" text-anchor=\"middle\">native = 1</text>\n</svg>",
        height - 6
    );
    svg
}

fn push_bar(svg: &mut String, bar: &Bar<'_>, top: usize) {
    let (name, figure) = (escape_xml(bar.name), bar.figure);
    let width = |value: f64| value.clamp(0.0, 1.1) * FULL_WIDTH;
    let (class, bold) = if bar.is_own { ("own", " class=\"title\"") } else { ("other", "") };
    let (text_y, middle_y) = (top + 17, top + 12);
    let (low, high) = (LEFT as f64 + width(figure.low), LEFT as f64 + width(figure.high));
    let label_x = high.max(LEFT as f64 + width(figure.median)) + 8.0;
    let _ = writeln!(
        svg,
        "<text{bold} x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text>\n\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"18\" rx=\"3\"/>\n\
         <line stroke=\"#bf8700\" stroke-width=\"2\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle_y}\" \
         y2=\"{middle_y}\"/>\n\
         <text class=\"note\" x=\"{label_x:.1}\" y=\"{text_y}\">{:.2}</text>",
        LEFT - 10,
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
            Figure::of("throughput", "create / native", Unit::Ratio, vec![0.2, 0.25, 0.3]),
            Figure::of("peers", "a < b / native KPI", Unit::Ratio, vec![0.5]),
            Figure::of("peers", "create / a < b", Unit::Ratio, vec![9.0]),
        ];
        let svg = svg(&figures, &["create"]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("class=\"own\" x=\"290\" y=\"59\" width=\"100.0\""), "{svg}");
        assert!(svg.contains(">a &lt; b</text>"), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"), "{svg}");
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }
}
