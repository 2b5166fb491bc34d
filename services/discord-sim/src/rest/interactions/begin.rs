//! Starts interactions: builds and dispatches INTERACTION_CREATE.
//!
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object).

use super::table::{Interaction, Kind};
use crate::{
    event::PrebuiltEvent,
    fault_error::FaultError,
    faults::{FaultOutcome, NewInteraction},
    rest::{
        Rest,
        error::RestError,
        lookup::{ChannelRef, direct_channel_id, snowflake, user_body},
    },
    world::{Draw, GuildIndex, Snowflake, World, time},
};
use serde_json::{Value, json};

/// The permissions of administrators and owners.
const ALL_PERMISSIONS: u64 = (1 << 53) - 1;
const ADMINISTRATOR: u64 = 1 << 3;
/// Largest attachment in a guild without boosts, in bytes.
const ATTACHMENT_SIZE_LIMIT: u64 = 10 * 1024 * 1024;
/// Contexts of an interaction.
/// [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-context-types).
const CONTEXT_GUILD: u8 = 0;
const CONTEXT_BOT_DM: u8 = 1;
/// Option types whose values are ids.
const USER: u64 = 6;
const CHANNEL: u64 = 7;
const ROLE: u64 = 8;

/// Place and user of an interaction.
struct InteractionSource {
    place: ChannelRef,
    user: Snowflake,
    /// The user's member position in the place's guild.
    position: u64,
}

impl Rest {
    /// Starts an interaction.
    ///
    /// # Errors
    ///
    /// A guild, channel, user or message does not exist, or the request is malformed.
    pub(crate) fn begin_interaction(&self, wanted: NewInteraction) -> Result<FaultOutcome, FaultError> {
        let now_ms = time::now_ms();
        let id = self.state().interactions.next_id(now_ms);
        let source = self.source(&wanted, id)?;
        let world = &self.hub.world;
        let (kind, name, data, message) = self.data(&wanted, &source, id)?;
        let token = {
            let mut draw = Draw::new(self.hub.config.seed, &[98, id.0]);
            format!("{}{}", draw.hex(), draw.hex())
        };
        let guild = source.place.guild();
        let guild_id = guild.map(|guild| world.head(guild).id);
        let user = user_body(world, source.user).ok_or(FaultError::UnknownUser(source.user))?;
        let owners = json!({ "0": guild_id.map_or_else(|| "0".to_owned(), |id| id.to_string()) });
        let mut channel = source.place.channel(world);
        let mut body = json!({
            "id": id,
            "application_id": world.bot_id(),
            "type": kind.number(),
            "token": token,
            "version": 1,
            "data": data,
            "channel_id": source.place.channel_id(),
            "locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": owners,
            "context": if guild.is_some() { CONTEXT_GUILD } else { CONTEXT_BOT_DM },
            "attachment_size_limit": ATTACHMENT_SIZE_LIMIT,
            "app_permissions": permissions(world, guild, 0),
        });
        if let Some(guild) = guild {
            let whole = json!(world.rest_guild(guild));
            let locale = &whole["preferred_locale"];
            let mut member = json!(world.member(guild, source.position, true));
            member["permissions"] = permissions(world, Some(guild), source.position);
            channel["permissions"] = member["permissions"].clone();
            body["member"] = member;
            body["guild_id"] = json!(guild_id);
            body["guild"] = json!({ "id": guild_id, "locale": locale, "features": whole["features"] });
            body["guild_locale"] = locale.clone();
        } else {
            body["user"] = user.clone();
        }
        body["channel"] = channel;
        if let Some(message) = message {
            body["message"] = message;
        }
        let metadata = json!({
            "id": id,
            "type": kind.number(),
            "user": user,
            "authorizing_integration_owners": owners,
        });
        self.state().interactions.insert(Interaction {
            id,
            token,
            kind,
            name,
            user: source.user,
            place: source.place,
            metadata,
            created: self.hub.now(),
            answer: None,
            original: None,
            ephemeral: false,
            loading: false,
            follow_ups: Vec::new(),
        });
        let dispatched =
            self.hub.dispatch(PrebuiltEvent::new("INTERACTION_CREATE", guild, &body, world.bot_id()));
        Ok(FaultOutcome { guild_id, interaction_id: Some(id), dispatched, ..FaultOutcome::default() })
    }

