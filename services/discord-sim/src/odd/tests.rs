use super::*;
use serde_json::json;

fn changed(edits: Vec<Edit>, body: &serde_json::Value) -> String {
    String::from_utf8(edit::apply(&edits, body.to_string().as_bytes())).unwrap()
}

#[test]
fn edits_follow_their_paths() {
    let body = json!({"a": [{"x": 1, "y": 1}, {"x": 2}], "b": {"c": 3}});
    let set = |path: &str, value| Edit::Set { path: path.into(), value };
    for (edit, wanted) in [
        (set("/b/c", json!(null)), json!({"a": [{"x": 1, "y": 1}, {"x": 2}], "b": {"c": null}})),
        (set("/b/d", json!(4)), json!({"a": [{"x": 1, "y": 1}, {"x": 2}], "b": {"c": 3, "d": 4}})),
        (set("/a/-", json!(5)), json!({"a": [{"x": 1, "y": 1}, {"x": 2}, 5], "b": {"c": 3}})),
        (set("/a/*/x", json!(0)), json!({"a": [{"x": 0, "y": 1}, {"x": 0}], "b": {"c": 3}})),
        (set("/a/9/x", json!(0)), body.clone()),
        (set("", json!([])), json!([])),
        (Edit::Remove { path: "/a/*/x".into() }, json!({"a": [{"y": 1}, {}], "b": {"c": 3}})),
        (Edit::Remove { path: "/a/0".into() }, json!({"a": [{"x": 2}], "b": {"c": 3}})),
        (Edit::Remove { path: "/nothing/here".into() }, body.clone()),
    ] {
        let text = changed(vec![edit.clone()], &body);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), wanted, "{edit:?}");
    }
}

#[test]
fn set_text_writes_raw_text() {
    let edit = Edit::SetText { path: "/name".into(), text: r#""half \ud83d""#.into() };
    assert_eq!(changed(vec![edit], &json!({"name": "x"})), r#"{"name":"half \ud83d"}"#);
}

fn patch(times: Option<u32>) -> Oddity {
    Oddity::Patch(Patch { name: Some("p".into()), event: "RESUMED".into(), times, ..Patch::default() })
}

fn apply(oddities: &Oddities) -> Vec<u64> {
    oddities.patch(&Event::Resumed, None, Shard { number: 0, total: 1 }, &mut b"{}".to_vec(), 0);
    oddities.reports().iter().map(|one| one.applied).collect()
}

#[test]
fn oddity_applies_until_used_up_or_cleared() {
    let oddities = Oddities::default();
    oddities.add(patch(Some(2))).unwrap();
    for applied in [1, 2, 2] {
        assert_eq!(apply(&oddities), [applied]);
    }
    oddities.add(patch(None)).unwrap();
    assert_eq!(apply(&oddities), [1], "a used-up oddity is gone");
    oddities.clear(Some("q"));
    assert_eq!(oddities.reports().len(), 1);
    oddities.clear(Some("p"));
    assert_eq!(oddities.reports(), []);
    for _ in 0..MOST {
        oddities.add(patch(None)).unwrap();
    }
    assert_eq!(oddities.add(patch(None)), Err(FaultError::TooManyOddities(MOST)));
    oddities.clear(None);
    assert_eq!(oddities.reports(), []);
}

#[test]
fn invalid_scripts_are_rejected() {
    let close = |code| Action::Close { code: Some(code), reason: String::new() };
    let early = Script { shards: Some(vec![1]), ..Script::new(Moment::AfterHello, vec![Action::Reset]) };
    let instead = Script { instead: true, ..Script::new(Moment::Ready, vec![Action::Reset]) };
    let bytes = |hex: &str, fill, times| Action::Bytes { hex: hex.into(), fill, times };
    for script in [
        early,
        instead,
        Script::new(Moment::Connect, vec![close(4_000)]),
        Script::new(Moment::Ready, vec![close(1_005)]),
        Script::new(Moment::Ready, vec![bytes("8", 0, 1)]),
        Script::new(Moment::Ready, vec![bytes("81", 1 << 40, 1)]),
        Script::new(Moment::Ready, vec![bytes("81", 1 << 20, u64::MAX)]),
        Script::new(Moment::Ready, vec![Action::Inflate { bytes: u64::MAX }]),
        Script::new(Moment::Ready, vec![Action::Wait { ms: u64::MAX }]),
    ] {
        assert!(Oddities::default().add(Oddity::Script(script.clone())).is_err(), "{script:?}");
    }
}

#[test]
fn preset_names_are_unique() {
    let reports = crate::presets::reports();
    let names: std::collections::BTreeSet<_> = reports.iter().map(|preset| &preset.name).collect();
    assert_eq!(names.len(), reports.len());
    let sources = reports.iter().filter_map(|preset| preset.source.as_deref());
    assert!(sources.clone().count() > 20 && sources.into_iter().all(|url| url.starts_with("https://")));
}
