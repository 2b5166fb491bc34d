//! The first lines: what runs where, and how to stop, replace and look.

use std::fmt::Write as _;

use super::Supervisor;
use crate::{layout::health_port, output::Lines, program::Kind};

impl Supervisor<'_> {
    /// On a terminal, says what was started; otherwise logs it.
    pub(super) fn introduce(&self) {
        let pid = std::process::id();
        let state = self.folder.path().display();
        let redis = match &self.redis {
            Some(redis) => format!("redis-server of its own (pid {}, 127.0.0.1:{})", redis.pid, redis.port),
            None => "as REDIS_URL says".to_owned(),
        };
        let coordinator = self.programs.coordinator;
        if self.config.lines == Lines::Unchanged {
            tracing::info!(process.pid = pid, state = %state, redis, coordinator = %coordinator, "supervisor started");
            return;
        }
        let mut text = format!("altergolden up (pid {pid})\n  state     {state}\n  Redis     {redis}\n");
        for ((at, _), child) in &self.children {
            let pid = child.child.pid.as_raw_nonzero();
            let listens = match self.places[*at].kind {
                Kind::Simulator => {
                    format!("simulated Discord on {}", self.programs.simulator.unwrap_or(coordinator))
                }
                Kind::Coordinator => {
                    format!(
                        "gRPC {coordinator}, health port {}",
                        self.port(self.programs.manager_health_port)
                    )
                }
                Kind::Worker(number) => {
                    let port = health_port(self.programs.health_port, number).unwrap_or_default();
                    format!("health port {}", self.port(port))
                }
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {:<12}  pid {pid}  {listens}", child.name);
        }
        let _ = write!(
            text,
            "look: altergolden status --url {url}\nreplace: altergolden up --replace --state {state}\nstop: Ctrl-C, or kill {pid}\n",
            url = self.programs.coordinator_url(),
        );
        self.outputs.out.text(&text);
    }

    fn port(&self, port: u16) -> String {
        if port == 0 {
            "chosen at its start; see the log".to_owned()
        } else {
            format!("{}:{port}", self.config.health_host)
        }
    }
}