    /// Resolves place and user. Missing ones are drawn with the interaction's id as the seed.
    fn source(&self, wanted: &NewInteraction, id: Snowflake) -> Result<InteractionSource, FaultError> {
        let world = &self.hub.world;
        let of_message = wanted.message_id.filter(|_| wanted.component.is_some()).map(|id| {
            let state = self.state();
            state.messages.get(id).map(|kept| kept.channel).ok_or(FaultError::UnknownMessage(id))
        });
        let channel = of_message.transpose()?.or(wanted.channel_id);
        let mut draw = Draw::new(self.hub.config.seed, &[97, id.0]);
        let place = if let Some(channel) = channel {
            self.place(channel).map_err(|error| match error {
                RestError::UNKNOWN_CHANNEL => FaultError::UnknownChannel(channel),
                _ => FaultError::Unreachable(channel),
            })?
        } else if wanted.dm {
            let user = match wanted.user_id {
                Some(id) => world.find_user(id).ok_or(FaultError::UnknownUser(id))?,
                None => world.user_index(self.some_guild(&mut draw)?, 1),
            };
            ChannelRef::Direct { id: direct_channel_id(world.user(user).id), user }
        } else {
            let guild = match wanted.guild_id {
                Some(id) => self.guild(id).map_err(|error| match error {
                    RestError::UNKNOWN_GUILD => FaultError::UnknownGuild(id),
                    _ => FaultError::NotAvailable(id),
                })?,
                None => self.some_guild(&mut draw)?,
            };
            let mut channels = world.visible_channels(guild).into_iter().map(|channel| json!(channel));
            let text = channels.find(|channel| channel["type"] == 0);
            let channel = text.ok_or_else(|| FaultError::NotAvailable(world.head(guild).id))?;
            ChannelRef::Guild { guild, channel }
        };
        let Some(guild) = place.guild() else {
            let ChannelRef::Direct { user, .. } = place else { return Err(FaultError::NoGuild) };
            return Ok(InteractionSource { place, user: world.user(user).id, position: 0 });
        };
        let position = match wanted.user_id {
            Some(user) => world.member_position(guild, user).filter(|position| *position > 0),
            None => Some(draw.range(1, world.head(guild).members - 1)),
        };
        let position = position.ok_or(FaultError::UnknownUser(wanted.user_id.unwrap_or(Snowflake(0))))?;
        Ok(InteractionSource { place, user: world.user(world.user_index(guild, position)).id, position })
    }

    fn some_guild(&self, draw: &mut Draw) -> Result<GuildIndex, FaultError> {
        let available = self.hub.available();
        if available.is_empty() { Err(FaultError::NoGuild) } else { Ok(draw.pick(&available)) }
    }

    /// Returns the kind of interaction, its name, the `data` field and its message.
    fn data(
        &self,
        wanted: &NewInteraction,
        source: &InteractionSource,
        id: Snowflake,
    ) -> Result<(Kind, String, Value, Option<Value>), FaultError> {
        match (&wanted.command, &wanted.component, &wanted.modal) {
            (Some(command), None, None) => {
                let (kind, data) = self.command_data(wanted, command, source, id)?;
                Ok((kind, command.clone(), data, None))
            }
            (None, Some(component), None) => {
                let message = wanted.message_id.ok_or(FaultError::BadInteraction)?;
                let body = self.state().messages.get(message).map(|kept| kept.body.clone());
                let mut data = json!({ "custom_id": component, "component_type": 2, "id": 1 });
                if !wanted.values.is_empty() {
                    data["component_type"] = 3.into();
                    data["values"] = json!(wanted.values);
                }
                Ok((Kind::Component { message }, component.clone(), data, body))
            }
            (None, None, Some(modal)) => {
                let data = json!({ "custom_id": modal, "components": wanted.components });
                Ok((Kind::Modal, modal.clone(), data, None))
            }
            _ => Err(FaultError::BadInteraction),
        }
    }

    fn command_data(
        &self,
        wanted: &NewInteraction,
        name: &str,
        source: &InteractionSource,
        id: Snowflake,
    ) -> Result<(Kind, Value), FaultError> {
        let world = &self.hub.world;
        let guild = source.place.guild();
        let guild_id = guild.map(|guild| world.head(guild).id);
        let registered = self.state().commands.named(guild_id, name).cloned().unwrap_or(Value::Null);
        let command_type = registered["type"].as_u64().unwrap_or(1);
        let command_id = snowflake(&registered["id"]).unwrap_or(Snowflake(id.0 ^ 1));
        let mut data = json!({ "id": command_id, "name": name, "type": command_type });
        if registered["guild_id"].is_string() {
            data["guild_id"] = registered["guild_id"].clone();
        }
        let mut resolved = json!({});
        match command_type {
            2 => {
                data["target_id"] = json!(source.user);
                self.resolve(USER, &json!(source.user), guild, &mut resolved);
            }
            3 => {
                let message = wanted.message_id.ok_or(FaultError::BadInteraction)?;
                let state = self.state();
                let kept = state.messages.get(message).ok_or(FaultError::UnknownMessage(message))?;
                data["target_id"] = json!(message);
                resolved["messages"] = json!({ message.to_string(): kept.body });
            }
            _ => {}
        }
        let mut options = wanted.options.clone();
        for option in &mut options {
            self.complete_option(option, &registered["options"], guild, &mut resolved)?;
        }
        if wanted.autocomplete && !options.iter().any(|option| option["focused"] == true) {
            let last = options.last_mut().ok_or(FaultError::BadInteraction)?;
            last["focused"] = true.into();
        }
        if !options.is_empty() {
            data["options"] = options.into();
        }
        if resolved.as_object().is_some_and(|all| !all.is_empty()) {
            data["resolved"] = resolved;
        }
        let message_type = if command_type == 1 { 20 } else { 23 };
        Ok((if wanted.autocomplete { Kind::Autocomplete } else { Kind::Command { message_type } }, data))
    }

