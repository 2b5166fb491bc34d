//! The bot's commands, global and per guild.
//!
//! The store is pure: times are durations since the simulator started.
//! [Source](https://docs.discord.com/developers/interactions/application-commands).

mod check;
mod handlers;

pub(crate) use handlers::routes;

use super::{error::RestError, form::Form, lookup::snowflake};
use crate::{report::CommandReport, world::Snowflake};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// New commands per day and scope.
const DAILY_CREATES: u32 = 200;
const DAY: Duration = Duration::from_hours(24);
/// Limit of commands per type: slash, user, message, entry point.
const MOST: [usize; 4] = [100, 15, 15, 1];

/// The scope of commands: one guild, or global.
pub(crate) type Scope = Option<Snowflake>;

/// The commands of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    scopes: BTreeMap<Scope, Vec<Value>>,
    /// Day and number of new commands on that day.
    creates: HashMap<Scope, (u64, u32)>,
    made: u64,
}

/// Application and time of a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangeStamp {
    pub(crate) application: Snowflake,
    /// Since the simulator started.
    pub(crate) at: Duration,
    /// Since Discord's epoch.
    pub(crate) wall_ms: u64,
}

/// Fields of a command that a body may set.
const SET: [&str; 10] = [
    "name",
    "name_localizations",
    "description",
    "description_localizations",
    "options",
    "default_member_permissions",
    "nsfw",
    "integration_types",
    "contexts",
    "dm_permission",
];

impl Commands {
    /// Lists the commands of a scope.
    pub(crate) fn list(&self, scope: Scope) -> &[Value] {
        self.scopes.get(&scope).map_or(&[], Vec::as_slice)
    }

    /// Returns a command.
    ///
    /// # Errors
    ///
    /// The command does not exist.
    pub(crate) fn get(&self, scope: Scope, id: Snowflake) -> Result<&Value, RestError> {
        self.list(scope).iter().find(|one| has_id(one, id)).ok_or(RestError::UNKNOWN_COMMAND)
    }

    /// Finds a command of any type by name, in the guild or global.
    pub(crate) fn named(&self, guild: Scope, name: &str) -> Option<&Value> {
        let scopes = if guild.is_some() { vec![guild, None] } else { vec![None] };
        scopes.into_iter().flat_map(|scope| self.list(scope)).find(|one| one["name"] == name)
    }

    /// Creates a command, or replaces the one with the same name and type. Returns whether it is new.
    ///
    /// # Errors
    ///
    /// The command is malformed, or there are too many.
    pub(crate) fn put(
        &mut self,
        scope: Scope,
        body: &Value,
        now: ChangeStamp,
    ) -> Result<(Value, bool), RestError> {
        let mut form = Form::default();
        check::command(&mut form, body, "");
        form.finish()?;
        let old = self.list(scope).iter().find(|one| same(one, body)).cloned();
        if old.is_none() {
            let mut all = self.list(scope).to_vec();
            all.push(body.clone());
            count_types(scope, &all)?;
            self.spend(scope, 1, now)?;
        }
        let command = self.complete(scope, body, old.as_ref(), now);
        let all = self.scopes.entry(scope).or_default();
        match all.iter_mut().find(|one| same(one, body)) {
            Some(place) => *place = command.clone(),
            None => all.push(command.clone()),
        }
        Ok((command, old.is_none()))
    }

