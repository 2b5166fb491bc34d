//! Applies faults of the gateway, guilds and sessions.

use super::{ConnectionCommand, Hub, State};
use crate::{
    config::is_valid_rate,
    event::{Event, PrebuiltEvent},
    fault_error::FaultError,
    faults::{Fault, FaultOutcome, FaultRecord},
    odd::{Moment, Oddity, Script},
    report::GuildState,
    switches::may_be_sent,
    world::{GuildIndex, Snowflake},
};

/// Bytes of a close frame after its code. [Source](https://www.rfc-editor.org/rfc/rfc6455#section-5.5).
const REASON_BYTES: usize = 123;

impl State {
    /// Sends a command to the connections of these shards. Returns their number.
    fn send_command(&self, shards: Option<&[u32]>, command: &ConnectionCommand) -> usize {
        self.connections
            .values()
            .filter(|connection| match connection.shard {
                Some(shard) => shards.is_none_or(|some| some.contains(&shard.number)),
                // Before IDENTIFY a connection has no shard and can only be reset.
                None => shards.is_none() && matches!(command, ConnectionCommand::Abort),
            })
            .filter(|connection| connection.commands.try_send(command.clone()).is_ok())
            .count()
    }
}

impl Hub {
    /// Records a fault.
    pub(crate) fn record_fault(&self, record: FaultRecord) {
        self.lock().faults.push(record);
    }

