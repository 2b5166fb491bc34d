//! The settings of a new fleet, from flags and questions, and their checks.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, FromArgMatches};
use coordinator::CoordinatorArgs;
use fleet_model::ShardCount;
use gateway_worker::{WorkerArgs, config::IntentList};
use process::settings::{self, Secret, SettingsError};

use super::{InitArgs, Target};

/// The most workers of one host, as `altergolden up` has it.
pub(super) const MOST_WORKERS: u16 = supervisor::layout::MOST_WORKERS;

/// Workers with Compose, where nothing decides by cores.
pub(super) const COMPOSE_WORKERS: u16 = 2;

/// Bytes of a token file that are read.
const LONGEST_TOKEN: u64 = 4096;

/// Where the token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The operator will enter it in the file.
    Later,
    /// The token itself.
    Value(Secret),
    /// A file that holds it, and the token in it.
    File(PathBuf, Secret),
}

/// What the flags and the environment say already.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) target: Option<Target>,
    pub(super) token: Option<Token>,
    pub(super) shards: Option<ShardCount>,
    pub(super) workers: Option<u16>,
    pub(super) intents: Option<String>,
    pub(super) redis_url: Option<Secret>,
    pub(super) worker_program: Option<PathBuf>,
    /// `None`: not decided yet.
    pub(super) make_credentials: Option<bool>,
}

/// All settings.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) target: Target,
    pub(super) token: Token,
    pub(super) shards: ShardCount,
    /// By default as many as cores.
    pub(super) workers: Option<u16>,
    pub(super) intents: String,
    /// By default a redis-server of its own.
    pub(super) redis_url: Option<Secret>,
    pub(super) worker_program: Option<PathBuf>,
    /// Makes certificates for the programs.
    pub(super) make_credentials: bool,
}

impl Given {
    pub(super) fn from_args(args: &InitArgs) -> Result<Self, SettingsError> {
        let token = match &args.token_file {
            Some(file) => Some(read_token(file)?),
            None => settings::discord_token()?.map(Token::Value),
        };
        if let Some(token) = token.as_ref().and_then(Token::secret) {
            check_token(token.expose()).map_err(|problem| SettingsError::new("DISCORD_TOKEN", problem))?;
        }
        let worker_program = args.worker_program.as_ref().map(|program| {
            std::fs::canonicalize(program).map_err(|error| {
                let problem = format!("cannot find {}: {error}", program.display());
                SettingsError::new("--worker-program", problem)
            })
        });
        Ok(Self {
            target: args.target,
            token,
            shards: args.shards,
            workers: args.workers,
            intents: args.intents.clone(),
            redis_url: args.redis_url.clone(),
            worker_program: worker_program.transpose()?,
            make_credentials: args.make_credentials.then_some(true),
        })
    }

    pub(super) fn or_defaults(self) -> Answers {
        Answers {
            target: self.target.unwrap_or(Target::Env),
            token: self.token.unwrap_or(Token::Later),
            shards: self.shards.unwrap_or(ShardCount::Auto),
            workers: self.workers,
            intents: self.intents.unwrap_or_else(default_intents),
            redis_url: self.redis_url,
            worker_program: self.worker_program,
            make_credentials: self.make_credentials.unwrap_or(false),
        }
    }
}

impl Token {
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Later => None,
            Self::Value(secret) | Self::File(_, secret) => Some(secret),
        }
    }
}

