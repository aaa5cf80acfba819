//! Panels and how they are laid out.

use serde_json::{Value, json};

use super::annotation::STATES;
use super::data_source;

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// Panels under a heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// How a panel shows its numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Stat,
    Gauge,
    Lines,
    Timeline,
    Table,
}

/// One panel.
pub(super) struct Panel {
    shape: Shape,
    title: &'static str,
    description: &'static str,
    queries: Vec<(String, &'static str)>,
    unit: &'static str,
    width: u32,
    max: Option<f64>,
    limit: Option<f64>,
    none: Option<&'static str>,
    alert: Option<&'static str>,
    states: &'static [(u8, &'static str, &'static str)],
}

impl Panel {
    fn new(shape: Shape, title: &'static str, description: &'static str, width: u32) -> Self {
        Self {
            shape,
            title,
            description,
            queries: Vec::new(),
            unit: "short",
            width,
            max: None,
            limit: None,
            none: None,
            alert: None,
            states: &STATES,
        }
    }

    /// One number, as it is now.
    pub(super) fn stat(title: &'static str, description: &'static str) -> Self {
        Self::new(Shape::Stat, title, description, 4)
    }

    /// A part of a whole, as it is now.
    pub(super) fn gauge(title: &'static str, description: &'static str) -> Self {
        Self::new(Shape::Gauge, title, description, 8)
    }

    /// Numbers over time.
    pub(super) fn lines(title: &'static str, description: &'static str) -> Self {
        Self::new(Shape::Lines, title, description, 12)
    }

    /// States over time.
    pub(super) fn timeline(title: &'static str, description: &'static str) -> Self {
        Self::new(Shape::Timeline, title, description, COLUMNS)
    }

    /// One line per series, as it is now, with its labels; the value is a state.
    pub(super) fn table(title: &'static str, description: &'static str) -> Self {
        Self::new(Shape::Table, title, description, COLUMNS)
    }

    /// A query, with the legend of its series.
    pub(super) fn query(mut self, expr: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push((expr.into(), legend));
        self
    }

