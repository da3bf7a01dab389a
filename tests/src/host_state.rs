//! Clients of a running server, its metrics, and waits for its readiness and its connections.

use crate::{Answer, Client, MetricsPage, TestHost, wait_for};

const READINESS_TIMEOUT_S: u64 = 60;
const CONNECTION_TIMEOUT_S: u64 = 30;

impl TestHost {
    /// Returns a client that sends this token with each request.
    #[must_use]
    pub fn client_as(&self, token: &str) -> Client {
        client_with_token(self.url(), token)
    }

    /// Returns a client of the admin API with this token.
    #[must_use]
    pub fn api_as(&self, token: &str) -> Client {
        client_with_token(&format!("{}/api/v1", self.url()), token)
    }

    /// Returns the metrics that the account with this token may see.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self, token: &str) -> MetricsPage {
        MetricsPage::read(&self.client_as(token).get("/metrics"))
    }

    /// Waits at most a minute until `/readyz` has this status, and returns its answer.
    #[track_caller]
    pub fn await_readiness(&self, status: u16) -> Answer {
        let client = self.anonymous();
        wait_for(&format!("/readyz to be {status}"), READINESS_TIMEOUT_S, || {
            let answer = client.attempt("GET", "/readyz", &[], b"");
            answer.filter(|answer| answer.status == status)
        })
    }

    /// Waits at most 30 seconds until the server has loaded the connection with this name.
    #[track_caller]
    pub fn await_connection(&self, name: &str) {
        let (admin, path) = (self.admin(), format!("/connections/{name}"));
        wait_for(&format!("the connection {name}"), CONNECTION_TIMEOUT_S, || {
            (admin.get(&path).status == 200).then_some(())
        });
    }
}

fn client_with_token(url: &str, token: &str) -> Client {
    Client::new(url, &[("authorization", &format!("Bearer {token}"))])
}
