//! Checks that the tests and presets named in the documentation exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Collects the names of all functions in a directory's Rust files.
fn functions(dir: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            into.extend(text.lines().filter_map(|line| {
                let (_, after) = line.split_once("fn ")?;
                after.split_once('(').map(|(name, _)| name.to_owned())
            }));
        }
    }
}

#[test]
fn every_preset_is_documented_with_its_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../../docs/discord-sim.md")).unwrap();
    for preset in discord_sim::Control::presets() {
        let start = format!("| `{}` | {} |", preset.name, preset.what);
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no row begins with: {start}"));
        let source = preset.source.map_or("seen by operators".to_owned(), |url| format!("({url})"));
        assert!(row.contains(&source), "{row}");
    }
}

#[test]
fn every_rule_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut exist = BTreeSet::new();
    functions(&root.join("src"), &mut exist);
    functions(&root.join("tests"), &mut exist);
    let page = fs::read_to_string(root.join("../../docs/discord-sim.md")).unwrap();
    let rules =
        page.split("\n## ").find(|section| section.starts_with("Rules\n")).expect("a section of rules");
    let rows: Vec<&str> =
        rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")).collect();
    assert!(rows.len() > 40, "{} rules", rows.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit_once("| ").unwrap().1;
        let named: Vec<&str> =
            tests.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')).collect();
        assert!(!tests.is_empty() && (!named.is_empty() || tests.contains("unit tests")), "no test: {row}");
        for name in named {
            assert!(exist.contains(name), "no test is named {name}: {row}");
        }
    }
}
