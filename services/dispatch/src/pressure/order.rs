//! Which events are left out first. Pure.

use std::{fmt, str::FromStr, time::Duration};

/// Discord drops an interaction's token when it was not answered for so long
/// ([Interaction Callback](https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-callback)).
pub const INTERACTION_LIFE: Duration = Duration::from_secs(3);

/// Nothing is shed while the queue is less full.
const FIRST_AT: f64 = 0.5;

/// From here on everything is shed but fresh interactions.
const REST_AT: f64 = 0.9;

const INTERACTION: &str = "INTERACTION_CREATE";

/// Maximum number of names, and of characters in each.
const LONGEST: usize = 64;

/// The order in which kinds of events are left out as the queue fills up, while [`Decision::Shed`](super::Decision) holds.
///
/// How deep into the order it goes grows with how full the queue is, with the event that is looked at counted in
/// ([`Queue::fill_with`](crate::Queue::fill_with)). With the default order:
///
/// | left out | from a fill of |
/// |---|---|
/// | nothing | 0 |
/// | `TYPING_START` | 0.50 |
/// | `PRESENCE_UPDATE` | 0.58 |
/// | `MESSAGE_REACTION_*` | 0.66 |
/// | `MESSAGE_UPDATE` | 0.74 |
/// | `GUILD_MEMBER_UPDATE` | 0.82 |
/// | everything but `INTERACTION_CREATE` | 0.90 |
/// | `INTERACTION_CREATE`, 3 s old or more | 0.90 |
/// | a younger `INTERACTION_CREATE` | never |
///
/// Another order of n names spreads them in the same way: the i-th, counted from 0, from 0.5 + 0.4 × i / n. As all that is
/// left for the last tenth are fresh interactions, only they can find the queue full.
///
/// Written as names with commas between; a `*` at the end stands for any rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedOrder(Vec<Pattern>);

/// A text that is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrder {
    /// Not the name of an event.
    #[error(
        "{0:?} is not the name of an event: it takes A-Z and _, at most 64 of them, and a * at the end for any rest"
    )]
    Name(String),
    /// It would leave out interactions before all else.
    #[error("{0} covers INTERACTION_CREATE, which is always the last to be shed")]
    Interaction(String),
    /// More than 64.
    #[error("{0} names; at most 64 are taken")]
    TooMany(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    name: String,
    /// Whether the name is only the start of what it covers.
    open: bool,
}

impl Pattern {
    fn covers(&self, kind: &str) -> bool {
        if self.open { kind.starts_with(&self.name) } else { kind == self.name }
    }
}

impl Default for ShedOrder {
    fn default() -> Self {
        let named = |name: &str| Pattern { name: name.to_owned(), open: false };
        Self(vec![
            named("TYPING_START"),
            named("PRESENCE_UPDATE"),
            Pattern { name: "MESSAGE_REACTION_".to_owned(), open: true },
            named("MESSAGE_UPDATE"),
            named("GUILD_MEMBER_UPDATE"),
        ])
    }
}

impl ShedOrder {
    /// Whether an event is to be left out. `age` is the time since it happened: an interaction's counts from the moment in its
    /// id, not from when it was received, which a resume makes later. `fill` is the fill of the queue with the event in it.
    pub fn sheds(&self, kind: &str, age: Duration, fill: f64) -> bool {
        if kind == INTERACTION {
            return fill >= REST_AT && age >= INTERACTION_LIFE;
        }
        if fill >= REST_AT {
            return true;
        }
        let place = self.0.iter().position(|pattern| pattern.covers(kind));
        place.is_some_and(|place| fill >= self.starts_at(place))
    }

    /// How full the queue is when the name at this place begins to be left out.
    fn starts_at(&self, place: usize) -> f64 {
        FIRST_AT + (REST_AT - FIRST_AT) * place as f64 / self.0.len() as f64
    }
}

impl FromStr for ShedOrder {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.len() > LONGEST {
            return Err(InvalidOrder::TooMany(names.len()));
        }
        names.into_iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }
}

fn pattern(text: &str) -> Result<Pattern, InvalidOrder> {
    let (name, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
    let spelt = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if name.is_empty() || name.len() > LONGEST || !spelt {
        return Err(InvalidOrder::Name(text.chars().take(2 * LONGEST).collect()));
    }
    let pattern = Pattern { name: name.to_owned(), open };
    if pattern.covers(INTERACTION) {
        return Err(InvalidOrder::Interaction(text.to_owned()));
    }
    Ok(pattern)
}

impl fmt::Display for ShedOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pattern) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let rest = if pattern.open { "*" } else { "" };
            write!(f, "{comma}{}{rest}", pattern.name)?;
        }
        Ok(())
    }
}
