//! Curves over epochs as SVG.
//!
//! plotters knows no style sheets, so it draws in marks, colours that stand for a name, and the names take their
//! place: a page decides what they look like by day and by night.

use plotters::prelude::*;

/// Axes and writing.
const INK: RGBColor = RGBColor(1, 1, 1);
/// The lines of the grid.
const GRID: RGBColor = RGBColor(2, 2, 2);

/// A curve: the colour it has, and its points as epoch and value.
pub struct Curve {
    /// The variable of the style sheet that holds its colour.
    pub colour: String,
    /// Epoch and value.
    pub points: Vec<(usize, f64)>,
}

/// What surrounds the curves.
pub struct Frame<'a> {
    /// The description for a screen reader.
    pub label: &'a str,
    /// Width and height in units of the drawing.
    pub size: (u32, u32),
    /// The lowest and the highest value; drawn a little larger if they are the same.
    pub values: (f64, f64),
}

impl Frame<'_> {
    /// Draws curves. The drawing has no size of its own: it takes the width that it is given.
    pub fn draw(&self, curves: &[Curve]) -> String {
        let mut svg = String::new();
        self.plot(curves, &mut svg).expect("a string takes every drawing");
        let (width, height) = self.size;
        let fixed = format!("<svg width=\"{width}\" height=\"{height}\" ");
        let label = maud::html! { (self.label) }.into_string().replace('"', "&quot;");
        let mut svg = svg.replacen(&fixed, &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
        svg = svg.replace(&hex(INK), "currentColor").replace(&hex(GRID), "var(--line)");
        for (index, curve) in curves.iter().enumerate() {
            svg = svg.replace(&hex(mark(index)), &format!("var({})", curve.colour));
        }
        svg
    }

    fn plot(
        &self,
        curves: &[Curve],
        svg: &mut String,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'_> as DrawingBackend>::ErrorType>> {
        let epochs = || curves.iter().flat_map(|curve| curve.points.iter().map(|&(epoch, _)| epoch as i32));
        let (first, last) = (epochs().min().unwrap_or(1), epochs().max().unwrap_or(1));
        let (low, high) = self.values;
        let whole = curves.iter().flat_map(|curve| &curve.points).all(|(_, value)| value.fract() == 0.0);
        let room = match high - low {
            0.0 if whole => 0.5,
            0.0 => low.abs() * 0.2,
            range => range * 0.04,
        };
        let root = SVGBackend::with_string(svg, self.size).into_drawing_area();
        // A single epoch still needs an axis.
        let mut chart = ChartBuilder::on(&root)
            .margin(6)
            .x_label_area_size(22)
            .y_label_area_size(42)
            .build_cartesian_2d(first..last.max(first + 1), low - room..high + room)?;
        let marks = if whole { (high - low + 1.0).clamp(2.0, 5.0) as usize } else { 5 };
        // Digits enough to tell the marks at the axis apart.
        let digits =
            if whole { 0 } else { (1.0 - (high - low + room).log10()).ceil().clamp(0.0, 6.0) as usize };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .x_labels(5)
            .y_labels(marks)
            .y_label_formatter(&|value| unsigned_zero(format!("{value:.digits$}")))
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .draw()?;
        for (index, curve) in curves.iter().enumerate() {
            let line = curve.points.iter().map(|&(epoch, value)| (epoch as i32, value));
            let style = mark(index).stroke_width(2);
            // A line of one point cannot be seen.
            if let [(epoch, value)] = curve.points[..] {
                chart.draw_series([Circle::new((epoch as i32, value), 3, mark(index).filled())])?;
            } else {
                chart.draw_series(LineSeries::new(line, style))?;
            }
        }
        root.present()
    }
}

/// A number as it is written, but for the sign that a rounding may have left of a zero.
fn unsigned_zero(number: String) -> String {
    match number.strip_prefix('-') {
        Some(digits) if !digits.contains(|digit: char| digit.is_ascii_digit() && digit != '0') => {
            digits.to_owned()
        }
        _ => number,
    }
}

/// The mark of the colour of a curve.
const fn mark(index: usize) -> RGBColor {
    RGBColor(3, 3, index as u8)
}

/// A colour as plotters writes it.
fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign() {
        let written =
            ["-0.000", "0.000", "-0.010", "-0", "-10"].map(|number| unsigned_zero(number.to_owned()));
        assert_eq!(written, ["0.000", "0.000", "-0.010", "0", "-10"]);
    }

    #[test]
    fn an_axis_of_one_value_is_as_wide_as_the_value() {
        let drawn = |value: f64| {
            let frame = Frame { label: "one", size: (360, 210), values: (value, value) };
            frame.draw(&[Curve { colour: "--curve-0".to_owned(), points: vec![(1, value)] }])
        };
        let has = |svg: &str, mark: &str| svg.lines().any(|line| line.trim() == mark);
        assert!(has(&drawn(7991.6), "8000"), "{}", drawn(7991.6));
        let rate = drawn(0.025);
        assert!(has(&rate, "0.0250") && !rate.lines().any(|line| line.starts_with('-')), "{rate}");
        assert!(has(&drawn(0.0), "0"), "{}", drawn(0.0));
    }
}
