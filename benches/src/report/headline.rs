//! The chart for who sees all this for the first time: one row, a bar for each system, the fastest first.

use super::Report;
use super::svg::{Scale, Svg, length, wrap};
use super::table::machine;
use super::units::{three_digits, time};

const WIDTH: f64 = 820.0;
const MARGIN: f64 = 16.0;
/// Where the scale begins and ends: labels stand left of it, figures right of it.
const SCALE_LEFT: f64 = 265.0;
const SCALE_RIGHT: f64 = 640.0;
/// Where the figures end.
const TIME_RIGHT: f64 = 715.0;
const RATIO_RIGHT: f64 = 800.0;
const BAR_HEIGHT: f64 = 16.0;
const LINE_HEIGHT: f64 = 26.0;
const TOP: f64 = 72.0;
const FOOT_LINE_HEIGHT: f64 = 15.0;
/// Characters of a line of the foot.
const FOOT_CHARACTERS: usize = 118;

const OURS: &str = "#0072b2";
const THEIRS: &str = "#999999";
/// The stripes of figures that others published.
const STRIPES: &str = r##"<defs><pattern id="published" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.5" height="6" fill="#999999"/></pattern></defs>"##;

/// A chart of one row of a report.
#[derive(Clone, Copy, Debug)]
pub struct Headline {
    /// What is done.
    pub title: &'static str,
    /// Name of the row that has the measured figures. The ratios are to its first contestant.
    pub row: &'static str,
    /// Its bars; those whose contestant was not measured are left out.
    pub bars: &'static [Bar],
}

/// A bar of a [`Headline`].
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// How a newcomer knows it.
    pub label: &'static str,
    /// How long it takes.
    pub figure: Figure,
}

