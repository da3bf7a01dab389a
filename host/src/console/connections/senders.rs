//! The part of the form about the senders of webhooks: the credential that they must send in
//! addition to the URL, and the addresses from which they may send.

use crate::api::{Connection, EditWebhookAuth, EnumString, WebhookAuth};
use crate::console::form::Form;
use crate::console::parts::{Control, Field};
use crate::domain::{StringEnum as _, WebhookScheme};
use crate::manifest::SettingError;

use super::form::Texts;

pub(super) const SECRET: &str = "webhook_secret";
pub(super) const SECRET_PREVIOUS: &str = "webhook_secret_previous";
/// The box that removes the second secret.
pub(super) const REMOVE_PREVIOUS: &str = "remove.webhook_secret_previous";

pub(super) fn fields(texts: Texts<'_>) -> Vec<Field> {
    let clients = text(texts, "allowed_clients", |it| {
        it.allowed_clients.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    });
    let clients = Control::Lines { value: clients, rows: 3 };
    let clients = field("allowed_clients", "Only from these addresses", clients).help(
        "An address or network such as 203.0.113.0/24 in each line. Empty: from every address.",
    );
    credential(texts).into_iter().chain(secrets(texts)).chain([clients]).collect()
}

fn field(member: &str, label: &str, control: Control) -> Field {
    Field::new(format!("webhook_auth.{member}"), label, control)
}

fn text(texts: Texts<'_>, member: &str, stored: fn(&WebhookAuth) -> String) -> String {
    texts.text(&format!("webhook_auth.{member}"), |it| stored(&it.webhook_auth))
}

fn credential(texts: Texts<'_>) -> [Field; 4] {
    let line = |member, label, stored: fn(&WebhookAuth) -> String| {
        let value = text(texts, member, stored);
        field(member, label, Control::Input { kind: "text", value })
    };
    let scheme = text(texts, "scheme", |it| it.scheme.map(|it| it.to_string()).unwrap_or_default());
    [
        field(
            "scheme",
            "What senders must send in addition to the URL",
            Control::Select { value: scheme, options: schemes() },
        ),
        line("user", "User", |it| it.user.clone().unwrap_or_default())
            .help("Only for a user and a password."),
        line("header", "Header of the API key", |it| it.header.clone().unwrap_or_default())
            .help("Only for an API key, such as X-API-Key."),
        line("tolerance_s", "Difference of clocks, seconds", |it| {
            it.tolerance_s.map(|it| it.to_string()).unwrap_or_default()
        })
        .help(
            "Only for a signature: how far its time may be from the server's clock. At first, 300.",
        ),
    ]
}

fn secrets(texts: Texts<'_>) -> Vec<Field> {
    let is_set = |of: fn(&Connection) -> bool| texts.stored.is_some_and(of);
    let has_previous = is_set(|it| it.has_webhook_secret_previous);
    let secret = |name, label, is_set| Field::new(name, label, Control::Secret { is_set });
    let mut fields = vec![
        secret(SECRET, "Secret of senders", is_set(|it| it.has_webhook_secret)).help(
            "At least 8 characters; for a signature, whsec_ and 24 to 64 random bytes in Base64; or \
             file:/path or env:NAME of the server. A new key for signatures keeps the old one \
             accepted.",
        ),
        secret(SECRET_PREVIOUS, "Another secret that is accepted too", has_previous)
            .help("While senders change from one to the other."),
    ];
    if has_previous {
        let control = Control::Check { checked: false };
        fields.push(Field::new(REMOVE_PREVIOUS, "Accept only the newest secret", control));
    }
    fields
}

fn schemes() -> Vec<(String, String)> {
    let words = [
        (WebhookScheme::Bearer, "a bearer token"),
        (WebhookScheme::Basic, "a user and a password"),
        (WebhookScheme::ApiKey, "an API key in a header"),
        (WebhookScheme::Signature, "a signature (Standard Webhooks)"),
    ];
    let words = words.map(|(it, text)| (it.as_str().to_owned(), text.to_owned()));
    let none = (String::new(), "nothing".to_owned());
    std::iter::once(none).chain(words).collect()
}

/// What a form asks of senders; absent if the form does not have these fields.
///
/// # Errors
/// The tolerance is not a number.
pub(super) fn webhook_auth(form: &Form) -> Result<Option<EditWebhookAuth>, SettingError> {
    let Some(scheme) = form.find("webhook_auth.scheme") else { return Ok(None) };
    let scheme = WebhookScheme::parse(scheme);
    let of = |wanted, member: &str| {
        (scheme == Some(wanted))
            .then(|| form.get(&format!("webhook_auth.{member}")).trim().to_owned())
    };
    let tolerance = of(WebhookScheme::Signature, "tolerance_s").filter(|text| !text.is_empty());
    let tolerance_s = tolerance.map(|text| text.parse()).transpose().map_err(|_| SettingError {
        name: "webhook_auth.tolerance_s".to_owned(),
        why: "give a number of seconds, such as 300".to_owned(),
    })?;
    let clients = form.get("webhook_auth.allowed_clients").split_whitespace().map(str::to_owned);
    Ok(Some(EditWebhookAuth {
        scheme: Some(scheme.map(EnumString)),
        user: of(WebhookScheme::Basic, "user"),
        header: of(WebhookScheme::ApiKey, "header"),
        tolerance_s,
        allowed_clients: Some(clients.collect()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<EditWebhookAuth>, String> {
        webhook_auth(&Form::parse(body.as_bytes())).map_err(|error| error.name)
    }

    #[test]
    fn only_what_belongs_to_the_scheme_is_sent() {
        let all = "webhook_auth.user=tm&webhook_auth.header=X-Key&webhook_auth.tolerance_s=60&\
                   webhook_auth.allowed_clients=10.0.0.1%0D%0A+10.1.0.0/16";
        let of =
            |scheme: &str| read(&format!("webhook_auth.scheme={scheme}&{all}")).unwrap().unwrap();
        let basic = of("basic");
        assert_eq!(
            (basic.user.as_deref(), basic.header, basic.tolerance_s),
            (Some("tm"), None, None)
        );
        assert_eq!(basic.allowed_clients.unwrap(), ["10.0.0.1", "10.1.0.0/16"]);
        assert_eq!(of("signature").tolerance_s, Some(60));
        assert_eq!(of("").scheme, Some(None), "senders need not show anything");
        assert_eq!(read("name=qa"), Ok(None));
        let odd = "webhook_auth.scheme=signature&webhook_auth.tolerance_s=soon";
        assert_eq!(read(odd), Err("webhook_auth.tolerance_s".to_owned()));
    }
}
