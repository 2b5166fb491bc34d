//! The interactions that are under way, and the rules of answering them.
//!
//! Pure: time comes in as the duration since the simulator started.

use crate::{
    report::{InteractionReport, InteractionState},
    rest::{lookup::Place, messages::store::Store},
    world::{GuildIndex, Snowflake},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Interactions kept; the oldest go.
const KEPT: usize = 10_000;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Called a command; its message has this type.
    Command {
        /// 20 for slash commands, 23 for context menus.
        message_type: u8,
    },
    /// Used a component of a message.
    Component {
        /// The message.
        message: Snowflake,
    },
    /// Is typing an option.
    Autocomplete,
    /// Sent a modal.
    Modal,
}

impl Kind {
    /// The interaction type.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Command { .. } => 2,
            Self::Component { .. } => 3,
            Self::Autocomplete => 4,
            Self::Modal => 5,
        }
    }

    /// The callback types that answer it.
    /// [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type).
    pub(crate) const fn answers(self) -> &'static [u8] {
        match self {
            Self::Command { .. } => &[4, 5, 9, 10, 12],
            Self::Component { .. } => &[4, 5, 6, 7, 9, 10, 12],
            Self::Autocomplete => &[8],
            // 6 and 7 are for modals that a component opened; which one did is not followed.
            Self::Modal => &[4, 5, 6, 10, 12],
        }
    }
}

/// A callback that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The callback type.
    pub(crate) kind: u8,
    pub(crate) at: Duration,
}

/// One interaction.
#[derive(Clone, Debug)]
pub(crate) struct Interaction {
    pub(crate) id: Snowflake,
    pub(crate) token: String,
    pub(crate) kind: Kind,
    /// The command's name, or the component's or modal's `custom_id`.
    pub(crate) name: String,
    pub(crate) user: Snowflake,
    pub(crate) place: Place,
    /// `interaction_metadata` of messages that answer it.
    pub(crate) metadata: Value,
    pub(crate) created: Duration,
    pub(crate) answer: Option<Answer>,
    /// The message that `@original` is.
    pub(crate) original: Option<Snowflake>,
    pub(crate) ephemeral: bool,
    /// A deferred answer: the next follow-up takes its place.
    pub(crate) loading: bool,
    pub(crate) follow_ups: Vec<Snowflake>,
}

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such interaction, or another token.
    Unknown,
    /// Too long after the interaction; by so much.
    Late(Duration),
    /// It has its answer.
    Twice,
    /// It has no answer yet that could be followed.
    Unanswered,
}

/// How long answers are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For the first.
    pub(crate) deadline: Duration,
    /// For all that follows it.
    pub(crate) life: Duration,
}

/// The newest interactions.
#[derive(Debug)]
pub(crate) struct Table {
    times: Times,
    kept: BTreeMap<Snowflake, Interaction>,
    tokens: HashMap<String, Snowflake>,
    made: u64,
}

impl Table {
    pub(crate) fn new(times: Times) -> Self {
        Self { times, kept: BTreeMap::new(), tokens: HashMap::new(), made: 0 }
    }

    /// An id that no other interaction has.
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

    /// The interaction, when it may be answered for the first time.
    pub(crate) fn answerable(
        &mut self,
        id: Snowflake,
        token: &str,
        now: Duration,
    ) -> Result<&mut Interaction, Refusal> {
        let deadline = self.times.deadline;
        let interaction = self.kept.get_mut(&id).filter(|kept| kept.token == token);
        let interaction = interaction.ok_or(Refusal::Unknown)?;
        if interaction.answer.is_some() {
            return Err(Refusal::Twice);
        }
        let age = now.saturating_sub(interaction.created);
        if age > deadline {
            return Err(Refusal::Late(age.saturating_sub(deadline)));
        }
        Ok(interaction)
    }

    /// The interaction with this token, when follow-ups are taken.
    pub(crate) fn followable(&mut self, token: &str, now: Duration) -> Result<&mut Interaction, Refusal> {
        let life = self.times.life;
        let interaction = self.tokens.get(token).and_then(|id| self.kept.get_mut(id));
        let interaction = interaction.ok_or(Refusal::Unknown)?;
        let age = now.saturating_sub(interaction.created);
        if age > life {
            return Err(Refusal::Late(age.saturating_sub(life)));
        }
        if interaction.answer.is_none() {
            return Err(Refusal::Unanswered);
        }
        Ok(interaction)
    }

    /// A message is gone: no interaction has it as `@original`, and nothing takes its place.
    pub(crate) fn forget(&mut self, message: Snowflake) {
        for kept in self.kept.values_mut().filter(|kept| kept.original == Some(message)) {
            kept.original = None;
            kept.loading = false;
        }
    }

    /// All, oldest first.
    pub(crate) fn reports(
        &self,
        now: Duration,
        messages: &Store,
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

    fn table() -> (Table, Snowflake) {
        let mut table = Table::new(Times { deadline: at(3_000), life: at(900_000) });
        let id = table.next_id(5);
        table.insert(Interaction {
            id,
            token: "tok".into(),
            kind: Kind::Command { message_type: 20 },
            name: "ping".into(),
            user: Snowflake(1),
            place: Place::Direct { id: Snowflake(2), user: 0 },
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

    fn state(table: &Table, now: Duration) -> InteractionState {
        table.reports(now, &Store::default(), |_| Snowflake(0))[0].state
    }

    #[test]
    fn the_first_answer_has_three_seconds_and_is_the_only_one() {
        let (mut table, id) = table();
        assert_eq!(table.answerable(id, "other", at(100)).unwrap_err(), Refusal::Unknown);
        assert_eq!(table.answerable(Snowflake(1), "tok", at(100)).unwrap_err(), Refusal::Unknown);
        assert_eq!(table.answerable(id, "tok", at(3_101)).unwrap_err(), Refusal::Late(at(1)));
        assert_eq!(state(&table, at(3_101)), InteractionState::Expired);
        assert_eq!(state(&table, at(3_100)), InteractionState::Pending);
        table.answerable(id, "tok", at(3_100)).unwrap().answer = Some(Answer { kind: 4, at: at(3_100) });
        assert_eq!(table.answerable(id, "tok", at(9_000)).unwrap_err(), Refusal::Twice);
        assert_eq!(state(&table, at(9_000)), InteractionState::Answered);
    }

    #[test]
    fn follow_ups_need_an_answer_and_a_token_that_lives() {
        let (mut table, id) = table();
        assert_eq!(table.followable("tok", at(200)).unwrap_err(), Refusal::Unanswered);
        table.answerable(id, "tok", at(200)).unwrap().answer = Some(Answer { kind: 5, at: at(200) });
        assert!(table.followable("tok", at(900_100)).is_ok());
        assert_eq!(table.followable("tok", at(900_101)).unwrap_err(), Refusal::Late(at(1)));
        assert_eq!(table.followable("other", at(200)).unwrap_err(), Refusal::Unknown);
    }

    #[test]
    fn the_oldest_go() {
        let (mut table, first) = table();
        let like = table.kept[&first].clone();
        for number in 0..KEPT {
            let id = table.next_id(5);
            table.insert(Interaction { id, token: number.to_string(), ..like.clone() });
        }
        assert_eq!((table.kept.len(), table.tokens.len()), (KEPT, KEPT));
        assert_eq!(table.followable("tok", at(200)).unwrap_err(), Refusal::Unknown);
    }
}
