//! The chart: horizontal bars on one logarithmic scale, as SVG.

use super::Report;
use super::svg::{Scale, Svg, escape, faint_width, heading_width, length, wrap};
use super::table::{describe, goal};
use super::units::{three_digits, time};
use crate::harness::{Latency, Measured};

/// Width of the image; wider where a text needs it.
const WIDTH_MIN: f64 = 1000.0;
const MARGIN: f64 = 16.0;
/// Where the scale begins and ends: names are left of it, figures right of it.
const SCALE_LEFT: f64 = 230.0;
const SCALE_RIGHT: f64 = 560.0;
/// Where the figures end.
const TIME_RIGHT: f64 = 640.0;
const RATIO_RIGHT: f64 = 720.0;
/// Where goals begin.
const GOAL_LEFT: f64 = 736.0;
const BAR_HEIGHT: f64 = 12.0;
const LINE_HEIGHT: f64 = 18.0;
const HEADING_HEIGHT: f64 = 26.0;
const TOP: f64 = 62.0;
const FOOT_LINE_HEIGHT: f64 = 14.0;
/// Characters of a line of the foot.
const FOOT_CHARACTERS: usize = 145;
/// Between a heading and what stands beside it.
const HEADING_GAP: f64 = 6.0;

const LEGEND: &str = "bar: p50, line: p99; shorter is faster; the scale is logarithmic; at the right p50, its ratio to the first bar, and goals";

/// Colours of contestants in the order in which they appear; as far apart for readers who confuse red and green.
const COLOURS: [&str; 12] = [
    "#0072b2", "#56b4e9", "#009e73", "#999999", "#e69f00", "#d55e00", "#cc79a7", "#c9b900", "#332288",
    "#44aa99", "#882255", "#661100",
];

pub(super) fn render(report: &Report) -> String {
    let lines = || report.rows.iter().flat_map(|row| &row.contestants);
    let times = lines().filter_map(|one| one.latency).flat_map(|latency| [latency.p50_ns, latency.p99_ns]);
    let scale = Scale::of(times, SCALE_LEFT, SCALE_RIGHT);
    let bars_height = length(report.rows.len()) * HEADING_HEIGHT + length(lines().count()) * LINE_HEIGHT;
    let foot: Vec<String> = describe(report).iter().flat_map(|line| wrap(line, FOOT_CHARACTERS)).collect();
    let height = TOP + bars_height + MARGIN + length(foot.len() + 1) * FOOT_LINE_HEIGHT;

    let mut svg = Svg::new(width(report), height, &report.title);
    svg.text("title", MARGIN, 26.0, "start", &report.title);
    svg.text("faint", MARGIN, 44.0, "start", LEGEND);
    svg.grid(&scale, TOP, TOP + bars_height);
    let mut names: Vec<&str> = Vec::new();
    let mut y = TOP;
    for row in &report.rows {
        y += HEADING_HEIGHT;
        heading(&mut svg, y - 6.0, row);
        for contestant in &row.contestants {
            // The same system in another mode has the same colour.
            let name = contestant.name.split(',').next().unwrap_or_default();
            let colour = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            let middle = y + LINE_HEIGHT / 2.0;
            svg.text("name", SCALE_LEFT - 8.0, middle + 4.0, "end", contestant.name);
            match contestant.latency {
                Some(latency) => {
                    bar(&mut svg, &scale, middle, COLOURS[colour % COLOURS.len()], latency);
                    if let Some(reached) = &contestant.goal {
                        svg.text("faint", GOAL_LEFT, middle + 4.0, "start", &goal(reached));
                    }
                }
                None => svg.text("faint", SCALE_LEFT + 4.0, middle + 4.0, "start", "no such operation"),
            }
            y += LINE_HEIGHT;
        }
    }
    svg.lines(MARGIN, TOP + bars_height + MARGIN + FOOT_LINE_HEIGHT, FOOT_LINE_HEIGHT, &foot);
    svg.end()
}

