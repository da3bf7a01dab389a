//! An OpenID Connect provider that runs here (npm's `oidc-provider`), and the browser that signs in
//! there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::{Answer, Client, root, target};

/// Maximum number of redirects that a browser follows.
const REDIRECTS_MAX: usize = 20;

/// A running provider. It is killed when dropped.
pub struct IdentityProvider {
    child: Child,
    issuer: String,
    /// Held open: the provider ends when it cannot print its notices.
    _output: BufReader<ChildStdout>,
}

impl IdentityProvider {
    /// The secret of its only client, `jackfield`.
    pub const CLIENT_SECRET: &str = "the-secret+of/the client";

    /// Starts a provider that sends browsers back to `redirect_uri`; `method` is how its client
    /// must authenticate.
    ///
    /// # Panics
    /// If it does not start: `cargo xtask test` installs it.
    #[must_use]
    pub fn start(redirect_uri: &str, method: &str) -> Self {
        let folder = target().join("identity-provider");
        let script = folder.join("provider.mjs");
        std::fs::copy(root().join("tests/identity-provider/provider.mjs"), &script)
            .expect("`cargo xtask test` installs the provider");
        let mut child = Command::new("node")
            .arg(script)
            .args([redirect_uri, method])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let mut issuer = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut issuer).expect("the provider prints its issuer");
        assert!(issuer.starts_with("http://"), "the provider did not start: {issuer:?}");
        Self { child, issuer: issuer.trim().to_owned(), _output: output }
    }

    /// Returns the address of the provider.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Opens an address of the provider in a browser, and signs in as this person. Returns the
    /// address to which the provider sends the browser back.
    ///
    /// # Panics
    /// If the provider does not send it back.
    #[must_use]
    pub fn sign_in(&self, address: &str, person: &str) -> String {
        let browser = Client::new("", &[("x-person", person)]);
        let (mut cookies, mut address) = (BTreeMap::new(), address.to_owned());
        for _ in 0..REDIRECTS_MAX {
            if !address.starts_with(&self.issuer) {
                return address;
            }
            let pairs: Vec<_> =
                cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = browser.send("GET", &address, &[("cookie", &pairs.join("; "))], b"");
            keep_cookies(&mut cookies, &answer);
            let next = answer.header("location");
            let next = next.unwrap_or_else(|| panic!("no redirect from {address}: {answer:?}"));
            address =
                if next.starts_with('/') { self.issuer.clone() + next } else { next.to_owned() };
        }
        panic!("the provider redirects without an end, now to {address}");
    }
}

fn keep_cookies(cookies: &mut BTreeMap<String, String>, answer: &Answer) {
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    for (name, value) in set.filter_map(|(_, value)| value.split(';').next()?.split_once('=')) {
        cookies.insert(name.to_owned(), value.to_owned());
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
