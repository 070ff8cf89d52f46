//! The picture of the README: what an operation costs, against how many there are. In colours of middle brightness, on
//! nothing, for light pages and dark ones.

use std::error::Error;

use plotters::prelude::*;

use crate::cases::{Case, Plot};
use crate::libraries::Library;
use crate::measure::{Figures, Outcome};

const SIZE: (u32, u32) = (960, 400);
const GREY: RGBColor = RGBColor(128, 128, 128);

fn colour(library: Library) -> RGBColor {
    match library.name() {
        "kpt" => RGBColor(220, 60, 60),
        "floor" => GREY,
        "libev" => RGBColor(60, 120, 215),
        "libevent" => RGBColor(40, 160, 170),
        "libuv" => RGBColor(150, 100, 210),
        "calloop" => RGBColor(200, 130, 20),
        "tokio" => RGBColor(60, 150, 70),
        "mio" => RGBColor(200, 90, 160),
        _ => RGBColor(130, 120, 60),
    }
}

/// Draws it into a file.
pub fn draw(file: &str, measured: &[(Case, Vec<Outcome>)]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let event = "one ready descriptor, of so many watched (ns of CPU)";
    draw_plot(&left, event, Plot::Event, measured)?;
    let timer = "cancel and add a timer, with so many pending (ns of CPU)";
    draw_plot(&right, timer, Plot::Timer, measured)?;
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_plot(
    area: &Area<'_>,
    title: &str,
    plot: Plot,
    measured: &[(Case, Vec<Outcome>)],
) -> Result<(), Box<dyn Error>> {
    let lines = lines(plot, measured);
    let nanos = || lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    let least = nanos().fold(f64::INFINITY, f64::min) * 0.7;
    let most = nanos().fold(0.0, f64::max) * 1.4;
    let text = |size| ("sans-serif", size).into_font().color(&GREY);
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d((10.0..1e6).log_scale(), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .axis_style(GREY)
        .bold_line_style(GREY.mix(0.35))
        .light_line_style(TRANSPARENT)
        .label_style(text(12))
        .x_label_formatter(&|count| format!("{count:.0}"))
        .y_label_formatter(&|nanos| format!("{nanos:.0}"))
        .draw()?;
    for (library, points) in lines {
        let style = colour(library).stroke_width(if library == Library::Kpt { 3 } else { 2 });
        let line = chart.draw_series(LineSeries::new(points, style))?;
        line.label(library.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .label_font(text(12))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}

/// For each library that has any, points: how many there are, and nanoseconds.
fn lines(plot: Plot, measured: &[(Case, Vec<Outcome>)]) -> Vec<(Library, Vec<(f64, f64)>)> {
    let of = |library| {
        let points = measured.iter().filter_map(|(case, outcomes)| {
            let (of_plot, count) = case.plot?;
            let outcome = outcomes.iter().find(|outcome| outcome.library == library)?;
            match outcome.figures {
                Ok(Figures::Time { nanos, .. }) if of_plot == plot => Some((count as f64, nanos)),
                _ => None,
            }
        });
        (library, Vec::from_iter(points))
    };
    let lines = crate::libraries::ALL.into_iter().map(of);
    lines.filter(|(_, points)| !points.is_empty()).collect()
}
