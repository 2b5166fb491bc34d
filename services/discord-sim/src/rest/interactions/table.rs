//! The newest interactions and the rules for answering them.
//!
//! Pure: times are durations since the simulator started.

use crate::{
    report::{InteractionReport, InteractionState},
    rest::{lookup::ChannelRef, messages::store::MessageStore},
    world::{GuildIndex, Snowflake},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Interactions kept; older ones are dropped.
const KEPT: usize = 10_000;

/// The kind of an interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command; the answer's message has this type.
    Command {
        /// 20 for slash commands, 23 for context menus.
        message_type: u8,
    },
    /// A component of a message.
    Component {
        /// The message.
        message: Snowflake,
    },
    /// A command option being typed.
    Autocomplete,
    /// A submitted modal.
    Modal,
}

impl Kind {
    /// Returns the interaction type.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Command { .. } => 2,
            Self::Component { .. } => 3,
            Self::Autocomplete => 4,
            Self::Modal => 5,
        }
    }

    /// Returns the valid callback types.
    /// [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type).
    pub(crate) const fn answers(self) -> &'static [u8] {
        match self {
            Self::Command { .. } => &[4, 5, 9, 10, 12],
            Self::Component { .. } => &[4, 5, 6, 7, 9, 10, 12],
            Self::Autocomplete => &[8],
            // 6 and 7 are valid for modals opened by a component, which is not tracked.
            Self::Modal => &[4, 5, 6, 10, 12],
        }
    }
}

/// An accepted callback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptedCallback {
    /// The callback type.
    pub(crate) kind: u8,
    pub(crate) at: Duration,
}

/// An interaction.
#[derive(Clone, Debug)]
pub(crate) struct Interaction {
    pub(crate) id: Snowflake,
    pub(crate) token: String,
    pub(crate) kind: Kind,
    /// The command's name, or the component's or modal's `custom_id`.
    pub(crate) name: String,
    pub(crate) user: Snowflake,
    pub(crate) place: ChannelRef,
    /// `interaction_metadata` of messages that answer it.
    pub(crate) metadata: Value,
    pub(crate) created: Duration,
    pub(crate) answer: Option<AcceptedCallback>,
    /// The message `@original`.
    pub(crate) original: Option<Snowflake>,
    pub(crate) ephemeral: bool,
    /// The answer is deferred; the next follow-up fills it.
    pub(crate) loading: bool,
    pub(crate) follow_ups: Vec<Snowflake>,
}

/// Why an answer is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// Unknown interaction or wrong token.
    Unknown,
    /// Too late, by this much.
    Late(Duration),
    /// Already answered.
    AlreadyAnswered,
    /// Not answered yet, so follow-ups are not possible.
    Unanswered,
}

/// Deadlines of interactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InteractionTimeouts {
    /// Deadline of the first answer.
    pub(crate) deadline: Duration,
    /// Lifetime of the token.
    pub(crate) life: Duration,
}

/// The newest interactions.
#[derive(Debug)]
pub(crate) struct InteractionTable {
    times: InteractionTimeouts,
    kept: BTreeMap<Snowflake, Interaction>,
    tokens: HashMap<String, Snowflake>,
    made: u64,
}

impl InteractionTable {
    pub(crate) fn new(times: InteractionTimeouts) -> Self {
        Self { times, kept: BTreeMap::new(), tokens: HashMap::new(), made: 0 }
    }

    /// Returns a unique interaction id.
    pub(crate) fn next_id(&mut self, now_ms: u64) -> Snowflake {
        self.made += 1;
        Snowflake::new(now_ms, 1 << 20 | self.made)
    }

    pub(crate) fn insert(&mut self, interaction: Interaction) {
        if self.kept.len() == KEPT
            && let Some((_, oldest)) = self.kept.pop_first()
        {
            self.tokens.remove(&oldest.token);
        }
        self.tokens.insert(interaction.token.clone(), interaction.id);
        self.kept.insert(interaction.id, interaction);
    }

    /// Returns the interaction if its first answer is accepted now.
    pub(crate) fn answerable(
        &mut self,
        id: Snowflake,
        token: &str,
        now: Duration,
    ) -> Result<&mut Interaction, AnswerError> {
        let deadline = self.times.deadline;
        let interaction = self.kept.get_mut(&id).filter(|kept| kept.token == token);
        let interaction = interaction.ok_or(AnswerError::Unknown)?;
        if interaction.answer.is_some() {
            return Err(AnswerError::AlreadyAnswered);
        }
        let age = now.saturating_sub(interaction.created);
        if age > deadline {
            return Err(AnswerError::Late(age.saturating_sub(deadline)));
        }
        Ok(interaction)
    }

