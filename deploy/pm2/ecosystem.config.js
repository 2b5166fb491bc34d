// A fleet on one host under PM2: `altergolden up`, which runs coordinator, workers and Redis. docs/one-host.md explains each line.
//
//   pm2 start ecosystem.config.js
//   pm2 logs altergolden
//   pm2 sendSignal SIGHUP altergolden    new program file: workers are replaced one by one, nothing is lost
//   pm2 stop altergolden                 workers hand off, then everything stops
module.exports = {
  apps: [
    {
      name: "altergolden",
      // A name is looked up in PATH; a path works too.
      script: "altergolden",
      args: "up",
      // The folder with .env, as `altergolden init` writes it.
      cwd: __dirname,
      interpreter: "none",
      // Never cluster mode, never several instances: `up` starts the workers itself (CLUSTER_COUNT).
      exec_mode: "fork",
      instances: 1,
      // Signals go to the supervisor only, which stops workers, coordinator and Redis in order. By default PM2 signals all of them at once.
      treekill: false,
      // Above DRAIN_TIMEOUT (25 s) and the supervisor's own limits; after it PM2 kills.
      kill_timeout: 90000,
      // A wrong setting (2) and a token that Discord refused (78) are the same after a restart.
      stop_exit_codes: [2, 78],
      // Ten ends within ten seconds each, and PM2 gives up. No exp_backoff_restart_delay: with it PM2 shows "waiting restart" for
      // an exit code above, and never restarts.
      min_uptime: 10000,
      max_restarts: 10,
      // No max_memory_restart: PM2 would measure the supervisor, and kill. MAX_MEMORY_RESTART in .env replaces a worker that has
      // grown too large, and its shards lose nothing.
      // No watch: a changed file must not restart a fleet.
      autorestart: true,
      watch: false,
      merge_logs: true,
    },
  ],
};
