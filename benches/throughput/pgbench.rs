//! `pgbench` inserting the same rows into a table of the same shape and indexes, one row a transaction.
//!
//! The rows are those that the service itself has recorded of the three deliveries; their values travel as parameters
//! of a prepared statement, as from any client. Only the id and the booking reference are new each time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use ticket_webhooks::embedded_postgres::Programs;

use crate::database::Server;

/// A table like `ticket_events`, and a script for each row.
pub struct Pgbench {
    program: PathBuf,
    url: String,
    directory: PathBuf,
    /// `-D name=value` of every value.
    definitions: Vec<String>,
    scripts: Vec<PathBuf>,
}

/// The result of a run.
pub struct Run {
    pub rate: f64,
    /// The median in milliseconds.
    pub latency: f64,
}

/// The columns of a row and their values as text; null, generated and defaulted ones are left out.
const ROWS: &str = "
    select string_agg(key || '=' || value, e'\\x01' order by key) from ticket_events as event,
    lateral (
        select key, case when jsonb_typeof(value) = 'array' and key <> 'passengers'
            then (select coalesce('{' || string_agg(element, ',') || '}', '{}')
                  from jsonb_array_elements_text(value) as element)
            else value #>> '{}' end as value
        from jsonb_each(to_jsonb(event) - '{id,booking_ref,payload,sequence,recorded_xid,recorded_at}'::text[])
        union all select 'payload', payload::text
    ) as columns
    where value is not null group by event.id";

impl Pgbench {
    /// Prepares it with the current rows of `ticket_events`.
    pub fn prepare(server: &Server, database: &str, directory: &Path) -> anyhow::Result<Self> {
        server.execute(
            database,
            "drop table if exists pgbench_events; create table pgbench_events (like ticket_events including all)",
        )?;
        let mut definitions = Vec::new();
        let mut scripts = Vec::new();
        for (index, row) in server.texts(database, ROWS)?.iter().enumerate() {
            let values: Vec<(&str, &str)> = row.split('\x01').filter_map(|value| value.split_once('=')).collect();
            let columns: Vec<&str> = values.iter().map(|(column, _)| *column).collect();
            let parameters: Vec<String> = columns.iter().map(|column| format!(":{column}_{index}")).collect();
            definitions.extend(values.iter().map(|(column, value)| format!("{column}_{index}={value}")));
            // ids and references grow, as the service's do: the indexes are filled in the same order
            let script = format!(
                "\\set n :n + 1\n\\set number :client_id * 1000000000 + :n\n\
                 insert into pgbench_events (id, booking_ref, {}) \
                 values (lpad(to_hex(:number::bigint), 32, '0')::uuid, 'BENCH-' || :number::bigint, {});\n",
                columns.join(", "),
                parameters.join(", ")
            );
            let path = directory.join(format!("pgbench-{index}.sql"));
            fs::write(&path, script)?;
            scripts.push(path);
        }
        let beside = Programs::find()?.directory().join("pgbench");
        let program = if beside.is_file() { beside } else { PathBuf::from("pgbench") };
        Ok(Self { program, url: server.url(database)?, directory: directory.to_path_buf(), definitions, scripts })
    }

    /// Empties the table and runs pgbench.
    pub fn run(&self, server: &Server, database: &str, clients: usize, duration: Duration) -> anyhow::Result<Run> {
        server.execute(database, "truncate pgbench_events; checkpoint")?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.directory).args(["--no-vacuum", "--protocol=prepared", "--define=n=0"]);
        command.args(self.definitions.iter().map(|definition| format!("--define={definition}")));
        command.args(self.scripts.iter().map(|script| format!("--file={}", script.display())));
        command.arg(format!("--client={clients}")).arg(format!("--jobs={}", clients.min(2)));
        command.arg(format!("--time={}", duration.as_secs().max(1)));
        if clients == 1 {
            command.args(["--log", "--log-prefix=pgbench-latencies"]);
        }
        let output = command.arg(&self.url).output().context("pgbench cannot be run")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        let latency = if clients == 1 { self.logged_median()? } else { f64::NAN };
        Ok(Run { rate: rate.with_context(|| format!("pgbench tells no rate: {text}"))?, latency })
    }

    fn logged_median(&self) -> anyhow::Result<f64> {
        let mut latencies: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench-latencies.")) {
                let text = fs::read_to_string(&path)?;
                latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
                fs::remove_file(path)?;
            }
        }
        latencies.sort_unstable();
        Ok(*latencies.get(latencies.len() / 2).context("pgbench has logged nothing")? as f64 / 1000.0)
    }
}
