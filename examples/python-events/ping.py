"""A bot in Python: answers /ping with the servers of all shards. events.py supplies events; answers go to Discord over HTTP."""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from events import Cursor, bridge_messages, connect, follow, say

# The workers' REST proxy, or Discord itself.
API = os.environ.get("REST_PROXY_URL") or os.environ.get("DISCORD_API_URL", "https://discord.com").rstrip("/") + "/api"
TOKEN = os.environ.get("DISCORD_TOKEN") or sys.exit("ping.py: DISCORD_TOKEN: set it to the bot token")
AT_ONCE = 32
ANSWER_WITHIN = 3.0  # Discord's deadline in seconds
# The form that Discord requires: DiscordBot (url, version), then any text.
USER_AGENT = "DiscordBot (https://discord.com/developers/applications, 0.1.0) altergolden"


def call(method, path, body=None, timeout=10.0, token=True):
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    if token:
        headers["Authorization"] = f"Bot {TOKEN}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{API}/v10{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read() or "null")


def register():
    """Registers the command. Repeating it changes nothing."""
    application = call("GET", "/applications/@me")["id"]
    call("PUT", f"/applications/{application}/commands", [{"type": 1, "name": "ping", "description": "How many servers the bot is in"}])


def serving(bridge, deadline):
    request = bridge_messages.GetAggregateStatsRequest(deadline_ms=int(deadline * 1000))
    stats = bridge.GetAggregateStats(request, timeout=deadline + 0.5)
    text = f"Serving {stats.total_guilds} servers across {stats.shard_count} shards"
    if not stats.complete:
        text += f" (not complete: no answer for shards {', '.join(map(str, stats.missing_shards))})"
    return text


def handle(bridge, item):
    """Answers an interaction. After a crash an event may be delivered twice: Discord rejects the second answer, so users see one."""
    try:
        interaction = json.loads(item.event.payload)["d"]
        if interaction.get("data", {}).get("name") != "ping":
            return
        left = (int(interaction["id"]) >> 22) / 1000 + 1_420_070_400 + ANSWER_WITHIN - time.time()
        if left <= 0:
            return say("interaction too old to answer:", interaction["id"])
        answer = {"type": 4, "data": {"content": serving(bridge, min(1.5, left))}}
        call("POST", f"/interactions/{interaction['id']}/{interaction['token']}/callback", answer, left, token=False)
    except urllib.error.HTTPError as error:
        say("cannot answer interaction:", error.code, error.read().decode(errors="replace"))
    except Exception as error:  # One bad event must not stop the others.
        say("cannot answer interaction:", type(error).__name__, error)


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    register()
    bridge, cursor, started = connect(), Cursor("ping.cursor"), deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for item in follow(bridge, ["INTERACTION_CREATE"], cursor):
                if item.HasField("event"):
                    started.append((item.cursor, pool.submit(handle, bridge, item)))
                # Saved in order, so that every event before the cursor is handled.
                while started and (started[0][1].done() or len(started) > AT_ONCE):
                    at, done = started.popleft()
                    done.result()
                    cursor.save(at)
        except KeyboardInterrupt:
            for at, done in started:
                done.result()
                cursor.save(at)


if __name__ == "__main__":
    main()
