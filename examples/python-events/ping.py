"""A bot in Python: /ping, answered with the servers of all shards. Events come by events.py, answers go to Discord by HTTP."""

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
TOKEN = os.environ.get("DISCORD_TOKEN") or sys.exit("ping.py: DISCORD_TOKEN: needs the bot token")
AT_ONCE = 32
ANSWER_WITHIN = 3.0  # seconds, says Discord


def call(method, path, body=None, timeout=10.0, token=True):
    headers = {"Content-Type": "application/json", "User-Agent": "DiscordBot (https://github.com/altergolden/altergolden, 0.1)"}
    if token:
        headers["Authorization"] = f"Bot {TOKEN}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{API}/v10{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read() or "null")


def register():
    """Tells Discord of the command. Again changes nothing."""
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
    """An event may come twice, after a crash: Discord refuses the second answer, and users see one."""
    try:
        interaction = json.loads(item.event.payload)["d"]
        if interaction.get("data", {}).get("name") != "ping":
            return
        left = (int(interaction["id"]) >> 22) / 1000 + 1_420_070_400 + ANSWER_WITHIN - time.time()
        if left <= 0:
            return say("came too late to be answered:", interaction["id"])
        answer = {"type": 4, "data": {"content": serving(bridge, min(1.5, left))}}
        call("POST", f"/interactions/{interaction['id']}/{interaction['token']}/callback", answer, left, token=False)
    except urllib.error.HTTPError as error:
        say("not answered:", error.code, error.read().decode(errors="replace"))
    except Exception as error:  # One bad event must not end the others.
        say("not answered:", type(error).__name__, error)


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    register()
    bridge, cursor, begun = connect(), Cursor("ping.cursor"), deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for item in follow(bridge, ["INTERACTION_CREATE"], cursor):
                if item.HasField("event"):
                    begun.append((item.cursor, pool.submit(handle, bridge, item)))
                # In order, so that nothing before the cursor is still to do.
                while begun and (begun[0][1].done() or len(begun) > AT_ONCE):
                    at, done = begun.popleft()
                    done.result()
                    cursor.keep(at)
        except KeyboardInterrupt:
            for at, done in begun:
                done.result()
                cursor.keep(at)


if __name__ == "__main__":
    main()