/// Room for the longest goal and the longest heading.
fn width(report: &Report) -> f64 {
    let goals = report.rows.iter().flat_map(|row| &row.contestants).filter_map(|one| one.goal.as_ref());
    let goals = goals.map(|reached| GOAL_LEFT + faint_width(&goal(reached)));
    let headings = report.rows.iter().map(|row| {
        MARGIN + heading_width(row.subject.name) + 2.0 * HEADING_GAP + faint_width(row.subject.state)
    });
    goals.chain(headings).map(|right| (right + MARGIN).ceil()).fold(WIDTH_MIN, f64::max)
}

fn heading(svg: &mut Svg, y: f64, row: &Measured) {
    let (heading, state) = (escape(row.subject.name), escape(row.subject.state));
    svg.push(format_args!(
        r#"<text class="heading" x="{MARGIN}" y="{y:.1}">{heading} <tspan class="faint" dx="{HEADING_GAP}">{state}</tspan></text>"#
    ));
}

fn bar(svg: &mut Svg, scale: &Scale, middle: f64, colour: &str, latency: Latency) {
    #[expect(clippy::cast_precision_loss, reason = "a place on the page")]
    let (p50, p99) = (scale.x(latency.p50_ns as f64), scale.x(latency.p99_ns as f64));
    let (top, width) = (middle - BAR_HEIGHT / 2.0, (p50 - SCALE_LEFT).max(1.0));
    svg.push(format_args!(
        r#"<rect x="{SCALE_LEFT}" y="{top:.1}" width="{width:.1}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>"#
    ));
    let (low, high) = (middle - 3.0, middle + 3.0);
    svg.push(format_args!(
        r#"<path class="whisker" d="M{p50:.1} {middle:.1}H{p99:.1}M{p99:.1} {low:.1}V{high:.1}"/>"#
    ));
    svg.text("value", TIME_RIGHT, middle + 4.0, "end", &time(latency.p50_ns));
    svg.text("value", RATIO_RIGHT, middle + 4.0, "end", &format!("× {}", three_digits(latency.ratio)));
}

#[cfg(test)]
mod tests {
    use super::super::svg::tests::assert_closed;
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn names_are_escaped_and_every_element_is_closed() {
        let svg = render(&sample());
        assert!(svg.contains("Ours &amp; &lt;theirs&gt;</title>"));
        assert!(!svg.contains("<theirs>"));
        assert!(svg.contains("warm, &quot;random&quot; keys"));
        assert_closed(&svg);
    }

    #[test]
    fn a_bar_says_its_time_and_ratio_and_an_empty_cell_has_no_bar() {
        let svg = render(&sample());
        assert!(svg.contains(">6.12 µs</text>") && svg.contains(">× 15.3</text>"));
        assert!(svg.contains(">missed: 15.3 × ours, at most 10.0</text>"));
        assert_eq!(svg.matches("rx=\"2\"").count(), 2);
        assert!(svg.contains("no such operation"));
    }

    #[test]
    fn the_image_is_as_wide_as_its_longest_goal_and_heading() {
        let mut report = sample();
        let is_as_wide = |svg: &str, width: f64| svg.contains(&format!(r#"viewBox="0 0 {width} "#));
        assert!(is_as_wide(&render(&report), WIDTH_MIN));
        let reached = report.rows[0].contestants[1].goal.as_mut().unwrap();
        reached.to = Some("a round trip whose ends are on one processor");
        let goal = goal(report.rows[0].contestants[1].goal.as_ref().unwrap());
        let needed = (GOAL_LEFT + faint_width(&goal) + MARGIN).ceil();
        assert!(needed > WIDTH_MIN && is_as_wide(&render(&report), needed), "{needed}");
        report.rows[0].subject.state = "x".repeat(300).leak();
        assert!(width(&report) > 300.0 * 6.0);
    }

    #[test]
    fn an_empty_report_is_a_chart_too() {
        let mut report = sample();
        report.rows.clear();
        assert!(!render(&report).contains("NaN"));
    }
}
