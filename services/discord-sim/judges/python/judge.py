"""hikari as a judge: judge.py ORIGIN SCENARIO."""

import asyncio
import sys
import time

import hikari

from sim import Seen, run, saw

SHARDS = 2


async def connect(bot):
    guilds = Seen(bot, hikari.GuildAvailableEvent)
    await bot.start(shard_count=SHARDS, check_for_updates=False)
    saw(f"hikari {hikari.__version__} on {len(bot.shards)} shards")
    return guilds


async def complete(sim, messages):
    """Ends the stream of messages: all of them came once, and each shard's in order."""
    await sim.fault("event_rate", per_second=0)
    total = (await sim.ask("/sim/ledger"))["messages"]
    await messages.at_least(total)
    numbers = [(event.shard.id, int(event.message.nonce.removeprefix("sim-"))) for event in messages.events]
    assert sorted(number for _, number in numbers) == list(range(1, total + 1)), "each once"
    for shard in range(SHARDS):
        own = [number for owner, number in numbers if owner == shard]
        assert own == sorted(own), f"messages of shard {shard} in order"
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
    """Both shards resume after op 7 and after a dropped connection, and get the missed messages."""
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


async def interaction(sim, bot):
    """Registers a command, answers it at once and later, and writes messages; waits where it is told to by a 429."""
    called = Seen(bot, hikari.InteractionCreateEvent)
    guilds = await connect(bot)
    await guilds.at_least(1)
    application = await bot.rest.fetch_application()
    ping = bot.rest.slash_command_builder("ping", "Answers")
    ping.add_option(hikari.CommandOption(type=hikari.OptionType.STRING, name="text", description="What to say"))
    await bot.rest.set_application_commands(application, [ping])
    assert [command["name"] for command in await sim.ask("/sim/commands")] == ["ping"]

    async def call(**options):
        given = [{"name": name, "value": value} for name, value in options.items()]
        count = len(called.events) + 1
        guild_id = str(guilds.events[0].guild_id)
        outcome = await sim.fault("interaction", guild_id=guild_id, command="ping", options=given)
        await called.at_least(count)
        arrived = called.events[-1].interaction
        assert (str(arrived.id), arrived.command_name) == (outcome["interaction_id"], "ping")
        return arrived

    async def shown(one):
        return next(report for report in await sim.ask("/sim/interactions") if report["id"] == str(one.id))

    first = await call(text="hello")
    await first.create_initial_response(hikari.ResponseType.MESSAGE_CREATE, first.options[0].value)
    reply = await shown(first)
    assert (reply["callback"], reply["content"]) == (4, "hello") and reply["answered_after_ms"] < 3_000, reply
    saw("a reply after", reply["answered_after_ms"], "ms")
    more = await first.execute("and more")
    assert (await shown(first))["follow_ups"] == [str(more.id)]
    assert (await first.fetch_initial_response()).content == "hello"

    second = await call()
    await second.create_initial_response(hikari.ResponseType.DEFERRED_MESSAGE_CREATE)
    assert (await shown(second))["state"] == "deferred"
    await second.edit_initial_response("at last")
    late = await shown(second)
    assert (late["callback"], late["state"], late["content"]) == (5, "answered", "at last"), late
    saw("a message that followed, and a deferred reply")

    for scope in ("user", "shared", "global"):
        await sim.fault("rate_limit", count=1, scope=scope, retry_after=1)
        began = time.monotonic()
        message = await bot.rest.create_message(first.channel_id, scope)
        took = time.monotonic() - began
        # Where the scope is the bot itself, hikari goes by the bucket's headers and not by retry_after.
        assert message.content == scope and (scope == "user" or took >= 1), took
        saw(f"{scope}: written after {took:.3f} s")
    sends = [count for count in (await sim.ask("/sim/requests"))["counts"] if count["route"].endswith("/messages")]
    assert [(count["status"], count["count"]) for count in sends] == [(200, 3), (429, 3)], sends


async def moved(sim, bot):
    """Its worker ends under load. The bot resumes at another one, gets every message once, and Discord sees no IDENTIFY."""
    before = len((await sim.ask("/sim/identifies"))["items"])
    messages = Seen(bot, hikari.GuildMessageCreateEvent)
    resumed = Seen(bot, hikari.ShardResumedEvent)
    await connect(bot)
    await sim.fault("event_rate", per_second=300)
    await messages.more(100)
    saw("ready to lose its worker")
    await resumed.at_least(1)
    await messages.more(300)
    await complete(sim, messages)
    assert len((await sim.ask("/sim/identifies"))["items"]) == before


SCENARIOS = {scenario.__name__: scenario for scenario in (start, resume, interaction, moved)}

if __name__ == "__main__":
    _, origin, name = sys.argv
    asyncio.run(run(SCENARIOS[name], origin))
