//! What breaks, and how it is mended. Each waits for what the clients see, so that the fault is there under load.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor, PgPool};
use tokio::time::sleep;

use super::{
    load::Load,
    world::{BATCHES, World, fill},
};
use crate::support::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    PostgresStopped,
    ServiceKilledRecording,
    PostgresKilled,
    ServiceKilledSpooling,
    PostgresFrozen,
    ServiceKilledDraining,
    PostgresRestarted,
    BothKilled,
    TableLocked,
    ServiceStopped,
    DiskFull,
    SpoolDeleted,
    SpoolBitFlipped,
    SpoolBitFlippedWhileKilled,
    ClockSetBack,
}

/// In the order of the rounds.
pub const FAULTS: &[Fault] = &[
    Fault::PostgresStopped,
    Fault::ServiceKilledRecording,
    Fault::PostgresKilled,
    Fault::ServiceKilledSpooling,
    Fault::PostgresFrozen,
    Fault::ServiceKilledDraining,
    Fault::PostgresRestarted,
    Fault::BothKilled,
    Fault::TableLocked,
    Fault::ServiceStopped,
    Fault::DiskFull,
    Fault::SpoolDeleted,
    Fault::SpoolBitFlipped,
    Fault::SpoolBitFlippedWhileKilled,
    Fault::ClockSetBack,
];

/// How it went.
pub enum Struck {
    AsPlanned,
    /// What the service found in the spool when it came back.
    Spooled(u64),
    Variant(&'static str),
    /// It cannot be made on this machine.
    Skipped,
}

impl Fault {
    /// Breaks something under this load and mends it.
    pub async fn strike(self, world: &mut World, load: &Load, chance: &mut Chance) -> Struck {
        let max_batch = chance.one_of(BATCHES);
        let a_while = chance.between(50, 400);
        match self {
            Self::PostgresStopped => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::AsPlanned
            }
            Self::PostgresKilled => {
                kill_postgres(world).await;
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::AsPlanned
            }
            Self::PostgresFrozen => {
                world.server.signal_all("STOP");
                load.acknowledges(a_while).await;
                world.server.signal_all("CONT");
                Struck::AsPlanned
            }
            Self::PostgresRestarted => {
                stop_postgres(world, "INT").await;
                world.server.start_again().await;
                Struck::AsPlanned
            }
            Self::TableLocked => {
                let mut holder = world.server.pool().acquire().await.unwrap().detach();
                holder.execute("begin; lock table ticket_events").await.unwrap();
                load.acknowledges(a_while).await;
                holder.execute("rollback").await.unwrap();
                holder.close().await.unwrap();
                Struck::AsPlanned
            }
            Self::ServiceKilledRecording => {
                world.kill_service().await;
                Struck::Spooled(world.start_service(max_batch).await)
            }
            Self::ServiceKilledSpooling => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.kill_service().await;
                let spooled = world.start_service(max_batch).await;
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::Spooled(spooled)
            }
            Self::ServiceKilledDraining => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(400 + a_while).await;
                world.server.start_again().await;
                drained_some(&world.server.pool(), chance.between(1, 300)).await;
                world.kill_service().await;
                Struck::Spooled(world.start_service(max_batch).await)
            }
            Self::BothKilled => both_killed(world, load, chance).await,
            Self::ServiceStopped => {
                let is_spooling = chance.one_in(2);
                if is_spooling {
                    stop_postgres(world, "QUIT").await;
                    load.acknowledges(a_while).await;
                }
                world.stop_service().await;
                let spooled = world.start_service(max_batch).await;
                if is_spooling {
                    load.acknowledges(a_while).await;
                    world.server.start_again().await;
                }
                Struck::Spooled(spooled)
            }
            Self::DiskFull => disk_full(world, load, chance).await,
            Self::SpoolDeleted => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.delete_spool(chance.one_in(2));
                load.acknowledges(a_while).await;
                world.kill_service().await;
                let spooled = world.start_service(max_batch).await;
                world.server.start_again().await;
                Struck::Spooled(spooled)
            }
            Self::SpoolBitFlipped => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.flip_bits(chance);
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::AsPlanned
            }
            Self::SpoolBitFlippedWhileKilled => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.kill_service().await;
                world.flip_bits(chance);
                let spooled = world.start_service(max_batch).await;
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::Spooled(spooled)
            }
            Self::ClockSetBack => {
                stop_postgres(world, "QUIT").await;
                load.acknowledges(a_while).await;
                world.kill_service().await;
                let Some(spooled) = world.start_an_hour_back(max_batch).await else {
                    world.start_service(max_batch).await;
                    world.server.start_again().await;
                    return Struck::Skipped;
                };
                load.acknowledges(a_while).await;
                world.server.start_again().await;
                Struck::Spooled(spooled)
            }
        }
    }

    /// The spool takes what Postgres does not; only its disk may keep it from doing so.
    pub fn may_refuse(self) -> bool {
        self == Self::DiskFull
    }

    /// How many deliveries may be missing: that whose own bytes were hit.
    pub fn may_lose(self) -> u64 {
        u64::from(matches!(self, Self::SpoolBitFlipped | Self::SpoolBitFlippedWhileKilled))
    }

    /// Whether the service ends on the way, and cuts off those who wait for an answer or begin to ask.
    pub fn may_leave_doubt(self) -> bool {
        match self {
            Self::PostgresStopped
            | Self::PostgresKilled
            | Self::PostgresFrozen
            | Self::PostgresRestarted
            | Self::TableLocked
            | Self::SpoolBitFlipped => false,
            Self::ServiceKilledRecording
            | Self::ServiceKilledSpooling
            | Self::ServiceKilledDraining
            | Self::BothKilled
            | Self::ServiceStopped
            | Self::DiskFull
            | Self::SpoolDeleted
            | Self::SpoolBitFlippedWhileKilled
            | Self::ClockSetBack => true,
        }
    }
}

