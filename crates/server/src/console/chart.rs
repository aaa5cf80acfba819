//! Charts, as SVG. Colours are the style sheet's: a line is drawn in a colour that stands for a class,
//! so that dark and light pages, and people's own styles, decide.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One line of a chart.
pub(super) struct Series<'a> {
    /// What it is, for the legend.
    pub(super) name: &'a str,
    /// Seconds ago (0: now, going up into the past), and the value; `None` is a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// Size, in the units of the view box; the page scales it.
const SIZE: (u32, u32) = (480, 150);
/// Colours that stand for the classes `ink`, `grid` and `line-1`, `line-2`.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(4, 5, 6);
const LINES: [RGBColor; 2] = [RGBColor(7, 8, 9), RGBColor(10, 11, 12)];
const CLASSES: [(&str, &str); 4] =
    [("#010203", "ink"), ("#040506", "grid"), ("#070809", "line-1"), ("#0A0B0C", "line-2")];

/// A chart of the last minutes. `None` when there is nothing to draw yet.
pub(super) fn draw(label: &str, unit: &str, series: &[Series<'_>]) -> Option<String> {
    let values = || series.iter().flat_map(|s| s.points.iter().filter_map(|(_, value)| *value));
    values().next()?;
    let top = nice(values().fold(0.0, f64::max));
    let oldest =
        series.iter().flat_map(|s| s.points.iter().map(|(ago, _)| *ago)).fold(10.0, f64::max);
    let mut svg = String::new();
    render(&mut svg, oldest, top, unit, series).ok()?;
    Some(finish(&svg, &title(label, unit, series)))
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|top| *top >= value)
        .unwrap_or(value)
}

fn render(
    svg: &mut String,
    oldest: f64,
    top: f64,
    unit: &str,
    series: &[Series<'_>],
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let fail = |_| DrawingAreaErrorKind::LayoutError;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(4)
        .margin_right(10)
        .x_label_area_size(22)
        .y_label_area_size(64)
        .build_cartesian_2d((-oldest)..0.0, 0.0..top)
        .map_err(fail)?;
    let font = ("sans-serif", 14).into_font().color(&INK);
    let left = font.clone().pos(Pos::new(HPos::Right, VPos::Center));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(4)
        .y_labels(3)
        .label_style(font)
        .y_label_style(left)
        .x_label_formatter(&|x| ago(-*x))
        .y_label_formatter(&|y| format!("{}{unit}", short(*y)))
        .draw()
        .map_err(fail)?;
    for (series, colour) in series.iter().zip(LINES) {
        for piece in pieces(&series.points) {
            let style = ShapeStyle::from(&colour).stroke_width(2);
            chart.draw_series(LineSeries::new(piece, style)).map_err(fail)?;
        }
    }
    area.present().map_err(fail)
}

/// Unbroken runs of what is known.
fn pieces(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|(_, value)| value.is_none())
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.iter().filter_map(|(ago, value)| Some((-ago, (*value)?))).collect())
        .collect()
}

fn ago(seconds: f64) -> String {
    if seconds < 0.5 {
        "now".to_owned()
    } else if seconds < 120.0 {
        format!("-{seconds:.0} s")
    } else {
        format!("-{:.0} min", seconds / 60.0)
    }
}

fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// What the chart says, in words, for those who do not see it.
fn title(label: &str, unit: &str, series: &[Series<'_>]) -> String {
    let last = |s: &Series<'_>| s.points.iter().rev().find_map(|(_, value)| *value);
    let told = series.iter().filter_map(|s| {
        let value = short(last(s)?);
        Some(if s.name.is_empty() {
            format!("{value}{unit}")
        } else {
            format!("{} {value}{unit}", s.name)
        })
    });
    format!("{label}, last: {}", told.collect::<Vec<_>>().join(", "))
}

/// Colours become classes, the size the page's, and the chart has a name.
fn finish(svg: &str, title: &str) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let mut body = body.to_owned();
    for (colour, class) in CLASSES {
        body = body.replace(&format!("fill=\"{colour}\""), &format!("class=\"fill-{class}\""));
        body = body.replace(&format!("stroke=\"{colour}\""), &format!("class=\"stroke-{class}\""));
    }
    let title = maud::html! { title { (title) } }.into_string();
    let (width, height) = SIZE;
    format!("<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\">{title}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_its_gaps_and_its_name_and_no_colour_of_its_own() {
        let points = vec![
            (30.0, Some(5.0)),
            (20.0, Some(9.0)),
            (10.0, None),
            (5.0, Some(1.0)),
            (0.0, Some(2.0)),
        ];
        let series =
            [Series { name: "p50", points: points.clone() }, Series { name: "p99 <b>", points }];
        let svg = draw("Append latency", " ms", &series).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("stroke-line-1").count(), 2, "a gap in the middle: {svg}");
        assert!(svg.contains("last: p50 2 ms, p99 &lt;b&gt; 2 ms"), "{svg}");
        assert!(!svg.contains("=\"#0"), "{svg}");
        assert!(!svg.contains("style="), "styles in line are refused by the page's policy: {svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(draw("Lag", "", &[Series { name: "", points: vec![(1.0, None)] }]).is_none());
        assert!(draw("Lag", "", &[Series { name: "", points: vec![(1.0, Some(0.0))] }]).is_some());
    }

    #[test]
    fn the_top_of_a_chart_is_a_number_that_people_read() {
        let tops = [0.0, 0.7, 3.0, 99.0, 100.0, 101.0].map(|value| short(nice(value)));
        assert_eq!(tops, ["1", "1", "5", "100", "100", "200"]);
    }
}
