//! Permissions and flags of channels.

/// CHANNEL_OBFUSCATED. [Source](https://docs.discord.com/developers/resources/channel#channel-object-channel-flags).
pub(super) const CHANNEL_OBFUSCATED: u64 = 1 << 17;
/// The VIEW_CHANNEL permission, `1 << 10`.
pub(super) const VIEW_CHANNEL: &str = "1024";
/// The SEND_MESSAGES permission, `1 << 11`.
pub(super) const SEND_MESSAGES: &str = "2048";
/// The name of a hidden channel.
pub(super) const HIDDEN_NAME: &str = "___hidden___";
