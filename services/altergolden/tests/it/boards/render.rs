//! A board as Grafana's JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::source::{Board, Draw, Panel, Source};

/// The version of Grafana's dashboard model that this writes.
const SCHEMA_VERSION: u32 = 41;

/// Words that mean the same in every board.
const PREFIX: &str = "altergolden_";

/// Returns the board's JSON.
pub(super) fn board(source: &Source, board: &Board) -> Value {
    json!({
        "annotations": { "list": annotations() },
        "description": board.about,
        "editable": true,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [dashboard_link("dashboards", "Boards", "", true)],
        "panels": panels(source, board),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["altergolden"],
        "templating": { "list": variables(board) },
        "time": { "from": "now-1h", "to": "now" },
        "timepicker": {},
        "timezone": "browser",
        "title": format!("altergolden: {}", board.title),
        "uid": uid(&board.id),
    })
}

/// A link; one of the kind `dashboards` becomes a link to each board.
fn dashboard_link(kind: &str, title: &str, url: &str, keeps: bool) -> Value {
    json!({
        "asDropdown": false,
        "icon": "external link",
        "includeVars": keeps,
        "keepTime": keeps,
        "tags": ["altergolden"],
        "targetBlank": false,
        "title": title,
        "tooltip": "",
        "type": kind,
        "url": url,
    })
}

fn uid(id: &str) -> String {
    format!("altergolden-{id}")
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A query as the boards ask it: METRICS_PREFIX may differ.
fn asked(query: &str) -> String {
    query.replace(PREFIX, "${prefix}_")
}

fn annotations() -> Vec<Value> {
    let of = |name: &str, color: &str, title: &str, query: &str| {
        json!({
            "datasource": datasource(),
            "enable": true,
            "expr": asked(query),
            "hide": false,
            "iconColor": color,
            "name": name,
            "step": "1m",
            "titleFormat": title,
        })
    };
    ANNOTATIONS.iter().map(|[name, color, title, query]| of(name, color, title, query)).collect()
}

/// Name, colour, title and query of what is marked in every graph.
pub(super) const ANNOTATIONS: [[&str; 4]; 3] = [
    [
        "Dead workers",
        "red",
        "worker lost ({{cause}})",
        "sum by (cause) (increase(altergolden_fleet_workers_lost_total[1m])) > 0",
    ],
    [
        "Deploys and other plans",
        "blue",
        "plan {{state}}",
        "sum by (state) (increase(altergolden_fleet_plans_total[1m])) > 0",
    ],
    ["Gaps", "orange", "gap", "sum(increase(altergolden_fleet_gaps_total[1m])) > 0"],
];

/// The query of the variable `worker`.
pub(super) const WORKERS: &str = "altergolden_lease_left_seconds";

fn variables(board: &Board) -> Vec<Value> {
    let mut list = vec![
        json!({
            "current": { "selected": true, "text": "Prometheus", "value": "prometheus" },
            "hide": 0,
            "includeAll": false,
            "label": "Data source",
            "multi": false,
            "name": "datasource",
            "options": [],
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "type": "datasource",
        }),
        json!({
            "current": { "selected": true, "text": "altergolden", "value": "altergolden" },
            "description": "METRICS_PREFIX of the fleet",
            "hide": 0,
            "label": "Prefix",
            "name": "prefix",
            "options": [{ "selected": true, "text": "altergolden", "value": "altergolden" }],
            "query": "altergolden",
            "type": "textbox",
        }),
    ];
    if board.worker {
        let query = format!("label_values({}, instance)", asked(WORKERS));
        list.push(json!({
            "allValue": ".*",
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "datasource": datasource(),
            "definition": query,
            "hide": 0,
            "includeAll": true,
            "label": "Worker",
            "multi": true,
            "name": "worker",
            "options": [],
            "query": { "query": query, "refId": "worker" },
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "type": "query",
        }));
    }
    list
}

/// Places panels from left to right, in rows as high as their highest panel.
fn panels(source: &Source, board: &Board) -> Vec<Value> {
    let (mut list, mut x, mut y, mut height) = (Vec::new(), 0, 0, 0);
    for of in &board.panels {
        let [width, own] = of.size();
        if of.row.is_some() || x + width > 24 {
            (x, y, height) = (0, y + height, 0);
        }
        if let Some(title) = &of.row {
            list.push(json!({
                "collapsed": false,
                "gridPos": { "h": 1, "w": 24, "x": 0, "y": y },
                "id": list.len() + 1,
                "panels": [],
                "title": title,
                "type": "row",
            }));
            y += 1;
        }
        let place = json!({ "h": own, "w": width, "x": x, "y": y });
        list.push(panel(source, of, list.len() + 1, &place));
        (x, height) = (x + width, height.max(own));
    }
    list
}

fn panel(source: &Source, panel: &Panel, id: usize, place: &Value) -> Value {
    let description = match &panel.note {
        Some(note) => format!("{}\n\n{note}", panel.question),
        None => panel.question.clone(),
    };
    let links: Vec<Value> = panel.see.iter().map(|id| link(source, id)).collect();
    let mut json = json!({
        "datasource": datasource(),
        "description": description,
        "fieldConfig": { "defaults": defaults(panel), "overrides": overrides(source, panel) },
        "gridPos": place,
        "id": id,
        "links": links,
        "options": options(panel),
        "targets": targets(panel),
        "title": panel.title(),
        "type": kind(panel.draw),
    });
    if panel.draw == Draw::Bars {
        json["interval"] = json!("1m");
    }
    if panel.draw == Draw::Table {
        json["transformations"] = json!([{
            "id": "organize",
            "options": {
                "excludeByName": { "Time": true, "__name__": true, "job": true },
                "indexByName": {},
                "renameByName": { "instance": "worker", "shard_id": "shard", "Value": "value" },
            },
        }]);
    }
    json
}

fn link(source: &Source, id: &str) -> Value {
    let to = source.boards.iter().find(|board| board.id == id);
    let to = to.unwrap_or_else(|| panic!("see = \"{id}\": no such board"));
    let url =
        format!("/d/{}?${{__url_time_range}}&${{datasource:queryparam}}&${{prefix:queryparam}}", uid(id));
    // The address has the time and the variables already.
    dashboard_link("link", &to.title, &url, false)
}

fn kind(draw: Draw) -> &'static str {
    match draw {
        Draw::Stat => "stat",
        Draw::Lines | Draw::Stacked | Draw::Bars => "timeseries",
        Draw::Table => "table",
        Draw::Heatmap => "heatmap",
    }
}