    /// Replaces all commands of a scope.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub(crate) fn replace(
        &mut self,
        scope: Scope,
        bodies: &Value,
        now: ChangeStamp,
    ) -> Result<&[Value], RestError> {
        let mut form = Form::default();
        let bodies = form.list(bodies, "", MOST.iter().sum());
        for (number, body) in bodies.iter().enumerate() {
            check::command(&mut form, body, &number.to_string());
            if bodies[..number].iter().any(|other| same(other, body)) {
                let message = "Application command names must be unique";
                form.add_error(&number.to_string(), "APPLICATION_COMMANDS_DUPLICATE_NAME", message);
            }
        }
        form.finish()?;
        count_types(scope, bodies)?;
        let old = |body: &Value| self.list(scope).iter().find(|one| same(one, body)).cloned();
        let old: Vec<_> = bodies.iter().map(old).collect();
        self.spend(scope, old.iter().filter(|old| old.is_none()).count() as u32, now)?;
        let all = bodies.iter().zip(old).map(|(body, old)| self.complete(scope, body, old.as_ref(), now));
        let all = all.collect();
        self.scopes.insert(scope, all);
        Ok(self.list(scope))
    }

    /// Changes some fields of a command.
    ///
    /// # Errors
    ///
    /// The command does not exist, or would be malformed.
    pub(crate) fn change(
        &mut self,
        scope: Scope,
        id: Snowflake,
        body: &Value,
        now: ChangeStamp,
    ) -> Result<Value, RestError> {
        let old = self.get(scope, id)?.clone();
        let mut whole = old.clone();
        for field in SET {
            if let Some(value) = body.get(field) {
                whole[field] = value.clone();
            }
        }
        let mut form = Form::default();
        check::command(&mut form, &whole, "");
        if self.list(scope).iter().any(|other| same(other, &whole) && !has_id(other, id)) {
            let message = "Application command names must be unique";
            form.add_error("name", "APPLICATION_COMMANDS_DUPLICATE_NAME", message);
        }
        form.finish()?;
        let command = self.complete(scope, &whole, Some(&old), now);
        let all = self.scopes.entry(scope).or_default();
        if let Some(place) = all.iter_mut().find(|one| has_id(one, id)) {
            *place = command.clone();
        }
        Ok(command)
    }

    /// Deletes a command.
    ///
    /// # Errors
    ///
    /// The command does not exist.
    pub(crate) fn delete(&mut self, scope: Scope, id: Snowflake) -> Result<(), RestError> {
        self.get(scope, id)?;
        self.scopes.entry(scope).or_default().retain(|one| !has_id(one, id));
        Ok(())
    }

    /// Lists all commands, global ones first.
    pub(crate) fn reports(&self) -> Vec<CommandReport> {
        let all = self.scopes.iter().flat_map(|(scope, all)| all.iter().map(move |one| (*scope, one)));
        all.filter_map(|(guild_id, command)| {
            Some(CommandReport {
                id: snowflake(&command["id"])?,
                guild_id,
                kind: check::kind(command) as u8,
                name: command["name"].as_str()?.to_owned(),
                command: command.clone(),
            })
        })
        .collect()
    }

    /// Counts new commands against the daily limit. Days begin with the simulator.
    fn spend(&mut self, scope: Scope, new: u32, now: ChangeStamp) -> Result<(), RestError> {
        let today = now.at.as_secs() / DAY.as_secs();
        let (day, used) = self.creates.entry(scope).or_default();
        if *day != today {
            (*day, *used) = (today, 0);
        }
        if *used + new > DAILY_CREATES {
            return Err(RestError::TOO_MANY_CREATES);
        }
        *used += new;
        Ok(())
    }

    /// Builds the command object of a validated body.
    fn complete(&mut self, scope: Scope, body: &Value, old: Option<&Value>, now: ChangeStamp) -> Value {
        self.made += 1;
        let version = Snowflake::new(now.wall_ms, self.made);
        let mut command = json!({
            "id": old.map_or_else(|| json!(version), |old| old["id"].clone()),
            "application_id": now.application,
            "version": version,
            "type": check::kind(body),
            "name_localizations": null,
            "description": "",
            "description_localizations": null,
            "default_member_permissions": null,
            "nsfw": false,
            "integration_types": [0],
            "contexts": null,
        });
        for field in SET {
            if let Some(value) = body.get(field).filter(|value| !value.is_null()) {
                command[field] = value.clone();
            }
        }
        match scope {
            Some(guild) => command["guild_id"] = json!(guild),
            None => command["dm_permission"] = (body["dm_permission"] != false).into(),
        }
        command
    }
}

/// Returns whether two commands have the same name and type.
fn same(one: &Value, other: &Value) -> bool {
    one["name"] == other["name"] && check::kind(one) == check::kind(other)
}