    /// Applies a fault. [control](crate::control) applies faults of REST and presets.
    ///
    /// # Errors
    ///
    /// The fault is impossible here or has invalid values.
    pub(crate) fn apply(&self, fault: Fault, scheduled: bool) -> Result<FaultOutcome, FaultError> {
        match fault {
            Fault::Reconnect { shards } => Ok(self.send_command(shards, ConnectionCommand::Reconnect)),
            Fault::InvalidSession { shards, resumable } => {
                Ok(self.send_command(shards, ConnectionCommand::InvalidSession { resumable }))
            }
            Fault::Close { shards, code, reason } => {
                if !may_be_sent(code) {
                    return Err(FaultError::BadCode);
                }
                if reason.len() > REASON_BYTES {
                    return Err(FaultError::BadReason);
                }
                Ok(self.send_command(shards, ConnectionCommand::Close { code, reason }))
            }
            Fault::Abort { shards } => Ok(self.send_command(shards, ConnectionCommand::Abort)),
            Fault::RequestHeartbeat { shards } => {
                Ok(self.send_command(shards, ConnectionCommand::RequestHeartbeat))
            }
            Fault::Freeze { shards, on } => Ok(self.send_command(shards, ConnectionCommand::Freeze(on))),
            Fault::DenyResumes { on } => Ok(self.set_active(|state| state.active_faults.deny_resumes = on)),
            Fault::AcceptThenClose { connections } if scheduled => {
                // The schedule does not add up: a bot that stays connected for long could not connect once it must.
                Ok(self.set_active(|state| {
                    let waiting = &mut state.active_faults.accept_then_close;
                    *waiting = connections.max(*waiting);
                }))
            }
            Fault::AcceptThenClose { connections } => {
                Ok(self.set_active(|state| state.active_faults.accept_then_close = connections))
            }
            Fault::RejectToken { on } => Ok(self.set_active(|state| state.active_faults.reject_token = on)),
            Fault::RestDown { on: true } if scheduled && self.rest_is_down() => Err(FaultError::AlreadyOn),
            Fault::RestDown { on } => Ok(self.set_active(|state| state.active_faults.rest_down = on)),
            Fault::Script(script) => self.act(script),
            Fault::Patch(patch) => self.add_oddity(Oddity::Patch(patch)),
            Fault::RestAnswer(answer) => self.add_oddity(Oddity::RestAnswer(answer)),
            Fault::ClearOddities { name } => {
                self.odd.clear(name.as_deref());
                Ok(FaultOutcome::default())
            }
            Fault::SessionLimit { max_concurrency: Some(0), .. }
            | Fault::SessionLimit { shards: Some(0), .. } => Err(FaultError::BadSessionLimit),
            Fault::SessionLimit { max_concurrency, remaining, shards } => {
                let now = self.now();
                Ok(self.set_active(|state| {
                    state.limiter.change(max_concurrency, remaining, now);
                    state.recommended = shards.unwrap_or(state.recommended);
                }))
            }
            Fault::GuildBeforeReady { sessions } => {
                Ok(self.set_active(|state| state.active_faults.guild_before_ready = sessions))
            }
            Fault::RateLimit { .. } | Fault::RestDelay { .. } | Fault::Interaction(_) | Fault::Preset(_) => {
                unreachable!("control applies faults of REST and presets")
            }
            Fault::EventRate { per_second } => {
                if !is_valid_rate(per_second) {
                    return Err(FaultError::BadRate);
                }
                self.rate.send_replace(per_second);
                Ok(FaultOutcome::default())
            }
            Fault::GuildOutage { guild_id, on: true } => self.change(
                guild_id,
                GuildState::Available,
                GuildState::Outage,
                FaultError::NotAvailable(guild_id),
            ),
            Fault::GuildOutage { guild_id, on: false } => self.change(
                guild_id,
                GuildState::Outage,
                GuildState::Available,
                FaultError::AlreadyThere(guild_id),
            ),
            Fault::GuildLeave { guild_id } => self.change(
                guild_id,
                GuildState::Available,
                GuildState::Absent,
                FaultError::NotAvailable(guild_id),
            ),
            Fault::GuildJoin { guild_id } => {
                let spare = self.lock().never_joined.first().copied();
                let id = match (guild_id, spare) {
                    (Some(id), _) => id,
                    (None, Some(spare)) => self.world.head(spare).id,
                    (None, None) => return Err(FaultError::NoSpareGuild),
                };
                self.change(id, GuildState::Absent, GuildState::Available, FaultError::AlreadyThere(id))
            }
            Fault::Voice { guild_id, user_id, channel_id } => {
                let guild = self.guild(guild_id)?;
                let dispatched = self.move_in_voice(guild, user_id, channel_id)?;
                Ok(FaultOutcome { guild_id: Some(guild_id), dispatched, ..FaultOutcome::default() })
            }
            Fault::Event { name, guild_id, d, shards } => {
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
                    return Err(FaultError::BadName);
                }
                let guild = guild_id.map(|id| self.guild(id)).transpose()?;
                let about_itself = matches!(name.as_str(), "GUILD_CREATE" | "GUILD_DELETE");
                if let Some(guild) = guild.filter(|_| !about_itself) {
                    self.require_available(guild)?;
                }
                let made = PrebuiltEvent::new(name, guild, &d, self.world.bot_id());
                let dispatched = match shards {
                    None => self.dispatch(made),
                    Some(shards) => self.dispatch_to(made, &shards),
                };
                Ok(FaultOutcome { guild_id, dispatched, ..FaultOutcome::default() })
            }
            Fault::Message { guild_id, content } => {
                let guild = self.guild(guild_id)?;
                let (serial, dispatched) = self.write_message(guild, content)?;
                Ok(FaultOutcome {
                    guild_id: Some(guild_id),
                    serial: Some(serial),
                    dispatched,
                    ..FaultOutcome::default()
                })
            }
        }
    }

    fn add_oddity(&self, oddity: Oddity) -> Result<FaultOutcome, FaultError> {
        self.odd.add(oddity).map(|()| FaultOutcome::default())
    }

    /// Adds a script, or runs it at once if its moment is now.
    fn act(&self, script: Script) -> Result<FaultOutcome, FaultError> {
        if script.at != Moment::Now {
            return self.add_oddity(Oddity::Script(script));
        }
        script.validate()?;
        Ok(self.send_command(script.shards, ConnectionCommand::Act(script.actions.into())))
    }

    fn send_command(&self, shards: Option<Vec<u32>>, command: ConnectionCommand) -> FaultOutcome {
        let connections = self.lock().send_command(shards.as_deref(), &command);
        FaultOutcome { connections, ..FaultOutcome::default() }
    }

    fn set_active(&self, set: impl FnOnce(&mut State)) -> FaultOutcome {
        set(&mut self.lock());
        FaultOutcome::default()
    }

    fn require_available(&self, guild: GuildIndex) -> Result<(), FaultError> {
        if self.lock().guilds[guild as usize] == GuildState::Available {
            Ok(())
        } else {
            Err(FaultError::NotAvailable(self.world.head(guild).id))
        }
    }

    fn guild(&self, id: Snowflake) -> Result<GuildIndex, FaultError> {
        self.world.find(id).ok_or(FaultError::UnknownGuild(id))
    }

    /// Changes a guild's state and dispatches the event in one step.
    fn change(
        &self,
        id: Snowflake,
        from: GuildState,
        to: GuildState,
        otherwise: FaultError,
    ) -> Result<FaultOutcome, FaultError> {
        let guild = self.guild(id)?;
        let mut state = self.lock();
        if state.guilds[guild as usize] != from {
            return Err(otherwise);
        }
        state.guilds[guild as usize] = to;
        state.never_joined.remove(&guild);
        if to == GuildState::Absent {
            state.forget_voice(guild);
        }
        let event = match to {
            GuildState::Available => Event::GuildCreate { guild, just_joined: from == GuildState::Absent },
            GuildState::Outage => Event::GuildDelete { guild, outage: true },
            GuildState::Absent => Event::GuildDelete { guild, outage: false },
        };
        let dispatched = state.dispatch(&self.world, &event);
        Ok(FaultOutcome { guild_id: Some(id), dispatched, ..FaultOutcome::default() })
    }
}
