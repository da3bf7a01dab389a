//! The part of a connection's form about the senders of webhooks: their credential, and the
//! addresses from which they may send.

use crate::api::{Connection, EditWebhookAuth, EnumString, WebhookAuth};
use crate::console::form::Form;
use crate::console::parts::{Control, Field};
use crate::domain::{StringEnum as _, WebhookScheme};
use crate::manifest::SettingError;

use super::form::TextSource;

pub(super) const SECRET_FIELD: &str = "webhook_secret";
/// The field for the previous secret, which is accepted too.
pub(super) const PREVIOUS_SECRET_FIELD: &str = "webhook_secret_previous";
/// The check box that removes the previous secret.
pub(super) const REMOVE_PREVIOUS_SECRET_FIELD: &str = "remove.webhook_secret_previous";

pub(super) fn all_sender_fields(texts: TextSource<'_>) -> Vec<Field> {
    let addresses = member_text(texts, "allowed_clients", |auth| {
        auth.allowed_clients.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    });
    let control = Control::Lines { value: addresses, rows: 3 };
    let clients = member_field("allowed_clients", "Only from these addresses", control).help(
        "Enter an address, or a network such as 203.0.113.0/24, in each line. Leave it empty to allow \
         every address.",
    );
    credential_fields(texts).into_iter().chain(secret_fields(texts)).chain([clients]).collect()
}

fn member_field(member: &str, label: &str, control: Control) -> Field {
    Field::new(format!("webhook_auth.{member}"), label, control)
}

fn member_text(texts: TextSource<'_>, member: &str, stored: fn(&WebhookAuth) -> String) -> String {
    texts.text(&format!("webhook_auth.{member}"), |it| stored(&it.webhook_auth))
}

fn credential_fields(texts: TextSource<'_>) -> [Field; 4] {
    let line = |member, label, stored: fn(&WebhookAuth) -> String| {
        let value = member_text(texts, member, stored);
        member_field(member, label, Control::Input { kind: "text", value })
    };
    let scheme = member_text(texts, "scheme", |auth| {
        auth.scheme.map(|scheme| scheme.to_string()).unwrap_or_default()
    });
    [
        member_field(
            "scheme",
            "What senders must send in addition to the URL",
            Control::Select { value: scheme, options: scheme_options() },
        ),
        line("user", "User", |it| it.user.clone().unwrap_or_default())
            .help("Only if senders must send a user and a password."),
        line("header", "Header of the API key", |it| it.header.clone().unwrap_or_default())
            .help("Only if senders must send an API key: the name of the header, for example X-API-Key."),
        line("tolerance_s", "Maximum difference of clocks, seconds", |it| {
            it.tolerance_s.map(|it| it.to_string()).unwrap_or_default()
        })
        .help(
            "Only if senders must sign: how much the time in the signature may differ from the server's \
             clock. The default is 300.",
        ),
    ]
}

fn secret_fields(texts: TextSource<'_>) -> Vec<Field> {
    let is_set = |has: fn(&Connection) -> bool| texts.stored_connection.is_some_and(has);
    let has_previous = is_set(|it| it.has_webhook_secret_previous);
    let secret = |name, label, is_set| Field::new(name, label, Control::Secret { is_set });
    let mut fields = vec![
        secret(SECRET_FIELD, "Secret of senders", is_set(|it| it.has_webhook_secret)).help(
            "At least 8 characters. For a signature: whsec_ and 24 to 64 random bytes in Base64. You can \
             also enter file:/path or env:NAME of the server. If you replace a key for signatures, \
             the old key is still accepted.",
        ),
        secret(PREVIOUS_SECRET_FIELD, "Another secret that is accepted too", has_previous)
            .help("Only needed while senders change from an old secret to a new one."),
    ];
    if has_previous {
        let control = Control::Check { checked: false };
        fields.push(Field::new(
            REMOVE_PREVIOUS_SECRET_FIELD,
            "Accept only the newest secret",
            control,
        ));
    }
    fields
}

fn scheme_options() -> Vec<(String, String)> {
    let schemes = [
        (WebhookScheme::Bearer, "a bearer token"),
        (WebhookScheme::Basic, "a user and a password"),
        (WebhookScheme::ApiKey, "an API key in a header"),
        (WebhookScheme::Signature, "a signature (Standard Webhooks)"),
    ];
    let options = schemes.map(|(scheme, text)| (scheme.as_str().to_owned(), text.to_owned()));
    let no_scheme = (String::new(), "nothing".to_owned());
    std::iter::once(no_scheme).chain(options).collect()
}

/// Returns `None` if the form does not have the fields for senders.
///
/// # Errors
/// The maximum difference of clocks is not a number.
pub(super) fn read_webhook_auth(form: &Form) -> Result<Option<EditWebhookAuth>, SettingError> {
    let Some(scheme) = form.find("webhook_auth.scheme") else { return Ok(None) };
    let scheme = WebhookScheme::parse(scheme);
    // A member that belongs to one scheme is read only if this scheme is chosen.
    let member_of = |owner, member: &str| {
        (scheme == Some(owner))
            .then(|| form.get(&format!("webhook_auth.{member}")).trim().to_owned())
    };
    let tolerance =
        member_of(WebhookScheme::Signature, "tolerance_s").filter(|text| !text.is_empty());
    let tolerance_s = tolerance.map(|text| text.parse()).transpose().map_err(|_| SettingError {
        name: "webhook_auth.tolerance_s".to_owned(),
        why: "enter a number of seconds, such as 300".to_owned(),
    })?;
    let clients = form.get("webhook_auth.allowed_clients").split_whitespace().map(str::to_owned);
    Ok(Some(EditWebhookAuth {
        scheme: Some(scheme.map(EnumString)),
        user: member_of(WebhookScheme::Basic, "user"),
        header: member_of(WebhookScheme::ApiKey, "header"),
        tolerance_s,
        allowed_clients: Some(clients.collect()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &str) -> Result<Option<EditWebhookAuth>, String> {
        read_webhook_auth(&Form::parse(body.as_bytes())).map_err(|error| error.name)
    }

    #[test]
    fn only_members_of_the_chosen_scheme_are_read() {
        let all = "webhook_auth.user=tm&webhook_auth.header=X-Key&webhook_auth.tolerance_s=60&\
                   webhook_auth.allowed_clients=10.0.0.1%0D%0A+10.1.0.0/16";
        let read_scheme = |scheme: &str| {
            read_body(&format!("webhook_auth.scheme={scheme}&{all}")).unwrap().unwrap()
        };
        let basic = read_scheme("basic");
        assert_eq!(
            (basic.user.as_deref(), basic.header, basic.tolerance_s),
            (Some("tm"), None, None)
        );
        assert_eq!(basic.allowed_clients.unwrap(), ["10.0.0.1", "10.1.0.0/16"]);
        assert_eq!(read_scheme("signature").tolerance_s, Some(60));
        assert_eq!(read_scheme("").scheme, Some(None), "senders need no credential");
        assert_eq!(read_body("name=qa"), Ok(None));
        let not_a_number = "webhook_auth.scheme=signature&webhook_auth.tolerance_s=soon";
        assert_eq!(read_body(not_a_number), Err("webhook_auth.tolerance_s".to_owned()));
    }
}
