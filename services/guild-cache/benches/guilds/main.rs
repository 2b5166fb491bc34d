//! Measures the memory of a guild, and the time of events, lookups, records and restoring.
//!
//! `cargo bench -p guild-cache`. Memory is measured over 8,000 guilds, by the allocator's size classes and as the process's RSS.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{hint::black_box, sync::Arc, time::Duration};

use guild_cache::{Codec, Head, Kind, RecordKey, Resources, Restoring, Rules, ShardCache};
use world::{Random, Size, World, channel, guild, member, of_guild, voice};

#[allow(dead_code, reason = "other benchmarks use the rest")]
mod world;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GUILDS: usize = 8_000;
const SHARDS: usize = 8;
/// Processor time of this thread, because other programs may use the machine.
#[derive(Clone, Copy)]
struct Instant(Duration);

impl Instant {
    fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Self(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

const LONG: Duration = Duration::from_millis(500);

fn main() {
    memory("usual", Size::USUAL);
    memory("hard", Size::HARD);
    times();
    large();
    churn();
}

fn rules() -> Rules {
    Rules { notes_changes: false, ..Rules::default() }
}

/// Resident memory of this process, in bytes.
fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn filled(codec: &Arc<Codec>, worlds: &[World]) -> ShardCache {
    let mut cache = ShardCache::new(rules(), Arc::clone(codec));
    for (sequence, world) in worlds.iter().enumerate() {
        let applied = cache.apply("GUILD_CREATE", &world.text, sequence as u64 + 1);
        assert!(applied.losses.is_empty() && !applied.is_unreadable);
    }
    cache.seal(1);
    cache
}

fn memory(name: &str, size: Size) {
    let mut random = Random(1);
    let codec = Arc::new(Codec::new());
    let mut caches: Vec<ShardCache> =
        (0..SHARDS).map(|_| ShardCache::new(rules(), Arc::clone(&codec))).collect();
    let before = rss();
    let (mut bytes, mut took) = (0, Duration::ZERO);
    for number in 0..GUILDS {
        let world = guild(&mut random, size);
        bytes += world.text.len();
        let began = Instant::now();
        caches[number % SHARDS].apply("GUILD_CREATE", &world.text, number as u64 + 1);
        took += began.elapsed();
    }
    for cache in &mut caches {
        cache.seal(1);
    }
    let after = rss();
    let counted: usize = caches.iter().map(ShardCache::memory).sum();
    println!(
        "{GUILDS} {name} guilds of {} B: {} B each by RSS, {} B each counted; {:.1} us each to apply; codec {} KiB; users {}",
        bytes / GUILDS,
        (after - before) / GUILDS,
        counted / GUILDS,
        took.as_secs_f64() * 1e6 / GUILDS as f64,
        codec.memory() / 1024,
        caches.iter().map(|cache| cache.figures().cached_members).sum::<u64>(),
    );
    let each: Vec<String> = caches[0]
        .sizes()
        .into_iter()
        .map(|(name, size)| format!("{name} {}", size / (GUILDS / SHARDS)))
        .collect();
    println!("  of which: {}", each.join(", "));
}

fn time(name: &str, mut round: impl FnMut(usize)) {
    let (from, mut rounds) = (Instant::now(), 0);
    while from.elapsed() < LONG {
        for _ in 0..100 {
            round(rounds);
            rounds += 1;
        }
    }
    println!("{name}: {:.2} us", from.elapsed().as_secs_f64() * 1e6 / rounds as f64);
}

fn times() {
    let mut random = Random(2);
    let codec = Arc::new(Codec::new());
    let worlds: Vec<World> = (0..1_000).map(|_| guild(&mut random, Size::USUAL)).collect();
    let mut cache = filled(&codec, &worlds);
    let mut sequence = 1_000_000;
    let mut next = || {
        sequence += 1;
        sequence
    };
    let world = |round: usize| &worlds[round * 7 % 1_000];
    time("GUILD_CREATE", |round| {
        cache.apply("GUILD_CREATE", &world(round).text, next());
    });
    let channels: Vec<String> = worlds
        .iter()
        .map(|world| {
            of_guild(&channel(&mut random, &world.channels, &world.roles, 17, Size::USUAL), world.id)
        })
        .collect();
    let members: Vec<String> = worlds
        .iter()
        .map(|world| of_guild(&member(&mut random, world.users[4], &world.roles), world.id))
        .collect();
    let states: Vec<String> = worlds
        .iter()
        .map(|world| of_guild(&voice(&mut random, world.users[0], world.channels[1]), world.id))
        .collect();
    for (name, events) in
        [("CHANNEL_UPDATE", &channels), ("GUILD_MEMBER_UPDATE", &members), ("VOICE_STATE_UPDATE", &states)]
    {
        // The most expensive case: each event opens another block, which the next seal compresses.
        let (mut applying, mut sealing) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..20 {
            let began = Instant::now();
            for event in events {
                cache.apply(name, event, next());
            }
            applying += began.elapsed();
            let began = Instant::now();
            cache.seal(1);
            sealing += began.elapsed();
        }
        let each = |took: Duration| took.as_secs_f64() * 1e6 / 20_000.0;
        println!(
            "{name}, each in another guild: {:.2} us, and {:.2} us to seal",
            each(applying),
            each(sealing)
        );
        time(&format!("{name}, block open"), |round| {
            cache.apply(name, &events[round % 4], next());
        });
        cache.seal(1);
    }
    time("guild", |round| drop(black_box(cache.guild(world(round).id))));
    time("guild_object", |round| drop(black_box(cache.guild_object(world(round).id))));
    time("guild_create", |round| drop(black_box(cache.guild_create(world(round).id))));
    time("channel", |round| {
        let world = world(round);
        black_box(cache.channel(world.id, world.channels[round % 30])).unwrap();
    });
    time("member", |round| {
        let world = world(round);
        black_box(cache.member(world.id, world.users[round % 10])).unwrap();
    });
    time("username", |round| drop(black_box(cache.username(world(round).users[round % 10]).unwrap())));
    time("is_user_known", |round| {
        black_box(cache.is_user_known(world(round).users[round % 10]));
    });
    time("roles", |round| drop(black_box(cache.roles(world(round).id))));
    time("figures", |_| {
        black_box(cache.figures());
    });
    let mut sizes = (0, 0);
    time("records of a guild", |round| {
        let records = cache.all_records(world(round).id);
        sizes.0 += 1;
        sizes.1 +=
            records.members.iter().chain(&records.together).map(|(_, bytes)| bytes.len()).sum::<usize>();
        black_box(records);
    });
    println!("  {} B a guild", sizes.1 / sizes.0);
    let records: Vec<Vec<(RecordKey, Vec<u8>)>> = worlds
        .iter()
        .map(|world| {
            let records = cache.all_records(world.id);
            records.members.into_iter().chain(records.together).collect()
        })
        .collect();
    let began = Instant::now();
    let mut restoring = Restoring::new(rules(), Arc::clone(&codec));
    for (key, bytes) in records.iter().flatten() {
        restoring.take(*key, bytes).unwrap();
    }
    let taken = began.elapsed();
    let restored = restoring.finish(&Head { session: 1, ..Head::default() });
    println!(
        "restore: {:.1} us a guild, of which take {:.1}",
        began.elapsed().as_secs_f64() * 1e3,
        taken.as_secs_f64() * 1e3
    );
    assert_eq!(restored.figures(), cache.figures());
}

/// One guild of 250,000 members, and one of 500 channels with 100 overwrites each.
fn large() {
    let mut random = Random(3);
    let codec = Arc::new(Codec::new());
    let rules = Rules { resources: Resources::ALL, ..rules() };
    let mut cache = ShardCache::new(rules, Arc::clone(&codec));
    let world = guild(&mut random, Size::USUAL);
    cache.apply("GUILD_CREATE", &world.text, 1);
    let before = rss();
    let mut users: Vec<u64> = (0..250_000).map(|_| random.id()).collect();
    users.sort_unstable();
    let mut took = Duration::ZERO;
    for (number, users) in users.chunks(1_000).enumerate() {
        let texts: Vec<String> = users.iter().map(|user| member(&mut random, *user, &world.roles)).collect();
        let chunk = format!(
            r#"{{"guild_id":"{}","members":[{}],"chunk_index":{number},"chunk_count":250}}"#,
            world.id,
            texts.join(",")
        );
        let began = Instant::now();
        cache.apply("GUILD_MEMBERS_CHUNK", &chunk, number as u64 + 2);
        took += began.elapsed();
    }
    cache.seal(1);
    println!(
        "250,000 members: {} B each by RSS, {} counted; {:.1} us each to apply",
        rss().saturating_sub(before) / 250_000,
        cache.memory() / 250_000,
        took.as_secs_f64() * 1e6 / 250_000.0
    );
    let mut sequence = 1_000;
    time("GUILD_MEMBER_ADD and _REMOVE there, a seal each 100", |round| {
        let user = random.id();
        let text = of_guild(&member(&mut random, user, &world.roles), world.id);
        cache.apply("GUILD_MEMBER_ADD", &text, sequence);
        let gone =
            format!(r#"{{"guild_id":"{}","user":{{"id":"{}"}}}}"#, world.id, users[round * 31 % 250_000]);
        cache.apply("GUILD_MEMBER_REMOVE", &gone, sequence + 1);
        sequence += 2;
        if round % 100 == 99 {
            cache.seal(1);
        }
    });
    let records = cache.all_records(world.id);
    println!(
        "  {} records of members",
        records.members.iter().filter(|(key, _)| key.kind == Kind::Members).count()
    );
    let began = Instant::now();
    cache.apply("GUILD_DELETE", &format!(r#"{{"id":"{}"}}"#, world.id), u64::MAX);
    cache.seal(1);
    println!("  removed in {:.1} ms, {} B left", began.elapsed().as_secs_f64() * 1e3, cache.memory());

    let size = Size { roles: 200, channels: 500, members: 50, voice: 20, overwrites: 100, is_hard: false };
    let world = guild(&mut random, size);
    let mut cache = ShardCache::new(self::rules(), codec);
    let began = Instant::now();
    cache.apply("GUILD_CREATE", &world.text, 1);
    println!(
        "500 channels with 100 overwrites: {} B of text, {} B kept, applied in {:.1} ms",
        world.text.len(),
        cache.memory(),
        began.elapsed().as_secs_f64() * 1e3
    );
    let update = of_guild(&channel(&mut random, &world.channels, &world.roles, 77, size), world.id);
    let mut sequence = 1;
    time("CHANNEL_UPDATE and a seal there", |_| {
        sequence += 1;
        cache.apply("CHANNEL_UPDATE", &update, sequence);
        cache.seal(1);
    });
}

/// Hours of joins and leaves: memory of the process before, after, and when all guilds are gone.
fn churn() {
    let mut random = Random(4);
    let codec = Arc::new(Codec::new());
    let worlds: Vec<World> = (0..4_000).map(|_| guild(&mut random, Size::USUAL)).collect();
    let with_texts = rss();
    let mut cache = filled(&codec, &worlds);
    let full = rss() - with_texts;
    let mut sequence = 1_000_000;
    let mut guests: Vec<(usize, u64)> = Vec::new();
    for round in 0..1_000_000_u64 {
        let place = random.below(4_000) as usize;
        let world = &worlds[place];
        let (name, data) = if guests.len() < 2_000 || round % 2 == 0 {
            let user = random.id();
            guests.push((place, user));
            ("GUILD_MEMBER_ADD", of_guild(&member(&mut random, user, &world.roles), world.id))
        } else {
            let (place, user) = guests.swap_remove(random.below(guests.len() as u64) as usize);
            let data = format!(r#"{{"guild_id":"{}","user":{{"id":"{user}"}}}}"#, worlds[place].id);
            ("GUILD_MEMBER_REMOVE", data)
        };
        sequence += 1;
        cache.apply(name, &data, sequence);
        if round % 200 == 0 {
            cache.seal(1);
        }
    }
    for (place, user) in guests {
        let data = format!(r#"{{"guild_id":"{}","user":{{"id":"{user}"}}}}"#, worlds[place].id);
        sequence += 1;
        cache.apply("GUILD_MEMBER_REMOVE", &data, sequence);
    }
    cache.seal(1);
    let after = rss() - with_texts;
    for world in &worlds {
        sequence += 1;
        cache.apply("GUILD_DELETE", &format!(r#"{{"id":"{}"}}"#, world.id), sequence);
    }
    cache.seal(1);
    let gone = rss().saturating_sub(with_texts);
    // The allocator returns pages to the system only while it is used.
    for _ in 0..2_000 {
        sequence += 2;
        cache.apply("GUILD_CREATE", &worlds[0].text, sequence);
        cache.apply("GUILD_DELETE", &format!(r#"{{"id":"{}"}}"#, worlds[0].id), sequence + 1);
    }
    println!(
        "4,000 guilds: {} B each by RSS, {} after 1,000,000 joins and leaves; {} KiB in all when all are gone, {} KiB a while later, {} KiB counted",
        full / 4_000,
        after / 4_000,
        gone / 1024,
        rss().saturating_sub(with_texts) / 1024,
        cache.memory() / 1024
    );
}
