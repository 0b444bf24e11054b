//! A Postgres that takes nobody without TLS, and the certificates for it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::support::Server;

const SIGNING: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

/// The role `service` needs a certificate, the role `guest` a password; both may create tables and write to them.
const ROLES: &str = "create role service login; create role guest login password 'hunter2/first'; \
                     grant create on schema public to service; \
                     grant usage on all sequences in schema public to guest; \
                     grant select, insert, update, delete on all tables in schema public to guest";

const WHO_MAY_COME: &str = "local all all trust\n\
                            hostssl all service 127.0.0.1/32 cert\n\
                            hostssl all guest 127.0.0.1/32 scram-sha-256\n";

/// `directory` holds what a client needs: `ca.pem` is the authority and `stranger.pem` another; `service`, `another` and
/// `forged` are a certificate (`.pem`) and its key (`.key`), the last one made by the stranger.
pub struct Secured {
    pub server: Server,
    pub directory: TempDir,
    port: u16,
}

impl Secured {
    pub async fn start(migrated: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server::start_on(Some(port), migrated).await;
        let directory = TempDir::new().unwrap();
        let [authority, stranger] = ["ca", "stranger"].map(|name| authority(name, directory.path()));
        for (name, issuer) in [("service", &authority), ("another", &authority)] {
            let (certificate, key) = issue(issuer, name, &[]);
            fs::write(directory.path().join(format!("{name}.pem")), certificate).unwrap();
            fs::write(directory.path().join(format!("{name}.key")), key).unwrap();
        }
        let (certificate, key) = issue(&stranger, "service", &[]);
        fs::write(directory.path().join("forged.pem"), certificate).unwrap();
        fs::write(directory.path().join("forged.key"), key).unwrap();
        let secured = Self { server, directory, port };
        secured.demand_tls(&authority).await;
        secured
    }

    async fn demand_tls(&self, authority: &CertifiedIssuer<'_, KeyPair>) {
        let pool = self.server.pool();
        let data: String = sqlx::query_scalar("show data_directory").fetch_one(&pool).await.unwrap();
        let (certificate, key) = issue(authority, "database", &["localhost"]);
        let authority = authority.pem();
        for (name, text) in [
            ("server.crt", certificate.as_str()),
            ("server.key", key.as_str()),
            ("root.crt", authority.as_str()),
            ("pg_hba.conf", WHO_MAY_COME),
        ] {
            write_as_owner(Path::new(&data), name, text);
        }
        pool.execute(ROLES).await.unwrap();
        for setting in ["ssl_ca_file = 'root.crt'", "ssl = on"] {
            pool.execute(AssertSqlSafe(format!("alter system set {setting}"))).await.unwrap();
        }
        pool.execute("select pg_reload_conf()").await.unwrap();
        // the server takes it over when it comes to it
        loop {
            let mut connection = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
            let ssl: String = sqlx::query_scalar("show ssl").fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            if ssl == "on" {
                break;
            }
        }
    }

    /// For the role `service` and with full verification, by the authority and with the certificate of these names.
    pub fn url(&self, host: &str, files: &[&str]) -> String {
        let file = |name: String| self.directory.path().join(name).display().to_string();
        let mut url = format!("postgres://service:hunter2@{host}:{}/deliveries?sslmode=verify-full", self.port);
        if let Some(authority) = files.first() {
            url += &format!("&sslrootcert={}", file(format!("{authority}.pem")));
        }
        if let Some(name) = files.get(1) {
            url += &format!("&sslcert={}&sslkey={}", file(format!("{name}.pem")), file(format!("{name}.key")));
        }
        url
    }
}

fn authority(name: &str, directory: &Path) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = SIGNING.into();
    params.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(directory.join(format!("{name}.pem")), authority.pem()).unwrap();
    authority
}

/// A certificate and its key.
fn issue(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, hosts: &[&str]) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

/// Postgres takes no key that others may read, and need not be the user who runs the test.
fn write_as_owner(directory: &Path, name: &str, text: &str) {
    let (file, owner) = (directory.join(name), fs::metadata(directory).unwrap());
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
    std::io::Write::write_all(&mut open, text.as_bytes()).unwrap();
    chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
}