    /// Adds an option's type, from the registered command or its value, and resolves ids.
    ///
    /// # Errors
    ///
    /// The option or a nested one is not an object.
    fn complete_option(
        &self,
        option: &mut Value,
        known: &Value,
        guild: Option<GuildIndex>,
        resolved: &mut Value,
    ) -> Result<(), FaultError> {
        if !option.is_object() {
            return Err(FaultError::BadInteraction);
        }
        let known = known.as_array().into_iter().flatten().find(|known| known["name"] == option["name"]);
        let null = Value::Null;
        let known = known.unwrap_or(&null);
        if option["type"].is_null() {
            option["type"] = match (&known["type"], &option["value"]) {
                (Value::Number(kind), _) => kind.clone().into(),
                (_, Value::Bool(_)) => 5.into(),
                (_, Value::Number(number)) if number.is_f64() => 10.into(),
                (_, Value::Number(_)) => 4.into(),
                (_, Value::Null) => 1.into(),
                _ => 3.into(),
            };
        }
        let kind = option["type"].as_u64().unwrap_or(0);
        self.resolve(kind, &option["value"].clone(), guild, resolved);
        if let Value::Array(nested) = &mut option["options"] {
            for option in nested {
                self.complete_option(option, &known["options"], guild, resolved)?;
            }
        } else if let Some(fields) = option.as_object_mut() {
            fields.remove("options");
        }
        Ok(())
    }

    /// Adds the object of an id to `resolved`.
    /// [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-resolved-data-structure).
    fn resolve(&self, kind: u64, value: &Value, guild: Option<GuildIndex>, resolved: &mut Value) {
        let Some(id) = snowflake(value).filter(|_| matches!(kind, USER | CHANNEL | ROLE)) else { return };
        let world = &self.hub.world;
        let key = id.to_string();
        match (kind, guild) {
            (USER, _) => {
                let Some(user) = user_body(world, id) else { return };
                resolved["users"][&key] = user;
                if let Some(guild) = guild
                    && let Some(position) = world.member_position(guild, id)
                {
                    let mut member = json!(world.member(guild, position, false));
                    member["permissions"] = permissions(world, Some(guild), position);
                    resolved["members"][&key] = member;
                }
            }
            (CHANNEL, Some(guild)) => {
                let Some(channel) = world.channel_by_id(id).map(|channel| json!(channel)) else { return };
                resolved["channels"][&key] = json!({
                    "id": id, "type": channel["type"], "name": channel["name"],
                    "parent_id": channel["parent_id"], "permissions": permissions(world, Some(guild), 0),
                });
            }
            (ROLE, Some(guild)) => {
                let roles = json!(world.roles(guild));
                let role = roles.as_array().into_iter().flatten().find(|role| role["id"] == *key);
                if let Some(role) = role {
                    resolved["roles"][&key] = role.clone();
                }
            }
            _ => {}
        }
    }
}

/// Returns a member's permissions by its roles, as a string of digits, without channel overwrites.
fn permissions(world: &World, guild: Option<GuildIndex>, position: u64) -> Value {
    // Permissions of both sides in a direct channel.
    let Some(guild) = guild else { return "2222085186637376".into() };
    let whole = json!(world.rest_guild(guild));
    let member = json!(world.member(guild, position, true));
    let held = |role: &Value| {
        role["id"] == whole["id"]
            || member["roles"].as_array().is_some_and(|roles| roles.contains(&role["id"]))
    };
    let roles = whole["roles"].as_array().into_iter().flatten().filter(|role| held(role));
    let all = roles
        .filter_map(|role| role["permissions"].as_str()?.parse::<u64>().ok())
        .fold(0, |all, some| all | some);
    let whole = all & ADMINISTRATOR != 0 || member["user"]["id"] == whole["owner_id"];
    if whole { ALL_PERMISSIONS } else { all }.to_string().into()
}
