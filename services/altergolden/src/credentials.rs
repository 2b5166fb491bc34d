//! `altergolden credentials`: makes the certificates and tokens of a fleet, shows and revokes them.

mod authority;
mod folder;
mod show;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Subcommand};
use process::credentials::{ANY_NAME, FleetName, Identity, Role};

use crate::exit::{CommandOutcome, print_line};
use authority::{Authority, Leaf};
use folder::{CredentialsFolder, FolderError};

#[derive(Debug, Args)]
pub(crate) struct CredentialsArgs {
    #[command(subcommand)]
    command: CredentialsCommand,
}

#[derive(Debug, Subcommand)]
enum CredentialsCommand {
    /// Make a CA, and a certificate for each role; what is there already stays
    Init {
        /// Folder for the files
        dir: PathBuf,
        /// Name of the fleet; it must equal FLEET (by default REDIS_PREFIX) of its programs
        #[arg(long, env = "FLEET", value_name = "NAME", default_value = "altergolden")]
        fleet: FleetName,
        /// Host name or address at which bots and operators reach the coordinator, beside localhost; repeatable
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Make one certificate
    Issue {
        /// coordinator, worker, bot, operator, supervisor or monitor; or client-facing, for CLIENT_FACING_CERTIFICATE
        role: Purpose,
        /// Its name in logs and the history; a worker with it must have this WORKER_NAME, unless it is `any`
        name: String,
        /// The folder of `credentials init`
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        dir: PathBuf,
        /// Host name or address of the server, if clients check it; repeatable
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Make a bearer token, print it once, and add its hash to the access list
    Token {
        /// bot, operator or monitor
        role: Role,
        /// Its name in logs and the history
        name: String,
        /// The folder of `credentials init`
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        dir: PathBuf,
    },
    /// Show what a credentials file has: fleet, role, name, serial number, expiry
    Show {
        /// A PEM file
        file: PathBuf,
    },
    /// Add a certificate to the access list as revoked
    Revoke {
        /// Serial number, as `credentials show` prints it
        serial: String,
        /// The folder of `credentials init`
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        dir: PathBuf,
    },
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// It proves a role.
    Role(Role),
    /// A port for Discord libraries. It proves no role.
    ClientFacing,
}

const CLIENT_FACING: &str = "client-facing";

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == CLIENT_FACING {
            return Ok(Self::ClientFacing);
        }
        text.parse().map(Self::Role).map_err(|error| format!("{error}, {CLIENT_FACING}"))
    }
}

impl From<FolderError> for CommandOutcome {
    fn from(error: FolderError) -> Self {
        Self::wrong_setting(error)
    }
}

pub(crate) fn run(args: CredentialsArgs) -> CommandOutcome {
    let done = match args.command {
        CredentialsCommand::Init { dir, fleet, hosts } => init(&CredentialsFolder(dir), &fleet, &hosts),
        CredentialsCommand::Issue { role, name, dir, hosts } => {
            issue(&CredentialsFolder(dir), role, &name, &hosts)
        }
        CredentialsCommand::Token { role, name, dir } => token(&CredentialsFolder(dir), role, &name),
        CredentialsCommand::Show { file } => return show::run(&file),
        CredentialsCommand::Revoke { serial, dir } => revoke(&CredentialsFolder(dir), &serial),
    };
    done.unwrap_or_else(Into::into)
}

/// Returns bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Makes the credentials of a fleet with the usual name, as `credentials init` does.
///
/// # Errors
/// A file cannot be written, or the folder has credentials of another fleet.
pub(crate) fn make(folder: &Path) -> Result<(), CommandOutcome> {
    let fleet = "altergolden".parse().map_err(CommandOutcome::wrong_setting)?;
    make_files(&CredentialsFolder(folder.to_owned()), &fleet, &[]).map_err(Into::into)
}

/// Names of the certificates that `init` makes.
fn usual_name(role: Role) -> &'static str {
    match role {
        Role::Worker => ANY_NAME,
        role => role.as_str(),
    }
}