impl Answers {
    /// The variables, in the order of the file. The token is not among them.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables =
            vec![("SHARD_COUNT", shard_count_text(self.shards)), ("INTENTS", self.intents.clone())];
        variables.extend(self.workers.map(|workers| ("CLUSTER_COUNT", workers.to_string())));
        variables.extend(self.redis_url.as_ref().map(|url| ("REDIS_URL", url.expose().to_owned())));
        let program = self.worker_program.as_ref().map(|program| program.to_string_lossy().into_owned());
        variables.extend(program.map(|program| ("WORKER_PROGRAM", program)));
        variables
    }

    /// Checks all settings together, as the programs will.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let refuse = |setting, problem: &str| Err(SettingsError::new(setting, problem));
        if self.target == Target::Compose {
            if self.redis_url.is_some() {
                return refuse("--redis-url", "compose.yaml has a Redis of its own");
            }
            if self.worker_program.is_some() {
                return refuse("--worker-program", "with Compose a bot is an image: see docs/compose.md");
            }
            if self.make_credentials {
                return refuse("--make-credentials", "compose.yaml makes credentials of its own");
            }
        }
        if let Some(program) = &self.worker_program {
            if program.to_str().is_none() {
                return refuse("--worker-program", "the path is not UTF-8");
            }
            let hidden = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
            if self.target == Target::Systemd && hidden.iter().any(|folder| program.starts_with(folder)) {
                let problem = "the unit hides home folders and /tmp from the fleet: install the program in /usr/local/bin";
                return refuse("--worker-program", problem);
            }
        }
        // The programs check more than the shape of each value.
        let token = Some(self.token.secret().cloned().unwrap_or_else(|| Secret::new("later")));
        if let Some(url) = &self.redis_url {
            check_redis_url(url.expose())?;
        }
        let shards = shard_count_text(self.shards);
        let coordinator: CoordinatorArgs = parse(&["coordinator", "--shard-count", &shards], "--shards")?;
        coordinator.into_config(token.clone())?;
        let worker: WorkerArgs = parse(&["gateway-worker", "--intents", &self.intents], "--intents")?;
        worker.into_config(token)?;
        Ok(())
    }
}

/// Parses a program's settings as if its environment were empty.
fn parse<A: CommandFactory + FromArgMatches>(
    arguments: &[&str],
    setting: &'static str,
) -> Result<A, SettingsError> {
    let command = A::command().mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| SettingsError::new(setting, settings::one_line(&error.to_string())))
}

/// Checks the URL as the programs do. The problem does not show its password.
pub(super) fn check_redis_url(url: &str) -> Result<(), SettingsError> {
    let setting = "--redis-url";
    let args: CoordinatorArgs = parse(&["coordinator", "--redis-url", url], setting)?;
    args.store.url().map(drop).map_err(|error| SettingsError::new(setting, error.problem))
}

/// The workers' default, from their own settings.
pub(super) fn default_intents() -> String {
    let command = WorkerArgs::command();
    let argument = command.get_arguments().find(|argument| argument.get_id() == "intents");
    let value = argument.and_then(|argument| argument.get_default_values().first());
    value.expect("workers have default intents").to_string_lossy().into_owned()
}

/// Checks a list of intents, and takes blanks out of it.
pub(super) fn intents(text: &str) -> Result<String, String> {
    text.parse::<IntentList>()?;
    Ok(text.chars().filter(|c| !c.is_whitespace()).collect())
}

pub(super) fn shard_count_text(shards: ShardCount) -> String {
    match shards {
        ShardCount::Auto => "auto".to_owned(),
        ShardCount::Fixed(shards) => shards.to_string(),
    }
}

/// Checks what can be said about a token without Discord: it becomes a header of HTTP requests.
pub(super) fn check_token(token: &str) -> Result<(), String> {
    if token.starts_with("Bot ") {
        return Err("it is written without the word Bot".to_owned());
    }
    if !token
        .bytes()
        .all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'='))
    {
        return Err("a bot's token has only letters, digits and . _ - =".to_owned());
    }
    Ok(())
}

fn read_token(file: &Path) -> Result<Token, SettingsError> {
    let refuse = |problem: String| SettingsError::new("--token-file", problem);
    let shown = file.display();
    let read = |from: &mut dyn std::io::Read| {
        let mut text = String::new();
        from.take(LONGEST_TOKEN).read_to_string(&mut text).map(|_| text)
    };
    let is_input = file == Path::new("-");
    let text = if is_input {
        read(&mut std::io::stdin())
    } else {
        std::fs::File::open(file).and_then(|mut opened| read(&mut opened))
    };
    let text = text.map_err(|error| refuse(format!("cannot read {shown}: {error}")))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(refuse(format!("{shown} is empty")));
    }
    check_token(token).map_err(|problem| refuse(format!("{shown} holds no token: {problem}")))?;
    let token = Secret::new(token);
    outside_text::hide_secret(token.expose());
    if is_input {
        return Ok(Token::Value(token));
    }
    let path = std::path::absolute(file).map_err(|error| refuse(format!("{shown}: {error}")))?;
    Ok(Token::File(path, token))
}
