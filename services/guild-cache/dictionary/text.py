"""Writes the dictionary's text and sample blocks: text.py GUILDS.jsonl TEXT SAMPLES SIZES

The text has typical objects, each in the order of keys in which discord-sim writes them and in Discord's own, which is from the last letter to the
first in captured frames. Ids, hashes and times are replaced by plain ones. The most common objects come last, where zstd finds them most cheaply.
"""

import json
import re
import sys

SEPARATOR = "\x1e"
GROUPS = [("channels", 8), ("threads", 8), ("roles", 32), ("members", 16), ("voice_states", 16)]
EXTRAS = ["emojis", "stickers", "stage_instances", "guild_scheduled_events", "soundboard_sounds"]
LISTS = [name for name, _ in GROUPS] + EXTRAS + ["presences"]

# Fields that Discord sends and discord-sim does not.
MORE = {
    "core": {"home_header": None, "widget_enabled": False, "widget_channel_id": None, "region": "deprecated", "nsfw": False,
             "max_presences": None, "max_stage_video_channel_users": 50, "lazy": True, "incidents_data": None, "profile": None,
             "hub_type": None, "latest_onboarding_question_id": None, "moderator_reporting": None, "inventory_settings": None,
             "version": 1700000000000, "embedded_activities": [], "activity_instances": []},
    "channels": {"version": 1700000000000, "icon_emoji": {"name": "👋", "id": None}, "theme_color": None, "last_pin_timestamp": None},
    "roles": {"version": 0, "tags": {}},
    "members": {"unusual_dm_activity_until": None, "avatar_decoration_data": None, "collectibles": None},
    "user": {"display_name_styles": None, "display_name": None, "primary_guild": None, "clan": None, "collectibles": None, "bot": False,
             "avatar_decoration_data": None, "banner": None, "accent_color": None},
    "voice_states": {"self_stream": False},
    "threads": {"applied_tags": []},
}

WORDS = """general general-chat chat lounge off-topic announcements rules welcome introductions info faq roles news updates events
staff mod-log moderators admin bot-commands bots music memes media art gaming clips support help tickets suggestions feedback voice
General Lobby AFK Text Channels Voice Channels Information Community Admin Moderator Member Owner Bot Muted Server Booster Nitro
VIP Friends Team Developer Support Staff Partner Verified Everyone Community Gaming Music Art Study Anime""".split()


def plain(value, key=""):
    if isinstance(value, dict):
        return {name: plain(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, key) for inner in value[:3]]
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{15,20}", value) and key not in ("allow", "deny", "permissions"):
            return "1000000000000000000"
        if re.fullmatch(r"[0-9a-f]{24,}", value):
            return ""
        if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", value):
            return "2021-01-01T00:00:00.000000+00:00"
    return value


def reverse(value):
    if isinstance(value, dict):
        return {name: reverse(value[name]) for name in sorted(value, reverse=True)}
    if isinstance(value, list):
        return [reverse(inner) for inner in value]
    return value


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def extended(kind, value):
    value = {**value, **{name: inner for name, inner in MORE.get(kind, {}).items() if name not in value}}
    if "user" in value and kind == "members":
        value["user"] = extended("user", value["user"])
    return value


def core_of(guild):
    return {name: value for name, value in guild.items() if name not in LISTS}


def shape(value):
    """Objects of one shape differ only in values that are replaced or rare."""
    if isinstance(value, dict):
        return tuple((name, shape(inner)) for name, inner in value.items())
    return type(value).__name__ if not isinstance(value, bool) else value


def main(guilds_path, text_path, samples_path, sizes_path):
    guilds = [json.loads(line) for line in open(guilds_path)]
    blocks = []
    for order in (lambda value: value, reverse):
        for guild in guilds:
            for kind, per_block in GROUPS:
                objects = sorted(guild[kind], key=lambda one: int(one.get("id") or one.get("user_id") or one["user"]["id"]))[:64]
                for at in range(0, len(objects), per_block):
                    blocks.append(SEPARATOR.join(text(order(extended(kind, one))) for one in objects[at : at + per_block]))
            blocks.append(text(order(extended("core", core_of(guild)))))
            blocks.append(text({name: order(guild[name])[:10] for name in EXTRAS}))
    blocks = [block for block in blocks if block]
    open(samples_path, "wb").write(b"".join(block.encode() for block in blocks))
    open(sizes_path, "w").write("\n".join(str(len(block.encode())) for block in blocks))

    parts = ["\n".join(WORDS)]
    parts.append(text({name: [] for name in EXTRAS}))

    def typical(kind, objects, most):
        """The most common shapes, the most common one last, in both orders."""
        seen = {}
        for one in objects:
            one = plain(extended(kind, one))
            seen.setdefault(shape(one), [0, one])[0] += 1
        best = sorted(seen.values(), key=lambda entry: entry[0])[-most:]
        for order in (lambda value: value, reverse):
            parts.extend(text(order(one)) for _, one in best)

    every = lambda kind: [one for guild in guilds for one in guild[kind]]
    typical("stickers", every("stickers"), 1)
    typical("guild_scheduled_events", every("guild_scheduled_events"), 1)
    typical("emojis", every("emojis"), 1)
    typical("presences", every("presences"), 1)
    typical("core", [core_of(guild) for guild in guilds], 2)
    typical("threads", every("threads"), 1)
    typical("voice_states", every("voice_states"), 1)
    typical("roles", every("roles"), 3)
    typical("members", every("members"), 4)
    typical("channels", every("channels"), 10)
    open(text_path, "w").write("\n".join(parts))


main(*sys.argv[1:])
