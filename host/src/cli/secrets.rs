//! `jackfield secrets`: rotates the key that encrypts the secrets of all connections.
//!
//! The rotation is refused while a server uses the data folder. This module never prints a key or a
//! secret.

use clap::Subcommand;
use serde::Serialize;

use crate::app::rotate_key;
use crate::secret::{KEY_VARIABLE, NEW_KEY_VARIABLE};

use super::output::Output;
use super::serve;
use super::server::ServerArgs;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Encrypt all secrets with a new key; stop the server first
    #[command(after_help = "\
A new random key replaces the one in DATA/secret-key. If the server reads its key from
JACKFIELD_SECRET_KEY, set the new key (32 bytes as hex or base64) in JACKFIELD_NEW_SECRET_KEY. Jackfield
does not store that key: store it first, and start the server with it afterwards.

Examples:
  jackfield secrets rotate --data /var/lib/jackfield
  (umask 077; openssl rand -hex 32 > new-key)
  JACKFIELD_NEW_SECRET_KEY=$(cat new-key) jackfield secrets rotate")]
    Rotate,
}

/// The result of a key rotation, for `--json`.
#[derive(Serialize)]
struct Report {
    /// The number of secrets that were encrypted again.
    secrets: usize,
    /// The file that contains the new key; null if the new key came from the environment.
    key_file: Option<String>,
}

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let Self::Rotate = self;
        let rotated = serve::start_runtime()?.block_on(rotate_key(&server.data_folder()))?;
        let key_file = rotated.key_file.map(|file| file.display().to_string());
        let key = match &key_file {
            Some(file) => format!("The new key is in {file}."),
            None => format!(
                "The new key is the value of {NEW_KEY_VARIABLE}: start the server with it in \
                 {KEY_VARIABLE}."
            ),
        };
        let report = Report { secrets: rotated.resealed_secrets, key_file };
        let sentence = format!(
            "Secrets encrypted with the new key: {}. {key} Keep the old key for older backups.",
            report.secrets
        );
        output.print_result(&sentence, &report);
        Ok(())
    }
}
