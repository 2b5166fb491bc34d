//! Makes the faults of gateway, guilds and sessions happen.

use super::{Hub, Order, State};
use crate::{
    config::rate_is_sane,
    event::{Event, Made},
    fault_error::FaultError,
    faults::{Fault, FaultOutcome, FaultRecord},
    odd::{Moment, Oddity, Script},
    report::GuildState,
    switches::may_be_sent,
    world::{GuildIndex, Snowflake},
};

/// What a close frame holds beside its code. [Source](https://www.rfc-editor.org/rfc/rfc6455#section-5.5).
const REASON_BYTES: usize = 123;

impl State {
    /// Gives an order to the connections of these shards; returns to how many.
    fn order(&self, shards: Option<&[u32]>, order: &Order) -> usize {
        self.connections
            .values()
            .filter(|connection| match connection.shard {
                Some(shard) => shards.is_none_or(|some| some.contains(&shard.number)),
                // Before IDENTIFY it can only be cut.
                None => shards.is_none() && matches!(order, Order::Abort),
            })
            .filter(|connection| connection.orders.try_send(order.clone()).is_ok())
            .count()
    }
}

impl Hub {
    /// Adds a fault to the record.
    pub(crate) fn record_fault(&self, record: FaultRecord) {
        self.lock().faults.push(record);
    }

    /// Makes a fault happen. Faults of REST and presets are applied by [control](crate::control).
    ///
    /// # Errors
    ///
    /// When the fault is impossible here or has invalid values.
    pub(crate) fn apply(&self, fault: Fault, scheduled: bool) -> Result<FaultOutcome, FaultError> {
        match fault {
            Fault::Reconnect { shards } => Ok(self.order(shards, Order::Reconnect)),
            Fault::InvalidSession { shards, resumable } => {
                Ok(self.order(shards, Order::InvalidSession { resumable }))
            }
            Fault::Close { shards, code, reason } => {
                if !may_be_sent(code) {
                    return Err(FaultError::BadCode);
                }
                if reason.len() > REASON_BYTES {
                    return Err(FaultError::BadReason);
                }
                Ok(self.order(shards, Order::Close { code, reason }))
            }
            Fault::Abort { shards } => Ok(self.order(shards, Order::Abort)),
            Fault::RequestHeartbeat { shards } => Ok(self.order(shards, Order::RequestHeartbeat)),
            Fault::Freeze { shards, on } => Ok(self.order(shards, Order::Freeze(on))),
            Fault::DenyResumes { on } => Ok(self.stand(|state| state.standing.deny_resumes = on)),
            Fault::AcceptThenClose { connections } if scheduled => {
                // Not added up: a bot that stays connected for long would be locked out when it must connect once.
                Ok(self.stand(|state| {
                    let waiting = &mut state.standing.accept_then_close;
                    *waiting = connections.max(*waiting);
                }))
            }
            Fault::AcceptThenClose { connections } => {
                Ok(self.stand(|state| state.standing.accept_then_close = connections))
            }
            Fault::RejectToken { on } => Ok(self.stand(|state| state.standing.reject_token = on)),
            Fault::RestDown { on: true } if scheduled && self.rest_is_down() => Err(FaultError::AlreadyOn),
            Fault::RestDown { on } => Ok(self.stand(|state| state.standing.rest_down = on)),
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
                Ok(self.stand(|state| {
                    state.limiter.change(max_concurrency, remaining, now);
                    state.recommended = shards.unwrap_or(state.recommended);
                }))
            }
            Fault::GuildBeforeReady { sessions } => {
                Ok(self.stand(|state| state.standing.guild_before_ready = sessions))
            }
            Fault::RateLimit { .. } | Fault::RestDelay { .. } | Fault::Interaction(_) | Fault::Preset(_) => {
                unreachable!("control applies faults of REST and presets")
            }
            Fault::EventRate { per_second } => {
                if !rate_is_sane(per_second) {
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
                    self.is_available(guild)?;
                }
                let made = Made::new(name, guild, &d, self.world.bot_id());
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

    /// Adds a script, or runs it if it is for now.
    fn act(&self, script: Script) -> Result<FaultOutcome, FaultError> {
        if script.at != Moment::Now {
            return self.add_oddity(Oddity::Script(script));
        }
        script.validate()?;
        Ok(self.order(script.shards, Order::Act(script.actions.into())))
    }

    fn order(&self, shards: Option<Vec<u32>>, order: Order) -> FaultOutcome {
        let connections = self.lock().order(shards.as_deref(), &order);
        FaultOutcome { connections, ..FaultOutcome::default() }
    }

    fn stand(&self, set: impl FnOnce(&mut State)) -> FaultOutcome {
        set(&mut self.lock());
        FaultOutcome::default()
    }

    fn is_available(&self, guild: GuildIndex) -> Result<(), FaultError> {
        if self.lock().guilds[guild as usize] == GuildState::Available {
            Ok(())
        } else {
            Err(FaultError::NotAvailable(self.world.head(guild).id))
        }
    }

    fn guild(&self, id: Snowflake) -> Result<GuildIndex, FaultError> {
        self.world.find(id).ok_or(FaultError::UnknownGuild(id))
    }

    /// Takes a guild from one state to another and tells the sessions in the same step.
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
