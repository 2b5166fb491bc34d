//! `altergolden repair`: finds records in Redis that no program of the fleet can have written, such as a term beyond every clock, and
//! removes them. A fleet cannot do that by itself: such a record may keep every coordinator from acting.

use std::fmt;

use checkpoint::{CheckpointRedisStore, CheckpointStoreError};
use event_bus::repair_broadcasts;
use fleet_store::{ActingCoordinator, FleetRedisStore, FleetStore as _, FleetStoreError, Repair};
use process::settings::{Secret, StoreArgs};
use redis_link::{InvalidPart, LinkOptions, RedisLink};

use crate::{
    exit::{CommandOutcome, print_line},
    up,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing is invalid, or it was removed; 1 something is invalid and --yes is missing; 2 wrong setting; \
                  3 Redis does not answer."
)]
pub(crate) struct RepairArgs {
    /// Remove what is invalid; without it only show it
    #[arg(long)]
    yes: bool,

    /// Accept unsigned checkpoints again, in a fleet that gives up its credentials; the coordinator must be stopped
    #[arg(long)]
    accept_unsigned: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Looks, repairs with `--yes`, and prints a line for each record.
pub(crate) async fn run(mut args: RepairArgs) -> CommandOutcome {
    if args.store.redis_url.as_ref().is_none_or(|url: &Secret| url.expose().trim().is_empty()) {
        args.store.redis_url = up::running_redis();
    }
    let url = match args.store.url() {
        Ok(url) => url,
        Err(error) => return CommandOutcome::wrong_setting(error),
    };
    let link = RedisLink::new(url, LinkOptions::default());
    let prefix = &args.store.redis_prefix;
    let stores = Stores {
        fleet: FleetRedisStore::new(link.clone(), prefix.clone()),
        checkpoints: CheckpointRedisStore::new(link.clone(), prefix.clone()),
        link,
    };
    match stores.examine_and_repair(&args).await {
        Ok(outcome) => outcome,
        Err(error) => CommandOutcome::unreachable(format!("cannot repair: {error}")),
    }
}

struct Stores {
    fleet: FleetRedisStore,
    checkpoints: CheckpointRedisStore,
    link: RedisLink,
}

/// Redis did not answer.
#[derive(Debug)]
struct Away(String);

impl Stores {
    async fn examine_and_repair(&self, args: &RepairArgs) -> Result<CommandOutcome, Away> {
        let acting = self.fleet.acting().await?;
        if let Some(ActingCoordinator { holder, term }) = &acting {
            let term = term.map_or_else(|| "an unknown term".to_owned(), |term| format!("term {term}"));
            print_line(format!("coordinator {holder} holds {term}; valid records stay as they are"));
        }
        if acting.is_some() && args.accept_unsigned {
            let why = "stop the coordinator first: a coordinator holds the term and would require signatures again; stop all of them, wait for the lease TTL (5 s), and repeat";
            return Ok(CommandOutcome::failed(format!("--accept-unsigned: {why}")));
        }
        let slots = self.fleet.slots().await?;
        let mut found: Vec<String> = self.fleet.repair(args.yes).await?.iter().map(line).collect();
        let broadcasts = repair_broadcasts(&self.link, &args.store.redis_prefix, args.yes).await;
        let mut others = broadcasts.map_err(|error| Away(error.to_string()))?;
        for slot in slots {
            others.extend(self.checkpoints.repair(slot, args.yes).await?);
        }
        found.extend(others.into_iter().map(|(key, part)| line(&Repair { key, part })));
        if args.accept_unsigned {
            found.extend(self.accept_unsigned(args.yes).await?);
        }
        for line in &found {
            print_line(line);
        }
        Ok(match (found.len(), args.yes) {
            (0, _) => {
                print_line("nothing to repair");
                CommandOutcome::success()
            }
            (records, true) => {
                print_line(format!("repaired: {records}"));
                CommandOutcome::success()
            }
            (records, false) => {
                print_line(format!("to repair: {records}; repeat with --yes"));
                CommandOutcome::negative()
            }
        })
    }

    async fn accept_unsigned(&self, write: bool) -> Result<Option<String>, Away> {
        let required = match self.fleet.load().await {
            Ok(record) => record.head_signing.required,
            // Its record is about to be repaired.
            Err(FleetStoreError::InvalidRecord(_)) => true,
            Err(error) => return Err(error.into()),
        };
        if !required {
            return Ok(None);
        }
        if write {
            self.fleet.forget_head_signing().await?;
        }
        Ok(Some("unsigned checkpoints are refused: remove this rule (head_key_required)".to_owned()))
    }
}

fn line(Repair { key, part }: &Repair) -> String {
    match part {
        InvalidPart::Type(kind) => format!("{key}: is a {kind} of another program: remove it"),
        InvalidPart::Fields(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
            format!("{key}: impossible or incomplete: remove {}", fields.join(", "))
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<FleetStoreError> for Away {
    fn from(error: FleetStoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<CheckpointStoreError> for Away {
    fn from(error: CheckpointStoreError) -> Self {
        Self(error.to_string())
    }
}
