//! Tests of accounts: when a session ends, and how many tokens, sessions and entries of the audit
//! log are stored.

use tempfile::tempdir;

use super::*;
use crate::domain::{Account, AccountToken, AuditId, OutcomeCode, Role, Session, TokenId};
use crate::store::{
    ACCOUNT_SESSIONS_MAX, ACCOUNT_TOKENS_MAX, AccountStore as _, AuditFilter, AuditRetention,
    AuditStore as _, SESSIONS_MAX,
};

fn token(number: u128) -> AccountToken {
    let name = format!("account {number}");
    AccountToken {
        id: TokenId(Uuid::from_u128(number)),
        account: Account { name, role: Role::Operator, connections: None },
        tail: "abcd".to_owned(),
        created_at: at(0),
        created_by: "admin".to_owned(),
        expires_at: None,
        last_used_at: None,
    }
}

fn session(token: &AccountToken, expires_at_ms: i64) -> Session {
    let (account, token) = (token.account.clone(), Some(token.id));
    Session { account, token, created_at: at(0), expires_at: at(expires_at_ms) }
}

fn hash(text: &str) -> TokenHash {
    TokenHash::of(text)
}

#[tokio::test]
async fn revoking_a_token_ends_its_sessions_and_prevents_new_ones() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    let limited = Account {
        connections: Some([ConnectionId(Uuid::from_u128(7))].into()),
        ..token(1).account
    };
    let token = AccountToken { account: limited, ..token(1) };
    store.create_account_token(&token, hash("a")).await.unwrap();
    let session = session(&token, 9);
    store.create_session(&session, hash("s")).await.unwrap();
    assert_eq!(store.account_token(hash("a")).await.unwrap(), Some(token.clone()));
    assert_eq!(store.session(hash("s")).await.unwrap(), Some(session.clone()));
    store.revoke_account_token(token.id).await.unwrap();
    assert_eq!(store.account_token(hash("a")).await.unwrap(), None);
    assert_eq!(store.session(hash("s")).await.unwrap(), None);
    let refused = store.create_session(&session, hash("s")).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
}

#[tokio::test]
async fn the_numbers_of_tokens_and_sessions_are_limited() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    for number in 0..ACCOUNT_TOKENS_MAX as u128 {
        store.create_account_token(&token(number), hash(&number.to_string())).await.unwrap();
    }
    let refused = store.create_account_token(&token(99_999), hash("more")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    for number in 0..=SESSIONS_MAX {
        let token = token(number.min(ACCOUNT_TOKENS_MAX - 1) as u128);
        let session = session(&token, number as i64 + 1);
        store.create_session(&session, hash(&format!("s{number}"))).await.unwrap();
    }
    let sessions = number(&store, "SELECT COUNT(*) FROM sessions").await;
    assert_eq!(sessions, SESSIONS_MAX as i64);
    assert_eq!(
        store.session(hash("s0")).await.unwrap(),
        None,
        "the session with the earliest expiry is still stored"
    );
    store.delete_expired_sessions(at(SESSIONS_MAX as i64)).await.unwrap();
    assert_eq!(number(&store, "SELECT COUNT(*) FROM sessions").await, 1);
    for number in 0..=ACCOUNT_SESSIONS_MAX {
        let session = session(&token(7), number as i64 + 9_000);
        store.create_session(&session, hash(&format!("own{number}"))).await.unwrap();
    }
    assert_eq!(
        store.session(hash("own0")).await.unwrap(),
        None,
        "the account's session with the earliest expiry is still stored"
    );
    let sessions = number(&store, "SELECT COUNT(*) FROM sessions").await;
    assert_eq!(sessions, ACCOUNT_SESSIONS_MAX as i64 + 1, "a session of another account was ended");
}

#[tokio::test]
async fn pruning_keeps_the_newest_entries_of_the_audit_log_within_the_maximum_age() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    for number in 1..=9 {
        store.add_audit(audit_entry(number)).await.unwrap();
    }
    let id = AuditId(Uuid::from_u128(9));
    let object = Some("qa".to_owned());
    store.complete_audit(id, object, OutcomeCode::Ok, Some(event())).await.unwrap();
    let entries_after_pruning = async |since: i64, entries_max: u64| {
        store.prune_audit(AuditRetention { since: at(since), entries_max }).await.unwrap();
        let filter = AuditFilter { limit: 99, ..AuditFilter::default() };
        store.audit(&filter).await.unwrap()
    };
    assert_eq!(entries_after_pruning(3, 99).await.len(), 7);
    let newest = entries_after_pruning(3, 2).await;
    assert_eq!(newest.len(), 2);
    let done = newest.first().unwrap();
    assert_eq!((done.object.as_deref(), done.outcome), (Some("qa"), Some(OutcomeCode::Ok)));
    assert_eq!(done.event, Some(event()));
}
