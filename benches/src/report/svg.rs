//! What charts are drawn with: elements, text and its width, a logarithmic scale.

use std::fmt::Write;

/// Colours that follow the reader's theme.
pub(super) const STYLE: &str = "
    .page { fill: #ffffff }
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .heading { font-weight: 600 }
    .faint { font-size: 11px; font-weight: 400; fill: #59636e }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    .whisker { stroke: #59636e; stroke-width: 1.5; fill: none }
    .outline { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 3 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 }
      text { fill: #f0f6fc }
      .faint { fill: #9198a1 }
      .grid { stroke: #3d444d }
      .whisker { stroke: #9198a1 }
      .outline { stroke: #9198a1 }
    }
  ";

/// Width of a character of a faint text and of a heading, by its pixels: that of wide fonts, because the reader's is
/// not known.
const FAINT_CHARACTER: f64 = 6.6;
const HEADING_CHARACTER: f64 = 7.8;

/// The text of an image.
#[derive(Default)]
pub(super) struct Svg {
    pub(super) text: String,
}

impl Svg {
    /// An image with a title and a page behind everything.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self::default();
        svg.push(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">"#
        ));
        svg.push(format_args!("<title>{}</title>", escape(title)));
        svg.push(format_args!("<style>{STYLE}</style>"));
        svg.push(format_args!(r#"<rect class="page" width="{width}" height="{height}"/>"#));
        svg
    }

    pub(super) fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{element}");
    }

    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        self.push(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// The marks of a scale, from `top` to `bottom`.
    pub(super) fn grid(&mut self, scale: &Scale, top: f64, bottom: f64) {
        for power in scale.low..=scale.high {
            let (x, label) = (scale.x(10_f64.powi(power)), power_of_ten(power));
            self.push(format_args!(
                r#"<line class="grid" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom:.1}"/>"#
            ));
            self.text("faint", x, top - 4.0, "middle", &label);
        }
    }

    /// Lines of faint text below each other; the first ends at `y`.
    pub(super) fn lines(&mut self, x: f64, y: f64, height: f64, lines: &[String]) {
        for (number, line) in lines.iter().enumerate() {
            self.text("faint", x, y + length(number) * height, "start", line);
        }
    }

    /// The whole image.
    pub(super) fn end(mut self) -> String {
        self.push(format_args!("</svg>"));
        self.text
    }
}

/// Powers of ten of nanoseconds, from `left` to `right`.
pub(super) struct Scale {
    pub(super) low: i32,
    pub(super) high: i32,
    left: f64,
    right: f64,
}

impl Scale {
    /// A scale that spans some nanoseconds.
    pub(super) fn of(ns: impl Iterator<Item = u64> + Clone, left: f64, right: f64) -> Self {
        let (low, high) = (ns.clone().min().unwrap_or(1).max(1), ns.max().unwrap_or(1).max(1));
        // A bar of the shortest time is still seen: the scale begins below it.
        let low_power = low.ilog10().cast_signed() - i32::from(is_power_of_ten(low));
        let high_power = high.ilog10().cast_signed() + i32::from(!is_power_of_ten(high));
        Self { low: low_power.max(0), high: high_power.max(low_power + 1).max(1), left, right }
    }

    pub(super) fn x(&self, ns: f64) -> f64 {
        let share = (ns.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
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

/// Room that a faint text takes at most.
pub(super) fn faint_width(text: &str) -> f64 {
    length(text.chars().count()) * FAINT_CHARACTER
}

/// Room that a heading takes at most.
pub(super) fn heading_width(text: &str) -> f64 {
    length(text.chars().count()) * HEADING_CHARACTER
}

/// Text as it stands in an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
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
pub(super) fn wrap(line: &str, characters: usize) -> Vec<String> {
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
pub(super) fn length(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Fails where an element of an image is not closed.
    pub(in super::super) fn assert_closed(svg: &str) {
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
    fn text_is_escaped() {
        assert_eq!(escape("a<b> & \"c\" 'd'\n\u{1}e"), "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos; e");
    }

    #[test]
    fn a_scale_spans_all_times_and_is_logarithmic() {
        let scale = Scale::of([400, 12_240].into_iter(), 230.0, 560.0);
        assert_eq!((scale.low, scale.high), (2, 5));
        let step = |from: f64| scale.x(from * 10.0) - scale.x(from);
        assert!((step(100.0) - step(1000.0)).abs() < 1e-9 && step(100.0) > 0.0);
        assert!((scale.x(1e5) - 560.0).abs() < 1e-9);
    }

    #[test]
    fn marks_of_a_scale_have_units() {
        assert_eq!([2, 3, 7, 9].map(power_of_ten), ["100 ns", "1 µs", "10 ms", "1 s"]);
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
    }
}