/// Where the figure of a [`Bar`] is from.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// The p50 of one of our own contestants of the row, by its name.
    Ours(&'static str),
    /// The p50 of a rival of the row, by its name.
    Theirs(&'static str),
    /// Nothing was measured: somebody published it.
    Published {
        /// The figure.
        ns: u64,
        /// Who published what and where.
        source: &'static str,
    },
}

/// The chart, or `None` if the row was not measured.
pub(super) fn render(report: &Report, headline: &Headline) -> Option<String> {
    let row = report.rows.iter().find(|row| row.subject.name == headline.row)?;
    let measured = |name: &str| {
        let found = row.contestants.iter().find(|contestant| contestant.name == name)?;
        Some(found.latency?.p50_ns)
    };
    let first = row.contestants.first()?.latency?.p50_ns.max(1);
    let with_time = |bar: &Bar| match bar.figure {
        Figure::Ours(name) | Figure::Theirs(name) => Some((*bar, measured(name)?)),
        Figure::Published { ns, .. } => Some((*bar, ns)),
    };
    let mut bars: Vec<(Bar, u64)> = headline.bars.iter().filter_map(with_time).collect();
    bars.sort_by_key(|(_, ns)| *ns);

    let scale = Scale::of(bars.iter().map(|(_, ns)| *ns), SCALE_LEFT, SCALE_RIGHT);
    let bottom = TOP + 6.0 + length(bars.len()) * LINE_HEIGHT;
    let foot: Vec<String> = foot(report, &bars).iter().flat_map(|line| wrap(line, FOOT_CHARACTERS)).collect();
    let height = bottom + MARGIN + length(foot.len()) * FOOT_LINE_HEIGHT + 8.0;
    let mut svg = Svg::new(WIDTH, height, headline.title);
    svg.push(format_args!("{STRIPES}"));
    svg.text("title", MARGIN, 26.0, "start", headline.title);
    svg.text("faint", MARGIN, 45.0, "start", &legend(headline, row.contestants.first()?.name));
    svg.grid(&scale, TOP, bottom);
    for (number, (bar, ns)) in bars.iter().enumerate() {
        let middle = TOP + 6.0 + (length(number) + 0.5) * LINE_HEIGHT;
        draw(&mut svg, &scale, middle, bar, *ns, first);
    }
    svg.lines(MARGIN, bottom + MARGIN + 4.0, FOOT_LINE_HEIGHT, &foot);
    Some(svg.end())
}

#[expect(clippy::cast_precision_loss, reason = "a place on the page, and three digits")]
fn draw(svg: &mut Svg, scale: &Scale, middle: f64, bar: &Bar, ns: u64, first: u64) {
    let (fill, class, label) = match bar.figure {
        Figure::Ours(_) => (OURS, "bar", "heading"),
        Figure::Theirs(_) => (THEIRS, "bar", "name"),
        Figure::Published { .. } => ("url(#published)", "outline", "name"),
    };
    svg.text(label, SCALE_LEFT - 8.0, middle + 4.0, "end", bar.label);
    let (top, width) = (middle - BAR_HEIGHT / 2.0, (scale.x(ns as f64) - SCALE_LEFT).max(1.0));
    svg.push(format_args!(
        r#"<rect class="{class}" x="{SCALE_LEFT}" y="{top:.1}" width="{width:.1}" height="{BAR_HEIGHT}" rx="2" fill="{fill}"/>"#
    ));
    svg.text(label, TIME_RIGHT, middle + 4.0, "end", &time(ns));
    let ratio = format!("× {}", three_digits(ns as f64 / first as f64));
    svg.text(label, RATIO_RIGHT, middle + 4.0, "end", &ratio);
}

fn legend(headline: &Headline, first: &str) -> String {
    let is_first =
        |bar: &&Bar| matches!(bar.figure, Figure::Ours(name) | Figure::Theirs(name) if name == first);
    let first = headline.bars.iter().find(is_first).map_or(first, |bar| bar.label);
    format!(
        "median time: shorter is faster, each line of the grid is ten times the one before; ×: compared with {first}"
    )
}

fn foot(report: &Report, bars: &[(Bar, u64)]) -> Vec<String> {
    let rows = report.settings.iter().find(|(name, _)| name == "rows").map_or("?", |(_, rows)| rows);
    let machine = machine(&report.machine);
    let mut lines = vec![format!("Measured in one run, in turns, {rows} rows: {machine}.")];
    lines.extend(bars.iter().filter_map(|(bar, _)| match bar.figure {
        Figure::Published { source, .. } => Some(format!("Striped, not measured here: {source}")),
        _ => None,
    }));
    if report.quick {
        lines.push("A quick trial run: these figures say nothing about speed.".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::svg::tests::assert_closed;
    use super::super::tests::sample;
    use super::*;

    const HEADLINE: Headline = Headline {
        title: "A <lookup>",
        row: "get",
        bars: &[
            Bar {
                label: "a vendor's",
                figure: Figure::Published { ns: 900_000, source: "A vendor said so." },
            },
            Bar { label: "rival", figure: Figure::Theirs("<theirs>") },
            Bar { label: "not installed", figure: Figure::Theirs("neither") },
            Bar { label: "we", figure: Figure::Ours("ours") },
        ],
    };

    #[test]
    fn bars_are_in_the_order_of_their_times_and_absent_contestants_have_none() {
        let svg = render(&sample(), &HEADLINE).unwrap();
        assert_closed(&svg);
        let places = [">we<", ">rival<", ">a vendor&apos;s<"].map(|label| svg.find(label).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert!(!svg.contains("not installed"));
        assert!(svg.contains(">6.12 µs<") && svg.contains(">× 15.3<") && svg.contains(">× 2250<"));
    }

    #[test]
    fn published_figures_look_different_and_name_their_source() {
        let svg = render(&sample(), &HEADLINE).unwrap();
        assert_eq!(svg.matches(r#"fill="url(#published)""#).count(), 1);
        assert!(svg.contains("not measured here: A vendor said so."));
        assert!(svg.contains("compared with we<") && svg.contains("in turns, 1000000 rows: "));
    }

    #[test]
    fn a_row_that_was_not_measured_has_no_chart_and_a_trial_run_says_so() {
        let mut report = sample();
        assert!(render(&report, &Headline { row: "scan", ..HEADLINE }).is_none());
        report.quick = true;
        assert!(render(&report, &HEADLINE).unwrap().contains("A quick trial run"));
    }
}
