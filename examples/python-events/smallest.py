"""Discord's events over gRPC, printed; after a restart from where it stopped. python smallest.py MESSAGE_CREATE"""

import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, os.environ.get("PROTO_DIR") or str(Path(__file__).resolve().parents[2] / "proto"))
messages = grpc.protos("altergolden/v1/events.proto")
services = grpc.services("altergolden/v1/shard_bridge.proto")

kept = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "altergolden-examples" / "smallest.cursor"
kept.parent.mkdir(parents=True, exist_ok=True)
cursor = kept.read_text() if kept.exists() else ""
url = os.environ.get("COORDINATOR_URL", "http://127.0.0.1:50051").removeprefix("http://")
bridge = services.ShardBridgeStub(grpc.insecure_channel(url))
events = bridge.Events(messages.EventsRequest(names=sys.argv[1:], cursor=cursor), wait_for_ready=True)
events.initial_metadata()
print("listening", flush=True)
for item in events:
    if item.HasField("event"):
        print(item.event.shard_id, item.event.name, item.event.payload, flush=True)
    elif item.HasField("gap"):
        print("lost on shard", item.gap.shard_id, item.gap.gap.reason, flush=True)
    elif item.HasField("missed"):
        print("cut off before it was read", flush=True)
    kept.write_text(item.cursor)