fn targets(panel: &Panel) -> Vec<Value> {
    let instant = matches!(panel.draw, Draw::Stat | Draw::Table);
    let format = match panel.draw {
        Draw::Table => "table",
        Draw::Heatmap => "heatmap",
        _ => "time_series",
    };
    ('A'..)
        .zip(&panel.queries)
        .map(|(name, (legend, query))| {
            json!({
                "datasource": datasource(),
                "editorMode": "code",
                "expr": asked(query),
                "format": format,
                "instant": instant,
                "legendFormat": legend,
                "range": !instant,
                "refId": name.to_string(),
            })
        })
        .collect()
}

/// Lowest value and colour of each step.
fn steps(panel: &Panel) -> Vec<Value> {
    let step = |color: &str, from: Option<f64>| json!({ "color": color, "value": from });
    let mut steps = Vec::new();
    if let Some(low) = panel.low_bad {
        steps.extend([step("red", None), step("yellow", Some(low))]);
        steps.extend(panel.low_warn.map(|warn| step("green", Some(warn))));
    } else {
        let plain = panel.warn.is_none() && panel.bad.is_none();
        steps.push(step(if plain { "text" } else { "green" }, None));
    }
    steps.extend(panel.warn.map(|warn| step("yellow", Some(warn))));
    steps.extend(panel.bad.map(|bad| step("red", Some(bad))));
    steps
}

fn has_steps(panel: &Panel) -> bool {
    panel.warn.or(panel.bad).or(panel.low_bad).is_some()
}

fn defaults(panel: &Panel) -> Value {
    let color = if panel.draw == Draw::Stat { "thresholds" } else { "palette-classic" };
    let mut defaults = json!({
        "color": { "mode": color },
        "thresholds": { "mode": "absolute", "steps": steps(panel) },
        "unit": panel.unit.as_deref().unwrap_or("short"),
    });
    let (style, fill, stacking) = match panel.draw {
        Draw::Lines => ("line", 8, "none"),
        Draw::Stacked => ("line", 60, "normal"),
        Draw::Bars => ("bars", 80, "normal"),
        _ => return defaults,
    };
    let lines = if has_steps(panel) { "dashed" } else { "off" };
    defaults["min"] = json!(0);
    defaults["custom"] = json!({
        "drawStyle": style,
        "fillOpacity": fill,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": false,
        "stacking": { "group": "A", "mode": stacking },
        "thresholdsStyle": { "mode": lines },
    });
    defaults
}

/// Fixed colours for series whose meaning is known.
fn overrides(source: &Source, panel: &Panel) -> Vec<Value> {
    if !matches!(panel.draw, Draw::Lines | Draw::Stacked | Draw::Bars) {
        return Vec::new();
    }
    let mut colors = BTreeMap::new();
    let fixed = source.colors.get("series");
    for (legend, _) in &panel.queries {
        if let Some(color) = fixed.and_then(|fixed| fixed.get(legend)) {
            colors.insert(legend.clone(), color);
        }
        let Some((before, after)) = legend.split_once("{{") else { continue };
        let Some(label) = after.strip_suffix("}}") else { continue };
        for (value, color) in source.colors.get(label).into_iter().flatten() {
            colors.insert(format!("{before}{value}"), color);
        }
    }
    let of = |(name, color): (String, &String)| {
        json!({
            "matcher": { "id": "byName", "options": name },
            "properties": [{ "id": "color", "value": { "fixedColor": color, "mode": "fixed" } }],
        })
    };
    colors.into_iter().map(of).collect()
}

fn options(panel: &Panel) -> Value {
    match panel.draw {
        Draw::Stat => json!({
            "colorMode": if has_steps(panel) { "background" } else { "value" },
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            "showPercentChange": false,
            "textMode": if panel.queries.len() > 1 { "value_and_name" } else { "value" },
            "wideLayout": true,
        }),
        Draw::Lines | Draw::Stacked | Draw::Bars => json!({
            "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        }),
        Draw::Table => json!({
            "cellHeight": "sm",
            "frameIndex": 0,
            "showHeader": true,
            "sortBy": [{ "desc": !panel.queries.iter().any(|(_, query)| query.starts_with("bottomk")), "displayName": "value" }],
        }),
        Draw::Heatmap => json!({
            "calculate": false,
            "cellGap": 1,
            "color": { "exponent": 0.5, "fill": "green", "mode": "scheme", "reverse": false, "scale": "exponential", "scheme": "Greens", "steps": 64 },
            "exemplars": { "color": "rgba(255,0,255,0.7)" },
            "filterValues": { "le": 1e-9 },
            "legend": { "show": true },
            "rowsFrame": { "layout": "auto" },
            "showValue": "never",
            "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "reverse": false, "unit": panel.unit.as_deref().unwrap_or("short") },
        }),
    }
}