fn init(
    folder: &CredentialsFolder,
    fleet: &FleetName,
    hosts: &[String],
) -> Result<CommandOutcome, FolderError> {
    make_files(folder, fleet, hosts)?;
    print_line(format_args!(
        "Next: set CREDENTIALS to {} for programs on this host; copy a role's .pem and access.list to other hosts, and keep ca.key here.",
        folder.0.display()
    ));
    Ok(CommandOutcome::success())
}

fn make_files(folder: &CredentialsFolder, fleet: &FleetName, hosts: &[String]) -> Result<(), FolderError> {
    folder.create()?;
    let authority = match folder.authority()? {
        Some(known) if known.fleet != *fleet => return Err(FolderError::OtherFleet(known.fleet)),
        Some(known) => known,
        None => {
            let made = Authority::make(fleet.clone())?;
            folder.keep_authority(&made)?;
            made
        }
    };
    let head_keys = folder.head_keys()?;
    for role in Role::ALL {
        let file = format!("{role}.pem");
        if folder.has(&file) {
            print_line(format_args!("{} stays as it is", folder.path(&file).display()));
            continue;
        }
        let mut at = Vec::new();
        if role == Role::Coordinator {
            at.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
            at.extend_from_slice(hosts);
        }
        let identity = Identity::new(role, usual_name(role)).map_err(FolderError::Invalid)?;
        let leaf = authority.issue(&identity, &at)?;
        folder.write_leaf(&file, &leaf, &authority, &head_keys)?;
        print_line(format_args!("wrote {}", folder.path(&file).display()));
    }
    Ok(())
}

fn issue(
    folder: &CredentialsFolder,
    purpose: Purpose,
    name: &str,
    hosts: &[String],
) -> Result<CommandOutcome, FolderError> {
    let authority = folder.known_authority()?;
    let (file, Leaf { serial, .. }) = match purpose {
        Purpose::Role(role) => {
            let identity = Identity::new(role, name).map_err(FolderError::Invalid)?;
            let leaf = authority.issue(&identity, hosts)?;
            let file = format!("{role}-{name}.pem");
            folder.write_leaf(&file, &leaf, &authority, &folder.head_keys()?)?;
            (file, leaf)
        }
        Purpose::ClientFacing => {
            // The rules for names are the same for all.
            Identity::new(Role::Worker, name).map_err(FolderError::Invalid)?;
            if hosts.is_empty() {
                return Err(FolderError::Invalid(
                    "--host: needed, as bots' clients check the name that they connect to; repeat it for each name and address",
                ));
            }
            let leaf = authority.issue_client_facing(name, hosts)?;
            let file = format!("{CLIENT_FACING}-{name}.pem");
            folder.write_leaf(&file, &leaf, &authority, "")?;
            (file, leaf)
        }
    };
    print_line(format_args!("wrote {}", folder.path(&file).display()));
    print_line(format_args!("serial number {serial}"));
    Ok(CommandOutcome::success())
}

fn token(folder: &CredentialsFolder, role: Role, name: &str) -> Result<CommandOutcome, FolderError> {
    if !role.may_have_token() {
        return Err(FolderError::Invalid(
            "tokens are for the roles bot, operator and monitor; others need a certificate",
        ));
    }
    folder.known_authority()?;
    let identity = Identity::new(role, name).map_err(FolderError::Invalid)?;
    let token = folder.add_token(&identity)?;
    print_line(token);
    Ok(CommandOutcome::success())
}

fn revoke(folder: &CredentialsFolder, serial: &str) -> Result<CommandOutcome, FolderError> {
    folder.known_authority()?;
    folder.add_revoked(serial)?;
    print_line(format_args!(
        "revoked in {}: copy it to the folders of all coordinators and workers; they read it within 5 s",
        folder.path(process::credentials::ACCESS_LIST).display()
    ));
    Ok(CommandOutcome::success())
}