    /// Returns the interaction with this token if follow-ups are accepted now.
    pub(crate) fn followable(&mut self, token: &str, now: Duration) -> Result<&mut Interaction, AnswerError> {
        let life = self.times.life;
        let interaction = self.tokens.get(token).and_then(|id| self.kept.get_mut(id));
        let interaction = interaction.ok_or(AnswerError::Unknown)?;
        let age = now.saturating_sub(interaction.created);
        if age > life {
            return Err(AnswerError::Late(age.saturating_sub(life)));
        }
        if interaction.answer.is_none() {
            return Err(AnswerError::Unanswered);
        }
        Ok(interaction)
    }

    /// Removes a deleted message from the interaction that has it as `@original`.
    pub(crate) fn forget(&mut self, message: Snowflake) {
        for kept in self.kept.values_mut().filter(|kept| kept.original == Some(message)) {
            kept.original = None;
            kept.loading = false;
        }
    }

    /// Lists all interactions, oldest first.
    pub(crate) fn reports(
        &self,
        now: Duration,
        messages: &MessageStore,
        guild_id: impl Fn(GuildIndex) -> Snowflake,
    ) -> Vec<InteractionReport> {
        let one = |kept: &Interaction| {
            let state = match kept.answer {
                None if now.saturating_sub(kept.created) > self.times.deadline => InteractionState::Expired,
                None => InteractionState::Pending,
                Some(_) if kept.loading => InteractionState::Deferred,
                Some(_) => InteractionState::Answered,
            };
            let original = kept.original.and_then(|id| messages.get(id));
            let content = original.and_then(|message| message.body["content"].as_str());
            InteractionReport {
                id: kept.id,
                kind: kept.kind.number(),
                created_at_ms: kept.created.as_millis() as u64,
                name: kept.name.clone(),
                user_id: kept.user,
                guild_id: kept.place.guild().map(&guild_id),
                channel_id: kept.place.channel_id(),
                state,
                callback: kept.answer.map(|answer| answer.kind),
                answered_after_ms: kept
                    .answer
                    .map(|answer| answer.at.saturating_sub(kept.created).as_millis() as u64),
                content: content.map(ToOwned::to_owned),
                ephemeral: kept.ephemeral,
                follow_ups: kept.follow_ups.clone(),
            }
        };
        self.kept.values().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn table() -> (InteractionTable, Snowflake) {
        let mut table = InteractionTable::new(InteractionTimeouts { deadline: at(3_000), life: at(900_000) });
        let id = table.next_id(5);
        table.insert(Interaction {
            id,
            token: "tok".into(),
            kind: Kind::Command { message_type: 20 },
            name: "ping".into(),
            user: Snowflake(1),
            place: ChannelRef::Direct { id: Snowflake(2), user: 0 },
            metadata: Value::Null,
            created: at(100),
            answer: None,
            original: None,
            ephemeral: false,
            loading: false,
            follow_ups: Vec::new(),
        });
        (table, id)
    }

    fn state(table: &InteractionTable, now: Duration) -> InteractionState {
        table.reports(now, &MessageStore::default(), |_| Snowflake(0))[0].state
    }

    #[test]
    fn interaction_takes_one_answer_within_three_seconds() {
        let (mut table, id) = table();
        assert_eq!(table.answerable(id, "other", at(100)).unwrap_err(), AnswerError::Unknown);
        assert_eq!(table.answerable(Snowflake(1), "tok", at(100)).unwrap_err(), AnswerError::Unknown);
        assert_eq!(table.answerable(id, "tok", at(3_101)).unwrap_err(), AnswerError::Late(at(1)));
        assert_eq!(state(&table, at(3_101)), InteractionState::Expired);
        assert_eq!(state(&table, at(3_100)), InteractionState::Pending);
        table.answerable(id, "tok", at(3_100)).unwrap().answer =
            Some(AcceptedCallback { kind: 4, at: at(3_100) });
        assert_eq!(table.answerable(id, "tok", at(9_000)).unwrap_err(), AnswerError::AlreadyAnswered);
        assert_eq!(state(&table, at(9_000)), InteractionState::Answered);
    }

    #[test]
    fn follow_ups_need_an_answer_and_a_valid_token() {
        let (mut table, id) = table();
        assert_eq!(table.followable("tok", at(200)).unwrap_err(), AnswerError::Unanswered);
        table.answerable(id, "tok", at(200)).unwrap().answer =
            Some(AcceptedCallback { kind: 5, at: at(200) });
        assert!(table.followable("tok", at(900_100)).is_ok());
        assert_eq!(table.followable("tok", at(900_101)).unwrap_err(), AnswerError::Late(at(1)));
        assert_eq!(table.followable("other", at(200)).unwrap_err(), AnswerError::Unknown);
    }

    #[test]
    fn oldest_interactions_are_dropped() {
        let (mut table, first) = table();
        let like = table.kept[&first].clone();
        for number in 0..KEPT {
            let id = table.next_id(5);
            table.insert(Interaction { id, token: number.to_string(), ..like.clone() });
        }
        assert_eq!((table.kept.len(), table.tokens.len()), (KEPT, KEPT));
        assert_eq!(table.followable("tok", at(200)).unwrap_err(), AnswerError::Unknown);
    }
}
