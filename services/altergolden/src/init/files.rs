//! The files of each target, as text.

use std::{fmt::Write as _, path::Path};

use process::settings::SettingsError;

use super::{
    Target,
    answers::{Answers, Token},
};

/// Settings for `up` and for Compose, in the folder.
pub(super) const ENV: &str = ".env";
/// Settings for the unit.
pub(super) const UNIT_ENV: &str = "altergolden.env";
/// The unit.
pub(super) const UNIT: &str = "altergolden.service";
/// The stack that `.env` configures.
const COMPOSE: &str = "compose.yaml";

/// The folder with certificates and keys.
pub(super) const CREDENTIALS: &str = "credentials";
/// Where the unit's user, which is made at each start, can read them.
pub(super) const UNIT_CREDENTIALS: &str = "/var/lib/altergolden/credentials";

const UNIT_TEXT: &str = include_str!("../../../../deploy/systemd/altergolden.service");

/// A file to write.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) name: &'static str,
    pub(super) content: String,
    /// Only its owner may read it.
    pub(super) is_secret: bool,
}

fn names(target: Target) -> &'static [&'static str] {
    match target {
        Target::Env | Target::Compose => &[ENV],
        Target::Systemd => &[UNIT_ENV, UNIT],
    }
}

/// Refuses a target whose files exist, unless they are to be replaced, or whose stack is missing.
pub(super) fn refuse_existing(target: Target, folder: &Path, force: bool) -> Result<(), String> {
    if target == Target::Compose && !folder.join(COMPOSE).is_file() {
        return Err(format!(
            "{} does not exist: run this in a checkout of the repository, or name it with --dir",
            folder.join(COMPOSE).display()
        ));
    }
    let exists = |name: &&&str| folder.join(name).symlink_metadata().is_ok();
    match names(target).iter().find(exists) {
        Some(name) if !force => Err(format!(
            "{} exists already: nothing was written; --force replaces it",
            folder.join(name).display()
        )),
        _ => Ok(()),
    }
}

/// The files of the target.
pub(super) fn files(answers: &Answers, folder: &Path) -> Result<Vec<NewFile>, SettingsError> {
    let settings = |name| -> Result<NewFile, SettingsError> {
        Ok(NewFile { name, content: settings_text(answers, folder)?, is_secret: true })
    };
    Ok(match answers.target {
        Target::Env | Target::Compose => vec![settings(ENV)?],
        Target::Systemd => {
            vec![settings(UNIT_ENV)?, NewFile { name: UNIT, content: UNIT_TEXT.to_owned(), is_secret: false }]
        }
    })
}

/// The settings that an operator is likely to want next, as comments.
fn examples(target: Target) -> &'static str {
    match target {
        Target::Compose => {
            "# More settings that compose.yaml passes on; docs/settings.md has them all.\n\
             #SHARDS_PER_CLUSTER=8\n\
             #RELAY=redis\n\
             #RUST_LOG=info,gateway_worker=debug\n"
        }
        Target::Env | Target::Systemd => {
            "# More settings; docs/settings.md has them all.\n\
             #SHARDS_PER_CLUSTER=8\n\
             #MAX_MEMORY_RESTART=2G\n\
             #RELAY=redis\n\
             #REST_LISTEN=127.0.0.1:3080\n\
             #RUST_LOG=info,gateway_worker=debug\n"
        }
    }
}

/// The file of settings.
fn settings_text(answers: &Answers, folder: &Path) -> Result<String, SettingsError> {
    let reader = match answers.target {
        Target::Env => "`altergolden up` in this folder; variables of the environment win over it",
        Target::Compose => "`docker compose` in this folder; variables of the shell win over it",
        Target::Systemd => "systemd for altergolden.service, from /etc/altergolden",
    };
    let mut text = format!("# Written by `altergolden init`. Read by {reader}.\n");
    match &answers.token {
        Token::Later => {
            text.push_str("# The bot's token: Discord's Developer Portal, page Bot.\nDISCORD_TOKEN=\n");
        }
        Token::File(path, _) if answers.target == Target::Env => {
            let path =
                path.to_str().ok_or_else(|| SettingsError::new("--token-file", "the path is not UTF-8"))?;
            line(&mut text, "DISCORD_TOKEN_FILE", path)?;
        }
        Token::Value(token) | Token::File(_, token) => {
            text.push_str("# A secret: keep this file out of git and of backups that others read.\n");
            line(&mut text, "DISCORD_TOKEN", token.expose())?;
        }
    }
    for (name, value) in answers.variables() {
        // The number of containers is an argument of `docker compose up`.
        if answers.target != Target::Compose || name != "CLUSTER_COUNT" {
            line(&mut text, name, &value)?;
        }
    }
    if answers.make_credentials {
        let path = match answers.target {
            Target::Systemd => UNIT_CREDENTIALS.to_owned(),
            Target::Env | Target::Compose => {
                let path = std::path::absolute(folder.join(CREDENTIALS)).unwrap_or_default();
                path.to_str().ok_or_else(|| SettingsError::new("--dir", "the path is not UTF-8"))?.to_owned()
            }
        };
        line(&mut text, "CREDENTIALS", &path)?;
    }
    text.push_str(examples(answers.target));
    Ok(text)
}

/// One variable, so that `altergolden up`, Compose and systemd all read the same value.
fn line(text: &mut String, name: &'static str, value: &str) -> Result<(), SettingsError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    if value.chars().all(is_plain) {
        writeln!(text, "{name}={value}").expect("a String takes all text");
        return Ok(());
    }
    // Between single quotes all three take everything else literally.
    if value.chars().any(|c| c == '\'' || c == '\\' || c.is_control()) {
        let problem = "a value in these files can't hold a quote ', a backslash or a control character";
        return Err(SettingsError::new(name, problem));
    }
    writeln!(text, "{name}='{value}'").expect("a String takes all text");
    Ok(())
}
