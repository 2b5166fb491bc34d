//! Completions and man pages, tried with the programs that read them.

use std::{
    fs,
    process::{Command, Output},
};

use fleet_fixture::{binary, command};

use crate::cli::altergolden;

/// Nothing listens there, and nothing here asks.
const URL: &str = "http://127.0.0.1:1";

/// Completes the last of `words` with bash and the completions of `altergolden`.
fn complete(words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$1" completions bash) || exit 9
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMP_LINE="$*"
        COMP_POINT=${#COMP_LINE}
        # As bash itself does: the function that is registered, the command, the word, and the word before.
        function=$(complete -p altergolden | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
        "$function" altergolden "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output =
        Command::new("bash").args(["-c", script, "bash"]).arg(binary("altergolden")).args(words).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(complete(&["altergolden", "dra"]), ["drain"]);
    assert_eq!(complete(&["altergolden", "deploy", "pro"]), ["promote"]);
    assert_eq!(complete(&["altergolden", "drain", "--dry"]), ["--dry-run"]);
    assert_eq!(complete(&["altergolden", "completions", "z"]), ["zsh"]);
    assert_eq!(complete(&["altergolden", "status", "--wa"]), ["--watch"]);
    let all = complete(&["altergolden", ""]);
    for name in ["status", "shards", "move", "set-aside", "dev", "man"] {
        assert!(all.iter().any(|word| word == name), "{name}: {all:?}");
    }
    assert!(!all.iter().any(|word| word == "setaside"), "an old name: {all:?}");
}

#[test]
fn shells_accept_their_completions() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    for (shell, start) in [("bash", "_altergolden() {"), ("zsh", "#compdef altergolden"), ("fish", "# Print")]
    {
        let completions = altergolden(URL, &["completions", shell]);
        assert_eq!(completions.code, 0, "{shell}: {}", completions.err);
        assert!(completions.out.starts_with(start), "{shell}: {}", completions.out);
        if has(shell) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("completions");
            fs::write(&file, completions.out).unwrap();
            let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {checked:?}");
        }
    }
    let unknown = altergolden(URL, &["completions", "tcsh"]);
    assert!(unknown.code == 2 && unknown.err.contains("bash, zsh, fish"), "{}", unknown.err);
}

#[test]
fn man_pages_are_written_for_every_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("man1");
    let written = altergolden(URL, &["man", "--dir", path.to_str().unwrap()]);
    assert_eq!(written.code, 0, "{}", written.err);
    let pages: Vec<_> = fs::read_dir(&path).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(written.out.starts_with(&format!("{} man pages written", pages.len())), "{}", written.out);
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{}", page.display());
    }
    for name in ["altergolden.1", "altergolden-set-aside-replay.1", "coordinator.1", "discord-sim.1"] {
        assert!(pages.iter().any(|page| page.ends_with(name)), "{name}: {pages:?}");
    }
    let one = altergolden(URL, &["man"]);
    assert!(one.code == 0 && one.out.contains(".TH altergolden 1"), "{}", one.out);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = altergolden(URL, &["man", "--dir", file.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.err.contains("--dir"), "{}", refused.err);
    let refused = altergolden(URL, &["man", "--json"]);
    assert!(refused.code == 2 && refused.err.contains("--json has no effect on `man`"), "{}", refused.err);
}

#[test]
fn version_names_protocols_and_checkpoint_formats() {
    for program in ["altergolden", "coordinator", "gateway-worker"] {
        let Output { stdout, status, .. } = command(program).arg("--version").output().unwrap();
        let version = String::from_utf8(stdout).unwrap();
        assert!(status.success() && version.starts_with(&format!("{program} 0.")), "{version}");
        let (protocols, formats) = (altergolden_proto::PROTOCOL_MAX, checkpoint::FORMAT_MAX);
        for line in
            [format!("protocol versions   {protocols}"), format!("checkpoint formats  1 to {formats}")]
        {
            assert!(version.lines().any(|found| found == line), "{line}: {version}");
        }
        let short = command(program).arg("-V").output().unwrap();
        assert_eq!(String::from_utf8(short.stdout).unwrap().lines().count(), 1, "{program}");
    }
}
