//! The questions with scripted answers, and the files that come of them.

use std::{collections::VecDeque, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use fleet_model::ShardCount;
use process::settings::Secret;

use super::{
    Target,
    answers::{self, Answers, Given, Token},
    files::{self, NewFile},
    questions::{self, Ask, Check, QuestionError},
    writing,
};

const TOKEN: &str = "MTAx.Gabc_d-e.x1";

/// Answers the questions in order. Repeats a question whose answer does not pass, as the terminal does.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    asked: Vec<String>,
    problems: Vec<String>,
}

impl Script {
    fn new(answers: &[&'static str]) -> Self {
        Self { answers: answers.iter().copied().collect(), ..Self::default() }
    }

    fn next(&mut self, question: &str) -> io::Result<&'static str> {
        self.asked.push(question.to_owned());
        self.answers.pop_front().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    fn answer(&mut self, question: &str, default: &str, check: Check<'_>) -> io::Result<String> {
        loop {
            let answer = match self.next(question)? {
                "" => default,
                answer => answer,
            };
            match check(answer) {
                Ok(()) => return Ok(answer.to_owned()),
                Err(problem) => self.problems.push(problem),
            }
        }
    }
}

impl Ask for Script {
    fn choose(&mut self, question: &str, items: &[&str]) -> io::Result<usize> {
        let wanted = self.next(question)?;
        Ok(items.iter().position(|item| item.contains(wanted)).expect("the script names an item"))
    }

    fn text(&mut self, question: &str, default: &str, check: Check<'_>) -> io::Result<String> {
        self.answer(question, default, check)
    }

