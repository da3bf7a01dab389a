//! Starts standbys of a PostgreSQL server, and changes the settings of a running server.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use super::Postgres;
use crate::wait_for;

impl Postgres {
    /// Starts an asynchronous standby of this server, and waits until the standby receives the
    /// changes of this server.
    #[must_use]
    #[track_caller]
    pub fn standby(&self) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let standby = Self { folder, address: Ipv4Addr::LOCALHOST, port };
        let mut command = standby.script_command("standby");
        command.arg(self.folder.path()).arg(self.port.to_string());
        let status = command.status().expect("the script runs");
        assert!(status.success(), "postgres.sh standby ended with {status}");
        self.await_row("the standby", "SELECT state FROM pg_stat_replication", "streaming");
        standby
    }

    /// Promotes this standby, and waits until it is a primary server.
    #[track_caller]
    pub fn promote(&self) {
        self.run_script("promote");
    }

    /// Kills this server, and starts it again at the port of `other`, which must have ended.
    #[track_caller]
    pub fn move_to_port_of(&mut self, other: &Self) {
        self.kill();
        self.port = other.port;
        self.start_again();
    }

    /// Changes a setting of the running server, and waits until new sessions use it.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        self.query(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.query("SELECT pg_reload_conf()");
        self.await_row("the setting", &format!("SHOW {name}"), value);
    }

    /// Replaces pg_hba.conf, and waits until the server has read it. Database connections by Unix
    /// sockets stay allowed, because [`Self::query`] uses them.
    #[track_caller]
    pub fn set_hba(&self, lines: &str) {
        let file = self.data_folder().join("pg_hba.conf");
        std::fs::write(file, format!("local all all trust\n{lines}\n"))
            .expect("the file is written");
        let errors = "SELECT count(error) FROM pg_hba_file_rules";
        assert_eq!(self.query(errors), ["0"], "a line of pg_hba.conf is not valid");
        let before = self.query("SELECT pg_conf_load_time()");
        self.query("SELECT pg_reload_conf()");
        wait_for("the server to read pg_hba.conf", 10, || {
            (self.query("SELECT pg_conf_load_time()") != before).then_some(())
        });
    }

    /// Returns the server's data folder, which contains `pg_hba.conf`.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Waits at most 30 seconds until a query returns only this row. The panic message contains
    /// `what`.
    #[track_caller]
    pub fn await_row(&self, what: &str, sql: &str, row: &str) {
        wait_for(what, 30, || (self.query(sql) == [row]).then_some(()));
    }
}
