//! `jackfield secrets`: the key under which the secrets of all connections lie.
//!
//! Works on a data folder that no server uses; never prints a key or a secret.

use clap::Subcommand;
use serde_json::json;

use crate::app::rotate_key;

use super::client::Server;
use super::output::Output;
use super::serve;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Seals every secret with a new key; stop the server first
    #[command(after_help = "\
A fresh key takes the place of DATA/secret-key. Where the key is to come from JACKFIELD_SECRET_KEY, give
the new one (32 bytes as hex or base64) in JACKFIELD_NEW_SECRET_KEY: it is kept nowhere else, so keep it
first, and start the server with it afterwards.

Examples:
  jackfield secrets rotate --data /var/lib/jackfield
  (umask 077; openssl rand -hex 32 > new-key)
  JACKFIELD_NEW_SECRET_KEY=$(cat new-key) jackfield secrets rotate")]
    Rotate,
}

impl Command {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let Self::Rotate = self;
        let rotated = serve::runtime()?.block_on(rotate_key(&server.data_folder()))?;
        let file = rotated.file.map(|file| file.display().to_string());
        let given =
            "JACKFIELD_NEW_SECRET_KEY's value: start the server with it as JACKFIELD_SECRET_KEY";
        let key = file.as_deref().unwrap_or(given);
        let sentence = format!(
            "{} secrets are sealed anew; the key is now {key}. Backups from before need the old key.",
            rotated.secrets
        );
        output.done(&sentence, &json!({"secrets": rotated.secrets, "key_file": file}));
        Ok(())
    }
}