    /// In which unit, by Grafana's word.
    pub(super) fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Its width, of 24 columns.
    pub(super) fn width(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    /// The largest value there can be.
    pub(super) fn max(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    /// From where on it is shown in red.
    pub(super) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The text to show without data.
    pub(super) fn none(mut self, none: &'static str) -> Self {
        self.none = Some(none);
        self
    }

    /// What the values of a timeline or a table are called, where they are no states of migrations.
    pub(super) fn states(mut self, states: &'static [(u8, &'static str, &'static str)]) -> Self {
        self.states = states;
        self
    }

    /// The alert whose section of the runbook says what to do about it.
    pub(super) fn alert(mut self, alert: &'static str) -> Self {
        self.alert = Some(alert);
        self
    }

    fn height(&self) -> u32 {
        match self.shape {
            Shape::Stat => 4,
            Shape::Gauge | Shape::Lines | Shape::Timeline | Shape::Table => 8,
        }
    }

    fn json(&self, id: u32, x: u32, y: u32, runbook: &str) -> Value {
        let instant = matches!(self.shape, Shape::Stat | Shape::Gauge | Shape::Table);
        let targets = self.queries.iter().zip('A'..='Z').map(|((expr, legend), name)| {
            json!({
                "refId": name.to_string(),
                "datasource": data_source(),
                "expr": expr,
                "legendFormat": legend,
                "instant": instant,
                "range": !instant,
                "format": if self.shape == Shape::Table { "table" } else { "time_series" },
            })
        });
        let mut panel = json!({
            "id": id,
            "type": self.shape.name(),
            "title": self.title,
            "description": self.description,
            "datasource": data_source(),
            "links": [link(runbook, self.alert)],
            "gridPos": {"h": self.height(), "w": self.width, "x": x, "y": y},
            "targets": targets.collect::<Vec<_>>(),
            "options": self.shape.options(),
            "fieldConfig": {"defaults": self.defaults(), "overrides": []},
        });
        if self.shape == Shape::Table {
            panel["transformations"] = json!([{
                "id": "organize",
                "options": {"excludeByName": {"Time": true}, "renameByName": {"Value": "state"}},
            }]);
        }
        panel
    }

    fn defaults(&self) -> Value {
        let mut steps = vec![json!({"color": "green", "value": null})];
        steps.extend(self.limit.map(|limit| json!({"color": "red", "value": limit})));
        let color = if self.shape == Shape::Lines { "palette-classic" } else { "thresholds" };
        let mut defaults = json!({
            "unit": self.unit,
            "min": 0,
            "color": {"mode": color},
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [],
        });
        if let Some(max) = self.max {
            defaults["max"] = json!(max);
        }
        if let Some(none) = self.none {
            defaults["noValue"] = json!(none);
        }
        if matches!(self.shape, Shape::Timeline | Shape::Table) {
            defaults["mappings"] = json!([{"type": "value", "options": states(self.states)}]);
        }
        if self.shape == Shape::Lines {
            let style = if self.limit.is_some() { "dashed" } else { "off" };
            defaults["custom"] = json!({
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 10,
                "showPoints": "never",
                "thresholdsStyle": {"mode": style},
            });
        }
        defaults
    }
}

/// To the runbook, where it speaks of `alert`.
fn link(runbook: &str, alert: Option<&str>) -> Value {
    let anchor = alert.map_or_else(String::new, |name| format!("#{}", name.to_ascii_lowercase()));
    json!({
        "title": format!("Runbook{}", alert.map_or_else(String::new, |name| format!(": {name}"))),
        "type": "link",
        "url": format!("{runbook}{anchor}"),
        "icon": "doc",
        "tooltip": "",
        "tags": [],
        "asDropdown": false,
        "targetBlank": true,
        "includeVars": false,
        "keepTime": false,
    })
}

fn states(states: &[(u8, &str, &str)]) -> Value {
    let options = states.iter().map(|(number, name, color)| {
        (number.to_string(), json!({"text": name, "color": color, "index": number}))
    });
    Value::Object(options.collect())
}

impl Shape {
    /// Grafana's name of the panel.
    const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Gauge => "gauge",
            Self::Lines => "timeseries",
            Self::Timeline => "state-timeline",
            Self::Table => "table",
        }
    }

    fn options(self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        let legend = json!({
            "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [],
        });
        let tooltip = json!({"mode": "multi", "sort": "desc"});
        match self {
            Self::Stat => json!({
                "graphMode": "none",
                "colorMode": "value",
                "justifyMode": "auto",
                "textMode": "auto",
                "wideLayout": true,
                "showPercentChange": false,
                "percentChangeColorMode": "standard",
                "orientation": "auto",
                "reduceOptions": last,
            }),
            Self::Gauge => json!({
                "showThresholdLabels": false,
                "showThresholdMarkers": true,
                "sizing": "auto",
                "minVizWidth": 75,
                "minVizHeight": 75,
                "orientation": "auto",
                "reduceOptions": last,
            }),
            Self::Lines => json!({"legend": legend, "tooltip": tooltip}),
            Self::Timeline => json!({
                "showValue": "auto",
                "rowHeight": 0.9,
                "mergeValues": true,
                "alignValue": "left",
                "legend": legend,
                "tooltip": tooltip,
            }),
            Self::Table => json!({"frameIndex": 0, "showHeader": true, "cellHeight": "sm"}),
        }
    }
}

/// All rows and their panels, from left to right and from top to bottom.
pub(super) fn laid_out(rows: &[Row], runbook: &str) -> Vec<Value> {
    let mut panels = Vec::new();
    let (mut id, mut y) = (1, 0);
    for row in rows {
        panels.push(json!({
            "id": id,
            "type": "row",
            "title": row.title,
            "collapsed": false,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
            "panels": [],
        }));
        id += 1;
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for panel in &row.panels {
            if x + panel.width > COLUMNS {
                y += tallest;
                (x, tallest) = (0, 0);
            }
            panels.push(panel.json(id, x, y, runbook));
            id += 1;
            x += panel.width;
            tallest = tallest.max(panel.height());
        }
        y += tallest;
    }
    panels
}
