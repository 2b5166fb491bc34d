"""Subscribes to Discord's events over gRPC from all shards of a bot, and after a restart continues where it stopped.

    python events.py MESSAGE_CREATE GUILD_CREATE     prints these events; all events without names
"""

import json
import os
import sys
import time
from pathlib import Path

import grpc

# The protos are compiled when the program starts: of this repository, or in PROTO_DIR when these files are elsewhere.
sys.path.insert(0, os.environ.get("PROTO_DIR") or str(Path(__file__).resolve().parents[2] / "proto"))
messages = grpc.protos("altergolden/v1/events.proto")
bridge_messages, bridge_services = grpc.protos_and_services("altergolden/v1/shard_bridge.proto")

# These pings detect a server that disappeared.
OPTIONS = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000), ("grpc.max_reconnect_backoff_ms", 2_000)]


def connect(server="coordinator"):
    """Connects to COORDINATOR_URL: over TLS with CREDENTIALS (a bot's PEM file), or with COORDINATOR_TOKEN and COORDINATOR_CA (the CA's PEM file).

    `server` is what answers there: "coordinator" or "worker". Certificates name roles, as addresses change.
    """
    url, secured = os.environ.get("COORDINATOR_URL") or "127.0.0.1:50051", channel_credentials()
    scheme, _, address = url.rpartition("://")
    if scheme not in ("", "https" if secured else "http"):
        sys.exit("COORDINATOR_URL: https:// needs CREDENTIALS, or COORDINATOR_TOKEN and COORDINATOR_CA; http:// must have neither")
    if not secured:
        return bridge_services.ShardBridgeStub(grpc.insecure_channel(address, options=OPTIONS))
    name = f"{server}.{os.environ.get('FLEET') or 'altergolden'}.altergolden"
    options = [*OPTIONS, ("grpc.ssl_target_name_override", name)]
    return bridge_services.ShardBridgeStub(grpc.secure_channel(address, secured, options=options))


def channel_credentials():
    """Returns the credentials in the environment, or None."""
    if token := os.environ.get("COORDINATOR_TOKEN"):
        ca = os.environ.get("COORDINATOR_CA") or sys.exit("COORDINATOR_TOKEN: set COORDINATOR_CA to the file with the CA (ca.pem) too")
        tls = grpc.ssl_channel_credentials(Path(ca).read_bytes())
        return grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(token))
    if not os.environ.get("CREDENTIALS"):
        return None
    path = Path(os.environ["CREDENTIALS"])
    # One file has certificate, key and CA; each reader takes its blocks.
    pem = (path / "bot.pem" if path.is_dir() else path).read_bytes()
    return grpc.ssl_channel_credentials(pem, pem, pem)


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Cursor:
    """The position in the stream, in a file. After a crash, events that were handled but not saved yet are handled again.

    The file is in $XDG_STATE_HOME/altergolden-examples, by default ~/.local/state/altergolden-examples. The program may run in any folder.
    """

    def __init__(self, name):
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "altergolden-examples"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / name
        self.at = self.path.read_text() if self.path.exists() else ""

    def save(self, at):
        beside = self.path.with_suffix(".new")
        beside.write_text(at)
        os.replace(beside, self.path)
        self.at = at


def follow(bridge, names, cursor):
    """Yields items after the cursor, for ever. The caller saves the cursor of an item that it has handled."""
    last, wait = cursor.at, 0.1
    while True:
        try:
            call = bridge.Events(messages.EventsRequest(names=names, cursor=last))
            call.initial_metadata()
            say("listening", f"from {last}" if last else "from now on")
            for item in call:
                last, wait = item.cursor, 0.1
                if item.HasField("gap"):
                    say(f"shard {item.gap.shard_id}: events were or may have been lost: {item.gap.gap.reason}")
                elif item.HasField("missed"):
                    say(f"events were trimmed before they were read: {item.missed.reason}")
                yield item
        except grpc.RpcError as error:
            say(f"event stream failed: {error.details()} ({error.code().name})")
            if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
                raise
        time.sleep(wait)
        wait = min(wait * 2, 5)


if __name__ == "__main__":
    cursor = Cursor("events.cursor")
    for item in follow(connect(), sys.argv[1:], cursor):
        if item.HasField("event"):
            event = item.event
            body = json.loads(event.payload)["d"] or {}
            print(f"shard {event.shard_id}, guild {event.guild_id or '-'}: {event.name} {body.get('id', '')}", flush=True)
        cursor.save(item.cursor)
