// Voice: who is where, and the bot's own connection, as @discordjs/voice signals it.

import { GatewayOpcodes, SlashCommandBuilder } from 'discord.js';

/** Joins, or leaves with the channel null. Returns once Discord has answered. */
function signal(guild, channelId) {
  return new Promise((resolve, reject) => {
    const answers = {};
    const done = (answer) => {
      Object.assign(answers, answer);
      if (!answers.state || (channelId && !answers.server)) return;
      clearTimeout(timer);
      adapter.destroy();
      resolve(answers);
    };
    const adapter = guild.voiceAdapterCreator({
      onVoiceStateUpdate: (state) => done({ state }),
      onVoiceServerUpdate: (server) => done({ server }),
      destroy: () => {},
    });
    const timer = setTimeout(() => (adapter.destroy(), reject(new Error('no answer about voice in 10 s'))), 10_000);
    adapter.sendPayload({
      op: GatewayOpcodes.VoiceStateUpdate,
      d: { guild_id: guild.id, channel_id: channelId, self_mute: false, self_deaf: true },
    });
  });
}

export default [
  {
    data: new SlashCommandBuilder().setName('voice').setDescription('Who is in voice'),
    async execute(interaction) {
      const talking = interaction.guild.voiceStates.cache.filter((state) => state.channelId);
      const names = talking.map((state) => `${state.member.user.username} in ${state.channel.name}`);
      await interaction.reply(`${talking.size} in voice: ${names.join(', ')}`.slice(0, 2_000));
    },
  },
  {
    data: new SlashCommandBuilder().setName('join').setDescription('Comes into your voice channel'),
    async execute(interaction) {
      const { channel } = interaction.member.voice;
      if (!channel) return interaction.reply('You are not in a voice channel');
      await interaction.deferReply();
      const { server } = await signal(interaction.guild, channel.id);
      await interaction.editReply(`In ${interaction.guild.members.me.voice.channel.name}, at ${server.endpoint}`);
    },
  },
  {
    data: new SlashCommandBuilder().setName('leave').setDescription('Leaves voice'),
    async execute(interaction) {
      await interaction.deferReply();
      await signal(interaction.guild, null);
      await interaction.editReply(interaction.guild.members.me.voice.channelId ? 'Still here' : 'Left');
    },
  },
];
