use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring::default_provider, pki_types::PrivateKeyDer},
};

use super::{deliver, forwarding, until, until_delivered};
use crate::support::{Database, Reaction, Receiver};

/// A receiver with a certificate for a name, and the certificate.
async fn receiver(name: &str) -> (Receiver, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let receiver = Receiver::start_over(Some(TlsAcceptor::from(Arc::new(config))), |_| Reaction::status(200)).await;
    (receiver, certificate.pem())
}

#[tokio::test]
async fn a_receiver_is_sent_nothing_unless_its_certificate_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("trusted.pem");
    for (name, is_trusted, is_right) in
        [("localhost", true, true), ("localhost", false, false), ("back-office.example", true, false)]
    {
        let (receiver, certificate) = receiver(name).await;
        let (_, stranger) = self::receiver("localhost").await;
        std::fs::write(&trusted, if is_trusted { certificate } else { stranger }).unwrap();
        let database = Database::new().await;
        let trust = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
        let (service, api) = forwarding(&database.url(), &receiver, &trust).await;
        deliver(&service, "one", "first").await;
        if is_right {
            until_delivered(&api, &database).await;
            assert_eq!(receiver.accepted().len(), 1);
        } else {
            let forward = until(&api, |forward| forward["blocked_bookings"] == 1).await;
            assert_eq!(forward["blocked"][0]["last_outcome"], "unreachable");
            assert!(receiver.received().is_empty());
        }
    }
}

#[tokio::test]
async fn without_certificates_of_authorities_the_service_does_not_start_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let (receiver, _) = receiver("localhost").await;
    let database = Database::new().await;
    let mut settings = crate::support::settings(&database.url());
    settings.extend(receiver.settings());
    settings.push(("SSL_CERT_FILE".to_owned(), empty.display().to_string()));
    let command = crate::support::Command::new(&["serve"]).envs(&settings);
    let (code, _, errors) = tokio::task::spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("forward.back: there are no certificates of authorities"), "{errors}");
}
