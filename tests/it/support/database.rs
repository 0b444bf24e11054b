//! A fresh database for each test, copied from a migrated template.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use ticket_webhooks::{
    embedded_postgres::{EmbeddedPostgres, Options},
    store,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

const TEMPLATE: &str = "template_migrated";

/// The directory of the shared server, removed with the process; tests may put more files into it.
pub fn process_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::temp_dir().join(format!("ticket-webhooks-tests-{}", Uuid::now_v7().simple())))
}

/// The server that all tests share. It ends with the process, and its directory is removed then.
pub fn server() -> &'static EmbeddedPostgres {
    static SERVER: OnceLock<EmbeddedPostgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        let directory = process_directory();
        let mut options = Options::ephemeral(directory);
        options.settings.push(("max_connections".to_owned(), "400".to_owned()));
        EmbeddedPostgres::start(&options).expect("the tests need a Postgres")
    })
}

async fn template() {
    static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();
    TEMPLATE_MADE
        .get_or_init(async || {
            let server = tokio::task::spawn_blocking(server).await.unwrap();
            admin(&format!("create database {TEMPLATE}")).await;
            let pool = PgPool::connect_with(server.connect_options(TEMPLATE)).await.unwrap();
            store::migrate(&pool).await.unwrap();
            pool.close().await;
        })
        .await;
}

async fn admin(statement: &str) {
    let mut connection = PgConnection::connect_with(&server().connect_options("postgres")).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

/// A database that is dropped with this value.
pub struct Database {
    name: String,
    pub pool: PgPool,
}

impl Database {
    /// A database with the service's tables.
    pub async fn new() -> Self {
        template().await;
        Self::create(&format!("template {TEMPLATE} strategy file_copy")).await
    }

    /// A database without tables.
    pub async fn empty() -> Self {
        template().await;
        Self::create("").await
    }

    /// A database without tables, created with these options.
    pub async fn with(options: &str) -> Self {
        Self::create(options).await
    }

    async fn create(how: &str) -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        admin(&format!("create database {name} {how}")).await;
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(server().connect_options(&name));
        Self { name, pool }
    }

    pub fn url(&self) -> String {
        server().url(&self.name)
    }

    pub fn connect_options(&self) -> PgConnectOptions {
        server().connect_options(&self.name)
    }

    pub async fn execute(&self, statement: &str) {
        self.pool.execute(AssertSqlSafe(statement)).await.unwrap();
    }

    /// The rows of a query as JSON objects.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        let query = format!("select to_jsonb(q) from ({query}) as q");
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&self.pool).await.unwrap()
    }

    /// All events in the order of recording.
    pub async fn events(&self) -> Vec<Value> {
        self.rows("select * from ticket_events order by sequence").await
    }

    /// All unprocessed deliveries in the order of arrival, with the body as `text`.
    pub async fn unprocessed(&self) -> Vec<Value> {
        self.rows("select *, encode(body, 'escape') as text from unprocessed_deliveries order by id").await
    }

    /// All rows of all tables as text; `bytea` both escaped and in hex.
    pub async fn dump(&self) -> String {
        let mut dump = String::new();
        for query in [
            "select *, payload::text as raw from ticket_events",
            "select *, encode(body, 'escape') as raw from unprocessed_deliveries",
            "select * from bookings",
        ] {
            for row in self.rows(query).await {
                dump += &format!("{row}\n");
            }
        }
        dump
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, pool) = (self.name.clone(), self.pool.clone());
        // another runtime: the test's may have ended already
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(admin(&format!("drop database if exists {name} with (force)")));
            drop(pool);
        });
        let _ = dropped.join();
    }
}
