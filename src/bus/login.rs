//! How a node logs in at NATS: by what `[cluster]` names, whose files are read at each start.

use std::fs;
use std::path::Path;

use async_nats::ConnectOptions;

use super::error::BusError;
use crate::config::Cluster;

/// Options with the login and TLS of a cluster.
pub(super) fn login(cluster: &Cluster) -> Result<ConnectOptions, BusError> {
    let mut options = ConnectOptions::new();
    if let Some(file) = &cluster.credentials {
        let text = read("credentials", file)?;
        let fault = |error: std::io::Error| file_fault("credentials", file, error.to_string());
        options = options.credentials(&text).map_err(fault)?;
    }
    if let (Some(user), Some(file)) = (&cluster.user, &cluster.password_file) {
        options = options.user_and_password(user.clone(), read_line("password_file", file)?);
    }
    if let Some(file) = &cluster.token_file {
        options = options.token(read_line("token_file", file)?);
    }
    if let Some(file) = &cluster.nkey_file {
        options = options.nkey(read_line("nkey_file", file)?);
    }
    if let Some(file) = &cluster.ca {
        read("ca", file)?;
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&cluster.certificate, &cluster.key) {
        read("certificate", certificate)?;
        read("key", key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

fn read(key: &'static str, file: &Path) -> Result<String, BusError> {
    fs::read_to_string(file).map_err(|error| file_fault(key, file, error.to_string()))
}

/// The secret of a file that holds nothing else.
fn read_line(key: &'static str, file: &Path) -> Result<String, BusError> {
    let text = read(key, file)?;
    match text.trim() {
        "" => Err(file_fault(key, file, "it is empty".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

fn file_fault(key: &'static str, file: &Path, reason: String) -> BusError {
    BusError::File { key, file: file.to_owned(), reason }
}
