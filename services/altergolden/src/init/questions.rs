//! The questions, one after the other, and the terminal that asks them.

use std::io;

use dialoguer::{Input, Password, Select};
use fleet_model::ShardCount;
use process::settings::Secret;

use super::{
    Target,
    answers::{self, Answers, Given, Token},
};

/// Why there are no answers.
#[derive(Debug)]
pub(super) enum QuestionError {
    /// An answer can't be acted on, such as a target whose files exist.
    Refused(String),
    /// The terminal is gone, or the operator left.
    Terminal(io::Error),
}

impl From<io::Error> for QuestionError {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

/// A check of one answer: the problem, as the operator reads it.
pub(super) type Check<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Asks one question. Repeats it until the answer passes the check.
pub(super) trait Ask {
    /// The index of the chosen item; the first is the default.
    fn choose(&mut self, question: &str, items: &[&str]) -> io::Result<usize>;

    /// A text, shown while it is typed.
    fn text(&mut self, question: &str, default: &str, check: Check<'_>) -> io::Result<String>;

    /// A text that is not shown; may be empty.
    fn secret(&mut self, question: &str, check: Check<'_>) -> io::Result<String>;
}

/// Asks for what is not given. `check_target` says whether the files of a target can be written.
pub(super) fn ask(
    terminal: &mut dyn Ask,
    given: Given,
    check_target: &dyn Fn(Target) -> Result<(), String>,
) -> Result<Answers, QuestionError> {
    let target = match given.target {
        Some(target) => target,
        None => ask_target(terminal)?,
    };
    check_target(target).map_err(QuestionError::Refused)?;
    let token = match given.token {
        Some(token) => token,
        None => ask_token(terminal)?,
    };
    let shards = match given.shards {
        Some(shards) => shards,
        None => ask_shards(terminal)?,
    };
    let workers = match given.workers {
        Some(workers) => Some(workers),
        None => ask_workers(terminal, target)?,
    };
    let intents = match given.intents {
        Some(intents) => intents,
        None => ask_intents(terminal)?,
    };
    let redis_url = match given.redis_url {
        None if target != Target::Compose => ask_redis(terminal)?,
        given => given,
    };
    let make_credentials = match given.make_credentials {
        None if target != Target::Compose => ask_credentials(terminal)?,
        given => given.unwrap_or(false),
    };
    let worker_program = given.worker_program;
    Ok(Answers { target, token, shards, workers, intents, redis_url, worker_program, make_credentials })
}

fn ask_credentials(terminal: &mut dyn Ask) -> io::Result<bool> {
    let items = [
        "no, only programs of this host reach the ports",
        "yes, make certificates (mutual TLS): for several hosts, or for a host with other users",
    ];
    Ok(terminal.choose("Credentials for the fleet?", &items)? == 1)
}

fn ask_target(terminal: &mut dyn Ask) -> io::Result<Target> {
    let items = [
        (Target::Env, "altergolden up, in a terminal or under PM2"),
        (Target::Systemd, "systemd"),
        (Target::Compose, "Docker Compose"),
    ];
    let chosen = terminal.choose("What will run the fleet?", &items.map(|(_, text)| text))?;
    Ok(items.get(chosen).map_or(Target::Env, |(target, _)| *target))
}

fn ask_token(terminal: &mut dyn Ask) -> io::Result<Token> {
    let text = terminal
        .secret("Token of the bot (not shown; empty: enter it in the file later)", &|text| {
            answers::check_token(text.trim())
        })?;
    let token = text.trim();
    if token.is_empty() {
        return Ok(Token::Later);
    }
    outside_text::hide_secret(token);
    Ok(Token::Value(Secret::new(token)))
}

fn ask_shards(terminal: &mut dyn Ask) -> io::Result<ShardCount> {
    let check = |text: &str| text.parse::<ShardCount>().map(drop);
    let question = "Number of shards (auto: as Discord recommends, and room to grow)";
    let text = terminal.text(question, "auto", &check)?;
    Ok(text.parse().unwrap_or(ShardCount::Auto))
}

fn ask_intents(terminal: &mut dyn Ask) -> Result<String, QuestionError> {
    let check = |text: &str| answers::intents(text).map(drop);
    let text = terminal.text("Intents", &answers::default_intents(), &check)?;
    answers::intents(&text).map_err(QuestionError::Refused)
}

/// Nothing for the default by cores.
fn ask_workers(terminal: &mut dyn Ask, target: Target) -> io::Result<Option<u16>> {
    let most = answers::MOST_WORKERS;
    let by_cores = target != Target::Compose;
    let check = |text: &str| match text.trim().parse::<u16>() {
        _ if by_cores && text.trim() == "auto" => Ok(()),
        Ok(number) if (1..=most).contains(&number) => Ok(()),
        _ => Err(format!("it takes a number from 1 to {most}")),
    };
    let compose = answers::COMPOSE_WORKERS.to_string();
    let text = if by_cores {
        terminal.text("Number of workers (auto: one for each core)", "auto", &check)?
    } else {
        terminal.text("Number of workers", &compose, &check)?
    };
    Ok(text.trim().parse().ok())
}

fn ask_redis(terminal: &mut dyn Ask) -> io::Result<Option<Secret>> {
    let check = |text: &str| match text.trim() {
        "" => Ok(()),
        url => answers::check_redis_url(url).map_err(|error| error.problem),
    };
    // It may have a password in it.
    let text =
        terminal.secret("URL of Redis (not shown; empty: up starts a redis-server of its own)", &check)?;
    let url = text.trim();
    Ok((!url.is_empty()).then(|| Secret::new(url)))
}

/// The terminal of this process. Questions go to standard error.
#[derive(Debug)]
pub(super) struct Terminal;

impl Ask for Terminal {
    fn choose(&mut self, question: &str, items: &[&str]) -> io::Result<usize> {
        Select::new().with_prompt(question).items(items).default(0).interact().map_err(io::Error::from)
    }

    fn text(&mut self, question: &str, default: &str, check: Check<'_>) -> io::Result<String> {
        let input = Input::<String>::new()
            .with_prompt(question)
            .default(default.to_owned())
            .validate_with(|text: &String| check(text));
        input.interact_text().map_err(io::Error::from)
    }

    fn secret(&mut self, question: &str, check: Check<'_>) -> io::Result<String> {
        let input = Password::new()
            .with_prompt(question)
            .allow_empty_password(true)
            .report(false)
            .validate_with(|text: &String| check(text));
        input.interact().map_err(io::Error::from)
    }
}
