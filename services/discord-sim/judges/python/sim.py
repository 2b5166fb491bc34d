"""The simulator's control API, and waiting for what hikari sees."""

import asyncio
import base64
import os

import aiohttp
import hikari

PATIENCE = 40


def saw(*words):
    print("saw", *words, flush=True)


class Sim:
    def __init__(self, origin, http):
        self.origin = origin
        self._http = http

    async def _call(self, method, path, **more):
        async with self._http.request(method, self.origin + path, **more) as answer:
            body = await answer.json()
            assert answer.ok, f"{method} {path}: {body}"
            return body

    async def ask(self, path):
        return await self._call("GET", path)

    async def fault(self, kind, **fields):
        return await self._call("POST", "/sim/faults", json={"kind": kind, **fields})

    async def bot(self):
        """A hikari bot that talks to the simulator. Its gateway URL comes from GET /gateway/bot."""
        headers = {"authorization": "Bot judge"}
        me = await self._call("GET", "/api/v10/users/@me", headers=headers)
        # hikari reads the bot's id from the token, as it is in Discord's.
        token = base64.b64encode(me["id"].encode()).decode() + ".judge"
        intents = hikari.Intents.GUILDS | hikari.Intents.GUILD_MESSAGES | hikari.Intents.MESSAGE_CONTENT
        return hikari.GatewayBot(
            os.environ.get("BOT_TOKEN", token),
            # The API of the simulator, or of a fleet that is connected to it.
            rest_url=os.environ.get("BOT_API", f"{self.origin}/api") + "/v10",
            intents=intents,
            banner=None,
            suppress_optimization_warning=True,
        )


class Seen:
    """Every event of the wanted type, and a way to wait for more."""

    def __init__(self, bot, event_type):
        self.events = []
        self._changed = asyncio.Condition()
        self._name = event_type.__name__
        bot.subscribe(event_type, self._add)

    async def _add(self, event):
        self.events.append(event)
        async with self._changed:
            self._changed.notify_all()

    async def at_least(self, count):
        async with self._changed:
            waiting = self._changed.wait_for(lambda: len(self.events) >= count)
            try:
                await asyncio.wait_for(waiting, PATIENCE)
            except asyncio.TimeoutError:
                raise AssertionError(f"{len(self.events)} of {count} came: {self._name}") from None

    async def more(self, count):
        await self.at_least(len(self.events) + count)


async def run(scenario, origin):
    """Runs a hikari judge, then checks that no rule of Discord's was broken."""
    async with aiohttp.ClientSession() as http:
        sim = Sim(origin, http)
        bot = await sim.bot()
        try:
            await scenario(sim, bot)
            await obeyed(sim)
        finally:
            if bot.is_alive:
                await bot.close()
    print("the judge passed")


async def obeyed(sim):
    """Fails if the library broke a rule of Discord's."""
    violations = (await sim.ask("/sim/violations"))["items"]
    assert not violations, violations
