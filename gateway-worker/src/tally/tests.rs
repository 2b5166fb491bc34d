use proptest::prelude::*;

use super::*;

#[test]
fn outage_is_not_a_removal() {
    let mut tally = Tally::expecting([1, 2]);
    assert_eq!((tally.figures().guilds, tally.pending()), (2, 2));
    let channels = BTreeSet::from([1, 2, 3]);
    tally.guild_came(
        1,
        NewGuild { members: 10, channels, in_voice: HashMap::from([(7, 1)]), ..NewGuild::default() },
    );
    tally.guild_unavailable(2);
    assert_eq!(tally.pending(), 0);
    tally.guild_unavailable(1);
    assert_eq!(tally.figures(), Figures { guilds: 2, users: 10, channels: 3, voice_connections: 1 });
    assert_eq!(tally.guild(1), Some(KnownGuild { members: Some(10), unavailable: true, doubt: Doubt::NONE }));
    tally.guild_left(1);
    assert_eq!(tally.figures(), Figures { guilds: 1, ..Figures::default() });
}

#[test]
fn repeated_moves_count_once_while_they_are_remembered() {
    let mut tally = Tally::default();
    tally.guild_came(1, NewGuild { members: 100, unnamed_channels: 3, ..NewGuild::default() });
    for (user, added, expected) in [(7, true, 101), (8, false, 100), (7, false, 99), (7, true, 100)] {
        for _ in 0..3 {
            tally.member(1, user, added);
            assert_eq!(tally.figures().users, expected, "{user} {added}");
        }
    }
    for _ in 0..3 {
        tally.channel_gone(1, 9);
        assert_eq!(tally.figures().channels, 2);
    }
    let many = MOST_MOVES as u64 - 2;
    for user in (0..many).chain(0..many) {
        tally.member(1, 1_000 + user, true);
    }
    assert_eq!((tally.figures().users, tally.uncertain_guilds()), (100 + many, 0));
    tally.member(1, 10, true);
    assert_eq!(tally.uncertain_guilds(), 1, "it could not tell a repetition of this one");
    tally.guild_came(1, NewGuild::default());
    assert_eq!(tally.uncertain_guilds(), 0);
}

#[derive(Clone, Debug)]
enum Change {
    Came(u64, u64, u32, u32),
    Unavailable(u64),
    Left(u64),
    Member(u64, u64, bool),
    Channel(u64, u64, bool),
    Voice(u64, u64, Option<u64>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let guild = 0u64..4;
    let change = prop_oneof![
        (guild.clone(), 0u64..9, 0u32..9, 0u32..3).prop_map(|(g, m, c, u)| Change::Came(g, m, c, u)),
        guild.clone().prop_map(Change::Unavailable),
        guild.clone().prop_map(Change::Left),
        (guild.clone(), 0u64..9, any::<bool>()).prop_map(|(g, u, up)| Change::Member(g, u, up)),
        (guild.clone(), 0u64..9, any::<bool>()).prop_map(|(g, c, up)| Change::Channel(g, c, up)),
        (guild, 0u64..4, prop::option::of(0u64..4)).prop_map(|(g, u, at)| Change::Voice(g, u, at)),
    ];
    prop::collection::vec(change, 0..80)
}

proptest! {
    /// The running totals equal a full count after any events in any order.
    #[test]
    fn totals_are_sums(changes in changes()) {
        let mut tally = Tally::expecting([0, 1]);
        for change in changes {
            match change {
                Change::Came(guild, members, channels, unnamed_channels) => {
                    let channels = (0..u64::from(channels)).collect();
                    let in_voice = HashMap::from([(9, 0)]);
                    let new = NewGuild { members, channels, unnamed_channels, in_voice, ..NewGuild::default() };
                    tally.guild_came(guild, new);
                }
                Change::Unavailable(guild) => tally.guild_unavailable(guild),
                Change::Left(guild) => tally.guild_left(guild),
                Change::Member(guild, user, up) => tally.member(guild, user, up),
                Change::Channel(guild, channel, true) => tally.channel_came(guild, channel),
                Change::Channel(guild, channel, false) => drop(tally.channel_gone(guild, channel)),
                Change::Voice(guild, user, channel) => tally.voice(guild, user, channel),
            }
            let counted = Figures {
                guilds: tally.guilds.len() as u32,
                users: tally.guilds.values().filter_map(|guild| guild.members).sum(),
                channels: tally.guilds.values().map(GuildTally::channels).sum(),
                voice_connections: tally.guilds.values().map(|guild| guild.in_voice.len() as u32).sum(),
            };
            prop_assert_eq!(tally.figures(), counted);
        }
    }
}
