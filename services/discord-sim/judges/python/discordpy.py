"""discord.py as a judge: discordpy.py ORIGIN SCENARIO."""

import asyncio
import os
import sys

import aiohttp
import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from sim import PATIENCE, Sim, obeyed, saw


class Recorder:
    """Records events and wakes waiting coroutines."""

    def __init__(self, **options):
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        super().__init__(intents=intents, **options)
        self.tree = app_commands.CommandTree(self)
        self.messages = []
        self.bulk_deleted = []
        self.resumes = 0
        self.failures = []
        self._changed = asyncio.Condition()

    async def _wake(self):
        async with self._changed:
            self._changed.notify_all()

    async def until(self, what, holds):
        async with self._changed:
            waiting = self._changed.wait_for(lambda: self.failures or holds())
            try:
                await asyncio.wait_for(waiting, PATIENCE)
            except asyncio.TimeoutError:
                raise AssertionError(f"{what} did not happen in {PATIENCE} s") from None
        assert not self.failures, self.failures

    async def on_message(self, message):
        self.messages.append(message)
        await self._wake()

    async def on_raw_bulk_message_delete(self, payload):
        self.bulk_deleted.append(payload)
        await self._wake()

    async def on_resumed(self):
        self.resumes += 1
        await self._wake()

    async def on_error(self, event, *_args, **_options):
        self.failures.append((event, repr(sys.exc_info()[1])))
        await self._wake()


class Bot(Recorder, discord.Client):
    """One shard."""


class ShardedBot(Recorder, discord.AutoShardedClient):
    """More shards than the fleet has."""

    def __init__(self):
        super().__init__(shard_count=3)

    async def on_shard_resumed(self, _shard):
        await self.on_resumed()


async def login(sim, bot):
    """Checks the cache against the simulator."""
    expected = await sim.ask("/sim/guilds?limit=1000")
    held = {str(guild.id): guild.member_count for guild in bot.guilds}
    assert held == {guild["id"]: guild["member_count"] for guild in expected}, held
    channels = sum(len(guild.channels) for guild in bot.guilds)
    assert channels == (await sim.ask("/sim/stats"))["channels"], channels
    application = await bot.application_info()
    assert application.id == bot.user.id
    saw(len(held), "guilds with", channels, "channels, as the simulator says")


async def commands(sim, bot):
    """Syncs commands, answers one at once and one later. discord.py asks for the outcome with `with_response=1`."""
    answers = []

    @bot.tree.command(description="Answers")
    async def ping(interaction: discord.Interaction, text: str):
        answer = await interaction.response.send_message(text)
        assert answer.message_id is not None and answer.resource.content == text
        await interaction.followup.send("and more")
        answers.append(answer)
        await bot._wake()

    @bot.tree.command(description="Answers later")
    async def slow(interaction: discord.Interaction):
        await interaction.response.defer()
        await interaction.edit_original_response(content="at last")
        answers.append(await interaction.original_response())
        await bot._wake()

    @bot.tree.error
    async def failed(_interaction, error):
        bot.failures.append(repr(error))
        await bot._wake()

    synced = await bot.tree.sync()
    registered = await sim.ask("/sim/commands")
    assert {command.name for command in synced} == {command["name"] for command in registered} == {"ping", "slow"}
    for count, (name, options) in enumerate([("ping", [{"name": "text", "value": "hello"}]), ("slow", [])], 1):
        outcome = await sim.fault("interaction", guild_id=str(bot.guilds[0].id), command=name, options=options)
        await bot.until(f"an answer to /{name}", lambda: len(answers) == count)
        reports = await sim.ask("/sim/interactions")
        report = next(one for one in reports if one["id"] == outcome["interaction_id"])
        assert report["state"] == "answered", report
        saw(name, "answered with", report["content"])


