//! Runs an OpenID Connect provider (npm's `oidc-provider`) as a child process, and simulates a
//! browser that signs in at this provider.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::{Answer, Client, root, target};

const REDIRECTS_MAX: usize = 20;

/// A running provider. Dropping this value kills the provider.
pub struct IdentityProvider {
    child: Child,
    issuer: String,
    /// The pipe must stay open, because the provider ends if it cannot print.
    _output: BufReader<ChildStdout>,
}

impl IdentityProvider {
    /// The secret of the provider's only client, `jackfield`.
    pub const CLIENT_SECRET: &str = "the-secret+of/the client";

    /// Starts a provider that redirects browsers to `redirect_uri`. The client `jackfield` must
    /// authenticate by the method `auth_method`.
    #[must_use]
    pub fn start(redirect_uri: &str, auth_method: &str) -> Self {
        let folder = target().join("identity-provider");
        let script = folder.join("provider.mjs");
        std::fs::copy(root().join("tests/identity-provider/provider.mjs"), &script)
            .expect("`cargo xtask test` installs the provider");
        let mut child = Command::new("node")
            .arg(script)
            .args([redirect_uri, auth_method])
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

    /// Returns the URL of the provider, which is also the issuer in its ID tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Opens an address of the provider like a browser, and signs in as this person. Returns the
    /// address of Jackfield to which the provider redirects the browser.
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
            store_cookies(&mut cookies, &answer);
            let target = answer.header("location");
            let target = target.unwrap_or_else(|| panic!("no redirect from {address}: {answer:?}"));
            let is_path = target.starts_with('/');
            address = if is_path { self.issuer.clone() + target } else { target.to_owned() };
        }
        panic!("the provider redirected {REDIRECTS_MAX} times, the last time to {address}");
    }
}

fn store_cookies(cookies: &mut BTreeMap<String, String>, answer: &Answer) {
    let set_cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    for (name, value) in
        set_cookies.filter_map(|(_, value)| value.split(';').next()?.split_once('='))
    {
        cookies.insert(name.to_owned(), value.to_owned());
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