    fn secret(&mut self, question: &str, check: Check<'_>) -> io::Result<String> {
        self.answer(question, "", check)
    }
}

fn nothing_given() -> Given {
    Given {
        target: None,
        token: None,
        shards: None,
        workers: None,
        intents: None,
        redis_url: None,
        worker_program: None,
        make_credentials: None,
    }
}

fn ask(script: &mut Script, given: Given) -> Result<Answers, QuestionError> {
    questions::ask(script, given, &|_| Ok(()))
}

fn content(answers: &Answers, name: &str) -> String {
    let files = files::files(answers, Path::new("/opt/bot")).unwrap();
    files.into_iter().find(|file| file.name == name).expect("the file is among them").content
}

/// The variables of a file, as `altergolden up` reads them.
fn variables(text: &str) -> Vec<(String, String)> {
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn defaults_need_no_answer() {
    let mut script = Script::new(&["altergolden up", "", "", "", "", "", "no"]);
    let answers = ask(&mut script, nothing_given()).unwrap();
    answers.check().unwrap();
    assert_eq!(
        variables(&content(&answers, ".env")),
        [
            ("DISCORD_TOKEN", ""),
            ("SHARD_COUNT", "auto"),
            ("INTENTS", "GUILDS,GUILD_MESSAGES,GUILD_VOICE_STATES")
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(script.asked.len(), 7);
}

#[test]
fn wrong_answers_are_asked_again() {
    let mut script = Script::new(&[
        "systemd",
        "Bot abc",
        "two words",
        TOKEN,
        "0",
        "many",
        "16",
        "0",
        "513",
        "3",
        "GILDS",
        "guilds, GUILD_MEMBERS",
        "http://example",
        "redis://:p%40ss@10.0.0.5:6379/2",
        "yes",
    ]);
    let answers = ask(&mut script, nothing_given()).unwrap();
    answers.check().unwrap();
    assert_eq!(script.problems.len(), 8, "{:?}", script.problems);
    for says in [
        "without the word Bot",
        "only letters",
        "auto` or a number",
        "from 1 to 512",
        "is not an intent",
        "not a redis url",
    ] {
        assert!(
            script.problems.iter().any(|problem| problem.contains(says)),
            "{says}: {:?}",
            script.problems
        );
    }
    assert_eq!(
        variables(&content(&answers, "altergolden.env")),
        [
            ("DISCORD_TOKEN", TOKEN),
            ("SHARD_COUNT", "16"),
            ("INTENTS", "guilds,GUILD_MEMBERS"),
            ("CLUSTER_COUNT", "3"),
            ("REDIS_URL", "redis://:p%40ss@10.0.0.5:6379/2"),
            ("CREDENTIALS", "/var/lib/altergolden/credentials"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn given_settings_are_not_asked_for() {
    let given = Given {
        target: Some(Target::Compose),
        token: Some(Token::Value(Secret::new(TOKEN))),
        shards: Some(ShardCount::Fixed(8)),
        workers: Some(3),
        intents: Some("513".to_owned()),
        ..nothing_given()
    };
    let mut script = Script::default();
    let answers = ask(&mut script, given).unwrap();
    assert!(script.asked.is_empty(), "{:?}", script.asked);
    let text = content(&answers, ".env");
    assert!(!text.contains("CLUSTER_COUNT") && !text.contains("COMPOSE_PROFILES"), "{text}");
}

#[test]
fn target_whose_files_exist_ends_the_questions() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("altergolden.service"), "mine").unwrap();
    let mut script = Script::new(&["systemd"]);
    let check = |target| files::refuse_existing(target, folder.path(), false);
    let error = questions::ask(&mut script, nothing_given(), &check).unwrap_err();
    assert!(matches!(&error, QuestionError::Refused(problem) if problem.contains("--force")), "{error:?}");
    let left = ask(&mut Script::default(), nothing_given()).unwrap_err();
    assert!(matches!(left, QuestionError::Terminal(_)), "{left:?}");
}

#[test]
fn settings_are_checked_as_the_programs_do() {
    let good = nothing_given().or_defaults();
    good.check().unwrap();
    let compose = Answers { target: Target::Compose, ..good.clone() };
    let systemd = Answers { target: Target::Systemd, ..good.clone() };
    let redis = |url: &str| Some(Secret::new(url));
    for (wrong, says) in [
        (Answers { intents: "GILDS".to_owned(), ..good.clone() }, "is not an intent"),
        (Answers { redis_url: redis("10.0.0.5:6379"), ..good.clone() }, "redis://"),
        (Answers { redis_url: redis("redis://10.0.0.5"), ..compose.clone() }, "a Redis of its own"),
        (Answers { make_credentials: true, ..compose.clone() }, "of its own"),
        (Answers { worker_program: Some("/bin/true".into()), ..compose }, "docs/compose.md"),
        (Answers { worker_program: Some("/home/me/bot".into()), ..systemd }, "/usr/local/bin"),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let secret = "redis://:hunter2@10.0.0.5:port";
    let error = answers::check_redis_url(secret).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn values_mean_the_same_in_every_reader() {
    let program = "/opt/my bots/$HOME #1 \"x\"";
    let answers = Answers { worker_program: Some(program.into()), ..nothing_given().or_defaults() };
    let text = content(&answers, ".env");
    assert!(variables(&text).contains(&("WORKER_PROGRAM".to_owned(), program.to_owned())), "{text}");
    for wrong in ["/opt/it's", "/opt/a\nb", "/opt/a\\b"] {
        let answers = Answers { worker_program: Some(wrong.into()), ..nothing_given().or_defaults() };
        assert!(files::files(&answers, Path::new(".")).is_err(), "{wrong:?} passed");
    }
}

#[test]
fn settings_name_the_credentials() {
    let answers = Answers { make_credentials: true, ..nothing_given().or_defaults() };
    let text = content(&answers, ".env");
    assert!(text.contains("CREDENTIALS=/opt/bot/credentials\n"), "{text}");
}

#[test]
fn compose_passes_on_every_setting() {
    let compose = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compose.yaml")).unwrap();
    let given = Given { token: Some(Token::Value(Secret::new(TOKEN))), ..nothing_given() };
    let answers = Answers { target: Target::Compose, workers: Some(2), ..given.or_defaults() };
    let text = content(&answers, ".env").replace("\n#", "\n");
    let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim());
    let names: Vec<_> =
        names.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(
            compose.contains(&format!("      {name}:")) || compose.contains(&format!("  {name}:")),
            "{name} is lost"
        );
    }
}

fn secret_file(content: &str) -> NewFile {
    NewFile { name: ".env", content: content.to_owned(), is_secret: true }
}

#[test]
fn files_are_private_and_replaced_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    let write = |content, force| writing::write_all(folder.path(), &[secret_file(content)], force);
    write("one", false).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let error = write("two", false).unwrap_err();
    assert!(error.contains(".env") && error.contains("nothing was written"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    write("three", true).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "three");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [".env"], "nothing else is left");
}

#[test]
fn folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = writing::write_all(Path::new(&file), &[secret_file("")], false).unwrap_err();
    assert!(error.contains(&*file.to_string_lossy()), "{error}");
}
