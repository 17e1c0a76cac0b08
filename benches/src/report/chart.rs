//! The chart: horizontal bars on one logarithmic scale, as SVG.

use std::fmt::Write;

use super::Report;
use super::table::{describe, goal};
use super::units::{three_digits, time};
use crate::harness::Latency;

const WIDTH: f64 = 1000.0;
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
const FOOT_CHARACTERS: usize = 150;

/// Colours of contestants in the order in which they appear. Readers who confuse red and green can distinguish them
/// too.
const COLOURS: [&str; 8] =
    ["#0072b2", "#56b4e9", "#009e73", "#999999", "#e69f00", "#d55e00", "#cc79a7", "#c9b900"];

/// Colours that follow the reader's theme.
const STYLE: &str = "
    .page { fill: #ffffff }
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .heading { font-weight: 600 }
    .faint { font-size: 11px; font-weight: 400; fill: #59636e }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    .whisker { stroke: #59636e; stroke-width: 1.5; fill: none }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 }
      text { fill: #f0f6fc }
      .faint { fill: #9198a1 }
      .grid { stroke: #3d444d }
      .whisker { stroke: #9198a1 }
    }
  ";

pub(super) fn render(report: &Report) -> String {
    let scale = Scale::of(report);
    let lines: usize = report.rows.iter().map(|row| row.contestants.len()).sum();
    let bars_height = length(report.rows.len()) * HEADING_HEIGHT + length(lines) * LINE_HEIGHT;
    let foot: Vec<String> = describe(report).iter().flat_map(|line| wrap(line, FOOT_CHARACTERS)).collect();
    let height = TOP + bars_height + MARGIN + length(foot.len() + 1) * FOOT_LINE_HEIGHT;

    let mut svg = Svg::default();
    svg.push(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">"#
    ));
    svg.push(format_args!("<title>{}</title>", escape(&report.title)));
    svg.push(format_args!("<style>{STYLE}</style>"));
    svg.push(format_args!(r#"<rect class="page" width="{WIDTH}" height="{height}"/>"#));
    svg.text("title", MARGIN, 26.0, "start", &report.title);
    svg.text(
        "faint",
        MARGIN,
        44.0,
        "start",
        "bar: p50, line: p99; shorter is faster; the scale is logarithmic; at the right p50, its ratio to the first bar, and goals",
    );
    for power in scale.low..=scale.high {
        let (x, label) = (scale.x(10_f64.powi(power)), power_of_ten(power));
        svg.push(format_args!(
            r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{:.1}"/>"#,
            TOP + bars_height
        ));
        svg.text("faint", x, TOP - 4.0, "middle", &label);
    }
    let mut names: Vec<&str> = Vec::new();
    let mut y = TOP;
    for row in &report.rows {
        y += HEADING_HEIGHT;
        svg.heading(y - 6.0, row.subject.name, row.subject.state);
        for contestant in &row.contestants {
            let colour = names.iter().position(|name| *name == contestant.name).unwrap_or_else(|| {
                names.push(contestant.name);
                names.len() - 1
            });
            let middle = y + LINE_HEIGHT / 2.0;
            svg.text("name", SCALE_LEFT - 8.0, middle + 4.0, "end", contestant.name);
            match contestant.latency {
                Some(latency) => {
                    svg.bar(&scale, middle, COLOURS[colour % COLOURS.len()], latency);
                    if let Some(reached) = &contestant.goal {
                        svg.text("faint", GOAL_LEFT, middle + 4.0, "start", &goal(reached));
                    }
                }
                None => svg.text("faint", SCALE_LEFT + 4.0, middle + 4.0, "start", "no such operation"),
            }
            y += LINE_HEIGHT;
        }
    }
    for (number, line) in foot.iter().enumerate() {
        let y = TOP + bars_height + MARGIN + length(number + 1) * FOOT_LINE_HEIGHT;
        svg.text("faint", MARGIN, y, "start", line);
    }
    svg.push(format_args!("</svg>"));
    svg.text
}

/// Powers of ten of nanoseconds that the bars span.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(report: &Report) -> Self {
        let latencies = || report.rows.iter().flat_map(|row| &row.contestants).filter_map(|one| one.latency);
        let low = latencies().map(|latency| latency.p50_ns).min().unwrap_or(1).max(1);
        let high = latencies().map(|latency| latency.p99_ns).max().unwrap_or(1).max(1);
        // The scale begins below the shortest time, so that its bar is visible.
        let low_power = low.ilog10().cast_signed() - i32::from(is_power_of_ten(low));
        let high_power = high.ilog10().cast_signed() + i32::from(!is_power_of_ten(high));
        Self { low: low_power.max(0), high: high_power.max(low_power + 1).max(1) }
    }

    fn x(&self, ns: f64) -> f64 {
        let share = (ns.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        SCALE_LEFT + share.clamp(0.0, 1.0) * (SCALE_RIGHT - SCALE_LEFT)
    }
}

/// A time of a power of ten of nanoseconds, written out.
fn power_of_ten(power: i32) -> String {
    let unit = ["ns", "µs", "ms", "s"].get(power.unsigned_abs() as usize / 3).unwrap_or(&"000 s");
    format!("{} {unit}", 10_u64.pow(power.unsigned_abs() % 3))
}

fn is_power_of_ten(number: u64) -> bool {
    10_u64.pow(number.ilog10()) == number
}

#[derive(Default)]
struct Svg {
    text: String,
}

impl Svg {
    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{element}");
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        self.push(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    fn heading(&mut self, y: f64, heading: &str, state: &str) {
        let (heading, state) = (escape(heading), escape(state));
        self.push(format_args!(
            r#"<text class="heading" x="{MARGIN}" y="{y:.1}">{heading} <tspan class="faint" dx="6">{state}</tspan></text>"#
        ));
    }

    fn bar(&mut self, scale: &Scale, middle: f64, colour: &str, latency: Latency) {
        #[expect(clippy::cast_precision_loss, reason = "a place on the page")]
        let (p50, p99) = (scale.x(latency.p50_ns as f64), scale.x(latency.p99_ns as f64));
        let (top, width) = (middle - BAR_HEIGHT / 2.0, (p50 - SCALE_LEFT).max(1.0));
        self.push(format_args!(
            r#"<rect x="{SCALE_LEFT}" y="{top:.1}" width="{width:.1}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>"#
        ));
        let (low, high) = (middle - 3.0, middle + 3.0);
        self.push(format_args!(
            r#"<path class="whisker" d="M{p50:.1} {middle:.1}H{p99:.1}M{p99:.1} {low:.1}V{high:.1}"/>"#
        ));
        self.text("value", TIME_RIGHT, middle + 4.0, "end", &time(latency.p50_ns));
        self.text("value", RATIO_RIGHT, middle + 4.0, "end", &format!("× {}", three_digits(latency.ratio)));
    }
}

/// Text, escaped for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // XML has no way to write other control characters.
            '\t' | '\n' => escaped.push(' '),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

/// Breaks a line between words.
fn wrap(line: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= characters => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "a place on the page")]
fn length(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b> & \"c\" 'd'\n\u{1}e"), "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos; e");
        let svg = render(&sample());
        assert!(svg.contains("Ours &amp; &lt;theirs&gt;</title>"));
        assert!(!svg.contains("<theirs>"));
        assert!(svg.contains("warm, &quot;random&quot; keys"));
    }

    #[test]
    fn every_element_is_closed() {
        let svg = render(&sample());
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => assert_eq!(open.pop(), Some(name), "in {tag}"),
                (false, false) => open.push(name),
                (false, true) => {}
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn the_scale_spans_all_latencies_and_is_logarithmic() {
        // p50 from 400 ns, p99 up to 12.2 µs.
        let scale = Scale::of(&sample());
        assert_eq!((scale.low, scale.high), (2, 5));
        let step = |from: f64| scale.x(from * 10.0) - scale.x(from);
        assert!((step(100.0) - step(1000.0)).abs() < 1e-9 && step(100.0) > 0.0);
        assert!((scale.x(1e5) - SCALE_RIGHT).abs() < 1e-9);
    }

    #[test]
    fn marks_of_the_scale_have_units() {
        assert_eq!([2, 3, 7, 9].map(power_of_ten), ["100 ns", "1 µs", "10 ms", "1 s"]);
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
    fn an_empty_report_is_a_chart_too() {
        let mut report = sample();
        report.rows.clear();
        assert!(!render(&report).contains("NaN"));
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
    }
}