async def messages(sim, bot):
    """Writes, edits and deletes messages one by one, then purges a channel, which deletes in bulk."""
    guild = next(guild for guild in bot.guilds if guild.me.guild_permissions.manage_messages)
    channel = guild.text_channels[0]
    first = await channel.send("first", embed=discord.Embed(title="a title"))
    edited = await first.edit(content="changed")
    assert edited.content == "changed" and (await channel.fetch_message(first.id)).content == "changed"
    await first.delete()
    async with channel.typing():
        written = [await channel.send(f"message {number}") for number in range(4)]
    history = [message.id async for message in channel.history(limit=10)]
    assert history == [message.id for message in reversed(written)], history
    purged = await channel.purge(limit=10)
    assert len(purged) == 4, purged
    await bot.until("the event of the purge", lambda: bot.bulk_deleted)
    assert bot.bulk_deleted[0].message_ids == {message.id for message in written}
    assert [message async for message in channel.history(limit=10)] == []
    saw("a message edited and deleted, four purged")
    try:
        plain = next(guild for guild in bot.guilds if not guild.me.guild_permissions.manage_messages)
        await plain.text_channels[0].delete_messages(written[:2])
    except discord.Forbidden as refusal:
        assert refusal.code == 50013, refusal
        saw("refused where it may not:", refusal)


async def resume(sim, bot):
    """Resumes after op 7 and gets the missed messages, once and in order."""
    await sim.fault("event_rate", per_second=100)
    await bot.until("50 messages", lambda: len(bot.messages) >= 50)
    for count in (1, 2):
        await sim.fault("reconnect")
        await bot.until("a resume", lambda: bot.resumes == count)
        so_far = len(bot.messages)
        await bot.until("50 messages more", lambda: len(bot.messages) >= so_far + 50)
    await sim.fault("event_rate", per_second=0)
    total = (await sim.ask("/sim/ledger"))["messages"]
    await bot.until(f"all {total} messages", lambda: len(bot.messages) >= total)
    numbers = [int(str(message.nonce).removeprefix("sim-")) for message in bot.messages]
    assert numbers == list(range(1, total + 1)), "each once and in order"
    assert len((await sim.ask("/sim/identifies"))["items"]) == 1
    saw(total, "messages, each once")


async def moved(sim, bot):
    """Its worker ends under load. The bot resumes at another one, gets every message once, and Discord sees no IDENTIFY."""
    identifies = len((await sim.ask("/sim/identifies"))["items"])
    assert len(bot.guilds) == len(await sim.ask("/sim/guilds?limit=1000"))
    assert all(guild.me for guild in bot.guilds)
    await sim.fault("event_rate", per_second=300)
    await bot.until("100 messages", lambda: len(bot.messages) >= 100)
    saw("ready to lose its worker")
    await bot.until("a resume", lambda: bot.resumes >= 1)
    so_far = len(bot.messages)
    await bot.until("300 messages more", lambda: len(bot.messages) >= so_far + 300)
    await sim.fault("event_rate", per_second=0)
    total = (await sim.ask("/sim/ledger"))["messages"]
    await bot.until(f"all {total} messages", lambda: len(bot.messages) >= total)
    numbers = [int(str(message.nonce).removeprefix("sim-")) for message in bot.messages]
    assert sorted(numbers) == list(range(1, total + 1)), "each once"
    assert len((await sim.ask("/sim/identifies"))["items"]) == identifies
    saw(total, "messages, each once")


async def run(scenario, origin):
    # By default the simulator itself; otherwise a fleet that is connected to the simulator.
    Route.BASE = os.environ.get("BOT_API", f"{origin}/api") + "/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ.get("BOT_GATEWAY", origin.replace("http", "ws", 1)))
    kind = ShardedBot if scenario is moved else Bot
    async with aiohttp.ClientSession() as http, kind() as bot:
        sim = Sim(origin, http)
        await bot.login(os.environ.get("BOT_TOKEN", "judge"))
        connection = asyncio.create_task(bot.connect())
        ready = asyncio.create_task(bot.wait_until_ready())
        await asyncio.wait({connection, ready}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert bot.is_ready(), connection
        saw(f"discord.py {discord.__version__} in {len(bot.guilds)} guilds")
        await scenario(sim, bot)
        await obeyed(sim)
        await bot.close()
        await connection
    print("the judge passed")


SCENARIOS = {scenario.__name__: scenario for scenario in (login, commands, messages, resume, moved)}

if __name__ == "__main__":
    _, origin, name = sys.argv
    asyncio.run(run(SCENARIOS[name], origin))
