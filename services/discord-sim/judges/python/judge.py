"""hikari as a judge: judge.py ORIGIN SCENARIO."""

import asyncio
import sys

import hikari

from sim import Seen, run, saw

SHARDS = 2


async def connect(bot):
    guilds = Seen(bot, hikari.GuildAvailableEvent)
    await bot.start(shard_count=SHARDS, check_for_updates=False)
    saw(f"hikari {hikari.__version__} on {len(bot.shards)} shards")
    return guilds


async def complete(sim, messages):
    """Ends the stream of messages: all of them came, once, those of a shard in order."""
    await sim.fault("event_rate", per_second=0)
    total = (await sim.ask("/sim/ledger"))["messages"]
    await messages.at_least(total)
    numbers = [(event.shard.id, int(event.message.nonce.removeprefix("sim-"))) for event in messages.events]
    assert sorted(number for _, number in numbers) == list(range(1, total + 1)), "each once"
    for shard in range(SHARDS):
        own = [number for owner, number in numbers if owner == shard]
        assert own == sorted(own), f"those of shard {shard} in order"
    saw(total, "messages, each once")


async def start(sim, bot):
    """Two shards of one identify bucket: both become ready, with guilds and messages of their own."""
    messages = Seen(bot, hikari.GuildMessageCreateEvent)
    guilds = await connect(bot)
    expected = await sim.ask(f"/sim/guilds?limit=1000&shard_total={SHARDS}")
    await guilds.at_least(len(expected))
    cached = {str(event.guild_id): (event.shard.id, event.guild.member_count) for event in guilds.events}
    assert cached == {guild["id"]: (guild["shard"][0], guild["member_count"]) for guild in expected}, cached
    channels = sum(len(guild.get_channels()) for guild in bot.cache.get_guilds_view().values())
    assert channels == (await sim.ask("/sim/stats"))["channels"], channels
    saw(len(cached), "guilds with", channels, "channels, as the simulator says")
    await sim.fault("message", guild_id=expected[0]["id"], content="hello")
    await messages.at_least(1)
    assert messages.events[0].content == "hello"
    saw("a message of", messages.events[0].author)
    await sim.fault("event_rate", per_second=100)
    await messages.more(100)
    await complete(sim, messages)


async def resume(sim, bot):
    """Both shards resume after op 7 and after a dropped connection, and get what was written meanwhile."""
    messages = Seen(bot, hikari.GuildMessageCreateEvent)
    resumed = Seen(bot, hikari.ShardResumedEvent)
    await connect(bot)
    await sim.fault("event_rate", per_second=100)
    await messages.more(50)
    for kind in ("reconnect", "abort"):
        wanted = len(resumed.events) + SHARDS
        await sim.fault(kind)
        await resumed.at_least(wanted)
        saw(kind, "and resumed")
        await messages.more(50)
    await complete(sim, messages)
    assert len((await sim.ask("/sim/identifies"))["items"]) == SHARDS
    ledger = await sim.ask("/sim/ledger")
    for session in ledger["sessions"]:
        assert any(delivery["replayed"] for delivery in session["deliveries"]), session


SCENARIOS = {scenario.__name__: scenario for scenario in (start, resume)}

if __name__ == "__main__":
    _, origin, name = sys.argv
    asyncio.run(run(SCENARIOS[name], origin))