/// In either order, Postgres dead or frozen; the service comes back first.
async fn both_killed(world: &mut World, load: &Load, chance: &mut Chance) -> Struck {
    let (is_frozen, service_first) = (chance.one_in(2), chance.one_in(2));
    if service_first {
        world.kill_service().await;
    }
    if is_frozen {
        world.server.signal_all("STOP");
    } else {
        kill_postgres(world).await;
    }
    if !service_first {
        if chance.one_in(2) {
            load.acknowledges(chance.between(1, 200)).await;
        }
        world.kill_service().await;
    }
    world.start_service(chance.one_of(BATCHES)).await;
    load.acknowledges(chance.between(50, 400)).await;
    if is_frozen {
        world.server.signal_all("CONT");
        Struck::Variant("Postgres frozen")
    } else {
        world.server.start_again().await;
        Struck::Variant("Postgres killed")
    }
}

async fn disk_full(world: &mut World, load: &Load, chance: &mut Chance) -> Struck {
    let Some(directory) = world.use_small_disk(chance.one_of(BATCHES)).await else { return Struck::Skipped };
    let mut filler = None;
    let is_full_from_the_start = chance.one_in(2);
    if is_full_from_the_start {
        filler = Some(fill(&directory));
    }
    stop_postgres(world, "QUIT").await;
    if !is_full_from_the_start {
        load.acknowledges(chance.between(50, 400)).await;
        filler = Some(fill(&directory));
    }
    load.is_refused(chance.between(50, 200)).await;
    let free = || fs::remove_file(filler.unwrap()).unwrap();
    if chance.one_in(2) {
        free();
        load.acknowledges(chance.between(50, 400)).await;
        world.server.start_again().await;
        Struck::Variant("the disk mended first")
    } else {
        world.server.start_again().await;
        // which of the two depends on whether the spool has to be emptied first
        load.is_answered(chance.between(50, 400)).await;
        free();
        Struck::Variant("Postgres mended first")
    }
}

async fn stop_postgres(world: &mut World, signal: &str) {
    world.server.signal(signal);
    world.server.gone().await;
}

async fn kill_postgres(world: &mut World) {
    world.server.signal_all("KILL");
    world.server.gone().await;
}

/// Waits until so many rows were begun; meanwhile only the spool is drained, for all else queues behind it.
async fn drained_some(pool: &PgPool, rows: u64) {
    let begun = async || {
        let query = "select last_value from ticket_feed_sequence";
        sqlx::query_scalar::<_, i64>(query).fetch_one(pool).await.unwrap()
    };
    let (before, deadline) = (begun().await, Instant::now() + Duration::from_secs(30));
    while begun().await < before + rows as i64 {
        assert!(Instant::now() < deadline, "the spool is not drained");
        sleep(Duration::from_micros(200)).await;
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::PostgresStopped => "Postgres stopped at once",
            Self::PostgresKilled => "Postgres killed",
            Self::PostgresFrozen => "Postgres frozen",
            Self::PostgresRestarted => "Postgres restarted",
            Self::TableLocked => "the table locked",
            Self::ServiceKilledRecording => "the service killed while recording",
            Self::ServiceKilledSpooling => "the service killed while spooling",
            Self::ServiceKilledDraining => "the service killed while draining",
            Self::BothKilled => "both killed, the service back first",
            Self::ServiceStopped => "the service stopped in order",
            Self::DiskFull => "the disk of the spool full",
            Self::SpoolDeleted => "the spool deleted under the service",
            Self::SpoolBitFlipped => "a bit of the spool flipped",
            Self::SpoolBitFlippedWhileKilled => "a bit flipped while the service is killed",
            Self::ClockSetBack => "the clock set back",
        })
    }
}

impl fmt::Display for Struck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsPlanned => Ok(()),
            Self::Spooled(records) => write!(formatter, "({records} in the spool at the start)"),
            Self::Variant(words) => write!(formatter, "({words})"),
            Self::Skipped => formatter.write_str("(skipped)"),
        }
    }
}
