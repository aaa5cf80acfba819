use rehome_api::time::Time;

use super::{Chart, Phase, Series, Span, axis, cut};

const SECOND: i64 = 1_000_000;

fn span(phases: Vec<Phase>) -> Span {
    let cuts = vec![cut(Time(50 * SECOND), 12.4, "succeeded")];
    Span { from: Time(0), to: Time(60 * SECOND), phases, cuts }
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        key: "latency",
        label: "Append latency",
        unit: " ms",
        top: None,
        series,
        absent: "Nothing.",
    }
}

fn points() -> Vec<(Time, Option<f64>)> {
    let known = [(0, Some(5.0)), (20, Some(9.0)), (30, None), (40, Some(1.0)), (60, Some(2.0))];
    known.map(|(second, value)| (Time(second * SECOND), value)).into()
}

#[test]
fn a_chart_has_its_lines_its_gaps_and_its_name_and_no_colour_of_its_own() {
    let series =
        vec![Series { name: "p50", points: points() }, Series { name: "p99", points: points() }];
    let svg = chart(series).figure(&span(Vec::new())).into_string();
    assert_eq!(svg.matches("\"line line-1\"").count(), 2, "a gap in the middle: {svg}");
    assert!(svg.contains("last of p50 2 ms, highest 9 ms; last of p99 2 ms"), "{svg}");
    assert!(svg.contains("\"0,5000 3333,1000\""), "of 10 ms: {svg}");
    for refused in ["=\"#", "style=", "NaN"] {
        assert!(!svg.contains(refused), "{refused}: {svg}");
    }
}

#[test]
fn phases_and_cutovers_are_marked_where_they_began_and_named_where_there_is_room() {
    let phase = |second: i64, name, label| Phase { at: Time(second * SECOND), name, label };
    let phases = vec![
        // It began before what is drawn.
        phase(-30, "bulk_copy", "copying"),
        phase(30, "dual_write", "mirroring"),
        phase(57, "migrated", "migrated"),
    ];
    let series = vec![Series { name: "", points: points() }];
    let svg = chart(series).figure(&span(phases)).into_string();
    assert!(
        svg.contains("class=\"phase bulk_copy\" x=\"0.00%\" y=\"19\" width=\"50.00%\""),
        "{svg}"
    );
    assert!(svg.contains("class=\"phase dual_write\" x=\"50.00%\""), "{svg}");
    assert!(svg.contains(">mirroring</text>"), "{svg}");
    assert!(!svg.contains(">migrated</text>"), "no room: {svg}");
    assert!(svg.contains("text-anchor=\"end\">cutover, 12.4 ms</text>"), "{svg}");
}

#[test]
fn nothing_to_draw_takes_the_same_room_and_says_why() {
    let nothing = vec![Series { name: "", points: vec![(Time(0), None)] }];
    let figure = chart(nothing).figure(&span(Vec::new())).into_string();
    assert!(figure.contains("Nothing.") && !figure.contains("<svg"), "{figure}");
    let zero = vec![Series { name: "", points: vec![(Time(0), Some(0.0))] }];
    assert!(chart(zero).figure(&span(Vec::new())).into_string().contains("<svg"));
}

#[test]
fn the_top_of_a_chart_is_a_number_that_people_read() {
    let tops = [0.0, 0.7, 3.0, 99.0, 100.0, 101.0].map(|value| axis::short(axis::nice(value)));
    assert_eq!(tops, ["1", "1", "5", "100", "100", "200"]);
    assert_eq!([1234.0, 12_345.0, 0.25, 10.0].map(axis::short), ["1234", "12.35k", "0.25", "10"]);
}

#[test]
fn times_below_a_chart_are_round_and_few() {
    for seconds in [1, 9, 61, 125, 599, 3_600] {
        let span = Span {
            from: Time(7 * SECOND),
            to: Time((7 + seconds) * SECOND),
            phases: Vec::new(),
            cuts: Vec::new(),
        };
        let text = axis::times(&span).into_string();
        assert!(text.matches("<text").count() <= 4, "{seconds}: {text}");
    }
}