fn has_id(command: &Value, id: Snowflake) -> bool {
    snowflake(&command["id"]) == Some(id)
}

/// Checks the limit of each type.
fn count_types(scope: Scope, all: &[Value]) -> Result<(), RestError> {
    for (most, kind) in MOST.into_iter().zip(1..) {
        let most = if kind == 4 && scope.is_some() { 0 } else { most };
        if all.iter().filter(|one| check::kind(one) == kind).count() > most {
            return Err(RestError::TOO_MANY_COMMANDS);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: Scope = Some(Snowflake(5));

    const fn now(at: Duration) -> ChangeStamp {
        ChangeStamp { application: Snowflake(7), at, wall_ms: 1_000 }
    }

    const START: ChangeStamp = now(Duration::ZERO);

    fn ping(number: usize) -> Value {
        json!({"name": format!("ping{number}"), "description": "Pong"})
    }

    #[test]
    fn same_name_and_type_replaces_and_keeps_the_id() {
        let mut commands = Commands::default();
        let (first, new) = commands.put(None, &ping(1), START).unwrap();
        assert!(new);
        let (second, new) = commands.put(None, &ping(1), START).unwrap();
        assert_eq!((new, &second["id"]), (false, &first["id"]));
        assert_ne!(second["version"], first["version"]);
        let menu = json!({"name": "ping1", "type": 2});
        assert!(commands.put(None, &menu, START).unwrap().1, "another type");
        assert_eq!((commands.list(None).len(), commands.list(GUILD).len()), (2, 0));
        let all = commands.replace(None, &json!([ping(2), ping(1)]), START).unwrap();
        assert_eq!((all.len(), &all[1]["id"]), (2, &first["id"]));
    }

    #[test]
    fn each_scope_takes_200_new_commands_a_day() {
        let mut commands = Commands::default();
        let batch = |from: usize| (from..from + 100).map(ping).collect::<Value>();
        commands.replace(GUILD, &batch(0), START).unwrap();
        commands.replace(GUILD, &batch(0), START).unwrap();
        commands.replace(GUILD, &batch(100), START).unwrap();
        assert_eq!(commands.replace(GUILD, &batch(200), START).unwrap_err(), RestError::TOO_MANY_CREATES);
        assert!(commands.replace(None, &batch(200), START).is_ok(), "elsewhere");
        assert!(commands.replace(GUILD, &batch(200), now(DAY)).is_ok(), "tomorrow");
    }

    #[test]
    fn each_type_has_a_limit() {
        let mut commands = Commands::default();
        commands.replace(None, &(0..100).map(ping).collect(), START).unwrap();
        assert_eq!(commands.put(None, &ping(100), START).unwrap_err(), RestError::TOO_MANY_COMMANDS);
        for number in 0..15 {
            commands.put(None, &json!({"type": 3, "name": format!("m{number}")}), START).unwrap();
        }
        let more = json!({"type": 3, "name": "more"});
        assert_eq!(commands.put(None, &more, START).unwrap_err(), RestError::TOO_MANY_COMMANDS);
        let entry = json!({"type": 4, "name": "launch"});
        assert!(commands.put(None, &entry, START).is_ok());
        assert_eq!(commands.put(GUILD, &entry, START).unwrap_err(), RestError::TOO_MANY_COMMANDS);
    }

    #[test]
    fn change_keeps_other_fields_and_unique_names() {
        let mut commands = Commands::default();
        let (command, _) = commands.put(None, &ping(1), START).unwrap();
        commands.put(None, &ping(2), START).unwrap();
        let id = snowflake(&command["id"]).unwrap();
        let changed = commands.change(None, id, &json!({"description": "New"}), START).unwrap();
        assert_eq!((&changed["name"], &changed["description"]), (&json!("ping1"), &json!("New")));
        assert_eq!(commands.change(None, id, &json!({"name": "ping2"}), START).unwrap_err().code, 50035);
        commands.delete(None, id).unwrap();
        assert_eq!(commands.delete(None, id).unwrap_err(), RestError::UNKNOWN_COMMAND);
    }
}
